# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Running programs on the host and asking systemd, with errors a person can read.

This module util is private to the collection.
"""

from __future__ import annotations

import re
import subprocess
import typing as t

LAST_LINES = 25
"""How many lines of a program's output or of a journal an error message quotes."""


CONSEQUENCE = "gunicorn.errors.HaltServer"
"""What gunicorn's master raises because a worker could not import the app."""


class CommandError(Exception):
    """A program ended with a status other than 0, or did not end in time."""


def run(
    argv: t.Sequence[str],
    *,
    env: t.Mapping[str, str] | None = None,
    cwd: str | None = None,
    user: str | None = None,
    group: str | None = None,
    timeout: float = 600,
    stdin: t.IO[bytes] | None = None,
    warnings: bool = False,
) -> str:
    """Run a program and return its standard output.

    :param user: run as this user, in its group and no other.
    :param group: run in this group instead of the user's.
    :param timeout: seconds after which the program is killed.
    :param warnings: return what it says on standard error, too.
    :raises CommandError: with the program's last lines.
    """
    as_user: dict[str, t.Any] = {"user": user, "group": group or user, "extra_groups": []} if user else {}
    try:
        done = subprocess.run(
            list(argv),
            stdin=stdin or subprocess.DEVNULL,
            capture_output=True,
            env=None if env is None else dict(env),
            cwd=cwd,
            timeout=timeout,
            check=False,
            umask=0o022,
            **as_user,
        )
    except FileNotFoundError as error:
        raise CommandError(f"{argv[0]} is not installed on this host") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"'{words(argv)}' did not end within {timeout:g} s") from error
    if done.returncode:
        said = last_lines((done.stderr + b"\n" + done.stdout).decode("utf-8", "replace"))
        raise CommandError(f"'{words(argv)}' ended with status {done.returncode}:\n{said}")
    return (done.stdout + (done.stderr if warnings else b"")).decode("utf-8", "replace")


def systemctl(*arguments: str, timeout: float = 600) -> str:
    """Run ``systemctl`` without a pager and without waiting for a password."""
    return run(["systemctl", "--no-pager", "--no-ask-password", *arguments], timeout=timeout)


def unit_properties(unit: str, *names: str) -> dict[str, str]:
    """What systemd reports of a unit, by property name (``systemctl show``)."""
    return units_properties([unit], *names)[0]


def units_properties(units: t.Sequence[str], *names: str) -> list[dict[str, str]]:
    """The same of several units, in their order."""
    shown = systemctl("show", "--property", ",".join(names), *units)
    return [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in shown.split("\n\n")]


def journal(unit: str, since: float) -> str:
    """The lines of a unit's journal that tell most about its end.

    :param since: seconds of the epoch; what the unit said in an earlier life would mislead.
    """
    shown = ["journalctl", "--no-pager", "--quiet", "--output=cat", "--lines=400", f"--unit={unit}"]
    try:
        return telling_lines(distinct(run([*shown, f"--since=@{int(since)}"])))
    except CommandError as error:
        return f"(no journal: {error})"


def distinct(text: str) -> str:
    """Each line once, in its last place. Lines that differ in numbers, such as a time, only, are the same.

    >>> distinct("[10:00:01] no\\n[10:00:02] no\\nbut why")
    '[10:00:02] no\\nbut why'
    """
    last: dict[str, str] = {}
    for line in text.splitlines():
        # The numbers of a traceback's frames matter.
        key = line if line.startswith(" ") else re.sub(r"\d+", "0", line)
        last.pop(key, None)
        last[key] = line
    return "\n".join(last.values())


def last_lines(text: str, count: int = LAST_LINES) -> str:
    return "\n".join([line for line in text.splitlines() if line.strip()][-count:])


def telling_lines(text: str, count: int = LAST_LINES) -> str:
    """The lines up to the last exception that is a reason, if there is one; else the last lines.

    A gunicorn whose app cannot be imported goes on to tell about each of its workers, and is started again: the
    reason is soon far from the end.

    >>> telling_lines("Traceback (most recent call last):\\n  File x\\nKeyError: 1\\nShutting down", 2)
    '  File x\\nKeyError: 1'
    >>> telling_lines('{"exception": "KeyError: 1"}\\n{"message": "Shutting down"}', 1)
    '{"exception": "KeyError: 1"}'
    """
    lines = [line for line in text.splitlines() if line.strip()]
    for end in range(len(lines) - 1, -1, -1):
        in_json = '"exception": "' in lines[end] and CONSEQUENCE not in lines[end]
        if in_json or (end and lines[end - 1].startswith("  ") and not lines[end].startswith((" ", CONSEQUENCE))):
            return "\n".join(lines[max(0, end + 1 - count) : end + 1])
    return "\n".join(lines[-count:])


def words(argv: t.Sequence[str]) -> str:
    """Enough of a command to recognise it; never all of it, since arguments may be long."""
    return " ".join(argv[:4]) + (" ..." if len(argv) > 4 else "")
