# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and directories: written and replaced in one step, removed, and owned as wanted under any umask."""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import pwd
import subprocess
import tempfile
import typing as t

NEW_PREFIX = ".flask-ops-new."
"""What is written is first a hidden sibling, and renamed when it is complete."""


def write(path: str, content: bytes, mode: int, owner: str, group: str) -> None:
    """Write a file so that a reader sees the old text or the new one, never a part."""
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=NEW_PREFIX)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        own(temporary, mode, owner, group)
        os.rename(temporary, path)
    except BaseException:
        remove(temporary)
        raise


def link(path: str, target: str) -> None:
    """Point a symbolic link somewhere, replacing it atomically by rename(2)."""
    # Two processes may replace the same link at the same moment.
    temporary = os.path.join(os.path.dirname(path), f"{NEW_PREFIX}{os.getpid()}.{os.path.basename(path)}")
    remove(temporary)
    os.symlink(target, temporary)
    os.rename(temporary, path)


def set_umask() -> None:
    """Give new files and directories the same modes on every host. A hardened one has a stricter umask for root."""
    os.umask(0o022)


def make_directories(path: str) -> None:
    """Make a directory and its parents, readable by everybody; leave those that exist as they are."""
    if not os.path.isdir(path):
        parent = os.path.dirname(path)
        if parent != path:
            make_directories(parent)
        os.mkdir(path)
        os.chmod(path, 0o755)


def ensure_directory(path: str, mode: int = 0o755, owner: str = "", group: str = "") -> None:
    """Make a directory, or correct the mode of one that exists; its owner and group, too, where they are given."""
    make_directories(path)
    if owner:
        os.chown(path, _uid(owner), _gid(group))
    os.chmod(path, mode)


@contextlib.contextmanager
def lock_file(path: str) -> t.Iterator[t.IO[str]]:
    """A file to lock, which nobody but root can open. It is created where it is missing."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+", encoding="utf-8") as stream:
        os.fchmod(descriptor, 0o600)
        yield stream


@contextlib.contextmanager
def host_lock(path: str) -> t.Iterator[None]:
    """Hold a lock of the host as a whole; a second process waits for it."""
    ensure_directory(os.path.dirname(path))
    with lock_file(path) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def own(path: str, mode: int, owner: str, group: str) -> None:
    """Set owner and group first: chown(2) would clear a set-group-ID bit that is set before."""
    os.chown(path, _uid(owner), _gid(group))
    os.chmod(path, mode)


def remove(path: str) -> None:
    """Remove whatever is there, a whole tree included; nothing there is fine."""
    if os.path.isdir(path) and not os.path.islink(path):
        # Of any depth, where shutil.rmtree ends with a RecursionError.
        done = subprocess.run(
            ["rm", "--recursive", "--force", "--", path],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.defpath},
        )
        if done.returncode:
            raise OSError(done.stderr.strip().splitlines()[-1])
    elif os.path.lexists(path):
        os.unlink(path)


def _uid(owner: str) -> int:
    # What belongs to nobody known is read, and put back, by its number.
    return int(owner) if owner.isdigit() else pwd.getpwnam(owner).pw_uid


def _gid(group: str) -> int:
    return int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
