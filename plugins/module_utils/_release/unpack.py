# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unpacks an archive, in a build's unit: a tar, compressed or not, or a zip.

This file is run by the host's Python, which knows the compressions: a host needs no tools for them.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import subprocess
import sys
import typing as t
import zipfile
import zlib

COMPRESSIONS: dict[bytes, t.Any] = {b"\x1f\x8b": gzip, b"BZh": bz2, b"\xfd7zXZ": lzma}
"""By the first bytes of a file."""

STAGE = ".flask-ops-unpacked"


class RefusedArchive(Exception):
    """An archive that is not unpacked."""


class Meter:
    """Counts the bytes of what is unpacked: a small archive may hold more than a disk does."""

    def __init__(self, most: int) -> None:
        self.left = self.most = most

    def copy(self, source: t.IO[bytes], target: t.IO[bytes]) -> None:
        while part := source.read(1 << 20):
            self.left -= len(part)
            if self.left < 0:
                raise RefusedArchive(
                    f"the archive holds more than {self.most >> 20} MiB, which is half of the free disk space or 4 GiB"
                )
            target.write(part)


def extract(stream: t.IO[bytes], directory: str, meter: Meter) -> None:
    start = stream.read(6)
    stream.seek(0)
    if start.startswith(b"PK"):
        with zipfile.ZipFile(stream) as archive:
            for info in archive.infolist():
                extract_member(archive, info, directory, meter)
        return
    compression = next((module for magic, module in COMPRESSIONS.items() if start.startswith(magic)), None)
    command = ["tar", "--extract", "--no-same-owner", f"--directory={directory}", "--file=-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as tar:
        into = t.cast("t.IO[bytes]", tar.stdin)
        try:
            if compression is None:
                meter.copy(stream, into)
            else:
                with compression.open(stream) as packed:
                    meter.copy(packed, into)
        except BrokenPipeError:
            pass  # tar says why
        except BaseException:
            tar.kill()
            raise
        into.close()
    if tar.returncode:
        sys.exit(tar.returncode)


def extract_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, directory: str, meter: Meter) -> None:
    # Names that lead out of the directory stay in it.
    parts = [part for part in info.filename.split("/") if part not in ("", ".", "..")]
    place = os.path.join(directory, *parts)
    os.makedirs(place if info.is_dir() else os.path.dirname(place), exist_ok=True)
    if not info.is_dir():
        with archive.open(info) as source, open(place, "wb") as target:
            meter.copy(source, target)


def top_of(unpacked: str) -> str:
    """The top of the source: the one directory that an archive holds, as GitHub makes it, or else all of it."""
    names = os.listdir(unpacked)
    only = os.path.join(unpacked, names[0]) if len(names) == 1 else ""
    package = os.path.exists(os.path.join(only, "__init__.py"))
    return only if only and os.path.isdir(only) and not os.path.islink(only) and not package else unpacked


def main() -> None:
    directory, most, whole, subdirectory = sys.argv[1:]
    space = os.statvfs(directory)
    meter = Meter(min(int(most), space.f_bavail * space.f_frsize // 2))
    try:
        if not whole:
            extract(sys.stdin.buffer, directory, meter)
            return
        stage = os.path.join(directory, STAGE)
        os.mkdir(stage)
        extract(sys.stdin.buffer, stage, meter)
        origin = os.path.join(top_of(stage), subdirectory)
        inside = os.path.realpath(origin) + os.sep
        if not os.path.isdir(origin) or not inside.startswith(os.path.realpath(stage) + os.sep):
            raise RefusedArchive(f"source.subdirectory: the source has no directory '{subdirectory}'")
        for name in os.listdir(origin):
            os.rename(os.path.join(origin, name), os.path.join(directory, name))
        shutil.rmtree(stage)
    except RefusedArchive as error:
        sys.exit(f"REFUSED: {error}")
    except (EOFError, lzma.LZMAError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile) as error:
        sys.exit(f"REFUSED: the archive is damaged ({error})")
