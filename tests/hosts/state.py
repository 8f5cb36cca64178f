"""Where the tool keeps things, who may change them at a time, and how it runs commands."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

LASTING = Path("/var/lib/flask-ops-hosts")
"""Survives a reboot: images, keys, what is known about each host."""

VOLATILE = Path("/run/flask-ops-hosts")
"""Belongs to one boot of the machine: mounts, the engine's idea of what runs."""


class HostsError(Exception):
    """Something the person at the keyboard has to know; its text is all that is shown."""


def say(text: str) -> None:
    """Report progress. Results go to stdout, so that they can be piped; this goes to stderr."""
    print(text, file=sys.stderr, flush=True)


def run(
    *command: str,
    check: bool = True,
    stdin: bytes = b"",
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command and return its output; a failure quotes the end of its output."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, env=env, check=False)
    except FileNotFoundError:
        raise HostsError(f"{command[0]}: not found on this machine") from None
    except subprocess.TimeoutExpired:
        if not check:
            return subprocess.CompletedProcess(command, 124, "", "")
        raise HostsError(f"{brief(command)}: no end after {timeout:g} s") from None
    out, err = (stream.decode(errors="replace") for stream in (done.stdout, done.stderr))
    if check and done.returncode:
        last_words = "\n".join((err.strip() or out.strip()).splitlines()[-15:])
        raise HostsError(f"{brief(command)}: exit status {done.returncode}\n{last_words}")
    return subprocess.CompletedProcess(command, done.returncode, out, err)


def brief(command: Sequence[str]) -> str:
    """Show a command, without the scripts that it carries."""
    return " ".join(word if "\n" not in word else "..." for word in command)


@contextlib.contextmanager
def lock(name: str) -> Iterator[None]:
    """Let one process at a time do the thing called name.

    The kernel drops the lock with the process that held it, however that process ended: there are no stale locks.
    """
    folder = LASTING / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace a file in one step: a reader, or a kill in the middle, sees the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode)
    draft.chmod(mode)
    draft.write_text(text)
    draft.replace(path)
