# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory on the controller as an archive that depends on nothing but what is in it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
import typing as t
from pathlib import Path

IGNORED = {
    ".git",
    ".hg",
    ".svn",
    ".venv",
    "venv",
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".tox",
    "node_modules",
    ".env",
    ".DS_Store",
}
"""What is left out of a directory that git does not track: histories, environments, caches, local secrets."""


EARLIEST = 315532800
"""The first second of 1980, the earliest time that a zip, and so a wheel, can hold."""


class Digest:
    """A writable that only remembers the SHA-256 of what it was given."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        return len(data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def file_checksum(path: str) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def checksum(directory: str, choose: t.Callable[[Path], list[str]] | None = None) -> str:
    """The SHA-256 of the archive of a directory, without writing it anywhere.

    :param choose: which of its files belong to it; by default :func:`members`.
    """
    digest = Digest()
    _write(Path(directory), t.cast(t.BinaryIO, digest), choose or members)
    return digest.hexdigest()


def pack(directory: str, archive: str, choose: t.Callable[[Path], list[str]] | None = None) -> None:
    """Write the archive, uncompressed: its checksum is the one that :func:`checksum` gives."""
    with open(archive, "wb") as stream:
        _write(Path(directory), stream, choose or members)


def packages_in(directory: Path) -> list[str]:
    """The files of a wheelhouse: what pip and uv can install."""
    names = sorted(path.name for path in directory.iterdir() if path.name.endswith((".whl", ".tar.gz")))
    if not names:
        raise ValueError(f"there is no .whl and no .tar.gz in {directory} on the controller")
    return names


def members(directory: Path) -> list[str]:
    """The files of a source, relative and sorted: what git tracks, or else all but :data:`IGNORED`.

    :raises ValueError: where a repository is, but git does not list it: what it leaves out may be secret.
    """
    if not directory.is_dir():
        raise ValueError(f"there is no directory {directory} on the controller")
    if any((place / ".git").exists() for place in (directory, *directory.resolve().parents)):
        names = _tracked(directory)
        return sorted(name for name in names if (directory / name).is_symlink() or (directory / name).is_file())
    found = []
    for top, directories, files in os.walk(directory):
        directories[:] = [name for name in directories if name not in IGNORED]
        links = [name for name in directories if os.path.islink(os.path.join(top, name))]
        found += [os.path.relpath(os.path.join(top, name), directory) for name in files + links if name not in IGNORED]
    return sorted(found)


def _tracked(directory: Path) -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--recurse-submodules"]
    try:
        listed = subprocess.run(command, cwd=directory, capture_output=True, check=True, text=True).stdout
    except FileNotFoundError as error:
        raise ValueError(f"{directory} is in a git repository, and git is not installed on the controller") from error
    except subprocess.CalledProcessError as error:
        raise ValueError(f"git does not list what it tracks in {directory}: {error.stderr.strip()}") from error
    if not listed:
        raise ValueError(f"git tracks no file in {directory}; 'git add' what belongs to the app")
    return listed.split("\0")[:-1]


def _write(directory: Path, stream: t.IO[bytes], choose: t.Callable[[Path], list[str]]) -> None:
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for name in choose(directory):
            path = directory / name
            info = archive.gettarinfo(path, arcname=name)
            # Times, owners and this machine's umask are not part of a release.
            info.mtime, info.uid, info.gid, info.uname, info.gname = EARLIEST, 0, 0, "", ""
            info.mode = 0o755 if info.mode & 0o100 else 0o644
            if info.islnk():
                # A second name of a file that this archive already holds is a file of its own in a release.
                info.type, info.linkname, info.size = tarfile.REGTYPE, "", path.stat().st_size
            if info.isreg():
                with path.open("rb") as content:
                    archive.addfile(info, content)
            elif info.issym():
                archive.addfile(info)
