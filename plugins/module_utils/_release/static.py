# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Static files as a web server likes them: readable, compressed beforehand, and still there for older pages."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import shutil
import time
import typing as t

from ansible_collections.flask_ops.production.plugins.module_utils._host.command import run
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import ensure_directory, remove

COMPRESSIBLE = frozenset(
    ".css .csv .eot .htm .html .ico .js .json .map .md .mjs .otf .svg .ttf .txt .wasm .webmanifest .xml".split()
)
"""By suffix; pictures, films and fonts for the web are compressed already."""

MIN_SIZE = 1024
"""In bytes. What fits into one packet does not get there faster."""


def publish_static(origin: str, target: str) -> list[str]:
    """Copy a tree of static files for a web server to serve.

    A symbolic link that stays in the tree becomes a copy. Any other could lead the web server to what the app alone may
    read, or root into a circle, and is left out.

    :return: the links that were left out, relative to the tree.
    """
    left_out: dict[str, None] = {}
    _copy(os.path.realpath(origin), os.path.realpath(origin), target, left_out, by_link=False)
    for path in _files(target):
        with open(path, "rb") as stream:
            content = stream.read()
        _finish(path, content)
        if os.path.splitext(path)[1].lower() in COMPRESSIBLE and len(content) >= MIN_SIZE:
            _compress(path, content)
    for directory, _directories, _names in os.walk(target):
        os.chmod(directory, 0o755)
    return list(left_out)


def _copy(top: str, directory: str, target: str, left_out: dict[str, None], by_link: bool) -> None:
    """Copy a directory of a tree.

    :param by_link: whether a link led here. No second one to a directory is followed: few could make very many copies.
    """
    ensure_directory(target)
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        real = os.path.realpath(path)
        linked = os.path.islink(path)
        if linked and (
            not real.startswith(f"{top}/")
            or not os.path.exists(real)
            or (os.path.isdir(real) and (by_link or f"{directory}/".startswith(f"{real}/")))
        ):
            left_out[os.path.relpath(path, top)] = None
        elif os.path.isdir(real):
            _copy(top, real, os.path.join(target, name), left_out, by_link or linked)
        elif os.path.isfile(real):
            shutil.copyfile(real, os.path.join(target, name), follow_symlinks=False)


def keep_static(current: str, old: str, seconds: int) -> None:
    """Before another release becomes live: copy the live one's static files to the old ones, and drop those kept long enough.

    :param current: the static files of the live release.
    :param old: the directory of the old ones. A file's time there says when it was live last.
    """
    now = time.time()
    for path in _files(current):
        copy = os.path.join(old, os.path.relpath(path, current))
        # What is in the way: a directory of an earlier release that had the name of this file, or the reverse.
        with contextlib.suppress(FileExistsError, NotADirectoryError):
            ensure_directory(os.path.dirname(copy))
            if not os.path.isdir(copy):
                shutil.copyfile(path, f"{copy}.new")
                os.chmod(f"{copy}.new", 0o644)
                os.utime(f"{copy}.new", (now, now))
                os.rename(f"{copy}.new", copy)
    for path in _files(old):
        if os.stat(path).st_mtime < now - seconds:
            os.unlink(path)
    for directory, _directories, _names in os.walk(old, topdown=False):
        os.chmod(directory, 0o755)
        if not os.listdir(directory):
            os.rmdir(directory)


def _compress(path: str, content: bytes) -> None:
    """Write the file once more, compressed by gzip and by brotli, where that makes it smaller."""
    for suffix in (".gz", ".br"):
        compressed = path + suffix
        if os.path.exists(compressed):
            continue  # the app brings its own
        if suffix == ".gz":
            with open(compressed, "wb") as stream:
                stream.write(gzip.compress(content, mtime=0))
        else:
            run(["brotli", "--quality=11", "--output=" + compressed, "--", path])
        if os.stat(compressed).st_size < len(content):
            _finish(compressed, content)
        else:
            remove(compressed)


def _finish(path: str, content: bytes) -> None:
    """Make a file readable, and derive its time from its content.

    nginx' ETag is made of time and size. The times of a source are of no use: of a directory on the controller they are
    all the same, and a changed file of the same size would pass for the old one.
    """
    seconds = int.from_bytes(hashlib.sha256(content).digest()[:8], "big") % 1_000_000_000
    os.chmod(path, 0o644)
    os.utime(path, (seconds, seconds))


def _files(directory: str) -> t.Iterator[str]:
    # All of them before the first is handed out: the caller writes more files there.
    found = [os.path.join(top, name) for top, _directories, names in os.walk(directory) for name in names]
    return iter(sorted(found))
