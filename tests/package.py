#!/usr/bin/env python3
"""Build the collection's package: `python3 tests/env.py python tests/package.py FOLDER`

ansible-galaxy builds it; what it takes from the moment and the machine (times, owners, order) is then made the same
for everybody, so that anyone can build the published package from the tagged commit and compare. The time is that of
the last commit, or SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/source-date-epoch).
"""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def build(folder: Path) -> Path:
    """Build the package into a folder; its path."""
    with tempfile.TemporaryDirectory() as scratch:
        command = ["ansible-galaxy", "collection", "build", "--output-path", scratch]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        (built,) = Path(scratch).iterdir()
        folder.mkdir(parents=True, exist_ok=True)
        package = folder / built.name
        package.write_bytes(normalized(built, moment()))
    return package


def moment() -> int:
    """Seconds of the epoch that every file of the package gets."""
    if "SOURCE_DATE_EPOCH" in os.environ:
        return int(os.environ["SOURCE_DATE_EPOCH"])
    asked = ["git", "log", "-1", "--format=%ct"]
    return int(subprocess.run(asked, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def normalized(archive: Path, seconds: int) -> bytes:
    """The same files, without what differs from one build to the next."""
    plain = io.BytesIO()
    with tarfile.open(archive) as old, tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as new:
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = seconds, 0, 0, "", ""
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    return gzip.compress(plain.getvalue(), mtime=0)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    print(build(Path(sys.argv[1])))
