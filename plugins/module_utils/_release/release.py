# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases: directories that hold an app's code and its virtual environment, and never change once complete.

/srv/shop/
  current -> releases/3f2c9a1b7d20-5e1c88aa     the live release (kept by the switch)
  previous -> releases/9be01c44f1aa-5e1c88aa    the one before it
  releases/<id>/
    app/        the code                         root:shop, not writable by the app
    venv -> ../../environments/0c1f8e7d9b2a      its virtual environment
    static/     its static files                 readable by nginx
    REVISION    where it came from
    .complete   written last: without it, the release is rebuilt
    .migrated   the migration has been run from this release
    .live       it has been live
    .checked    the inputs of the last pre-flight, and its warnings
  environments/ virtual environments, see environments.py
  old-static/   static files that a deploy took away, for pages from before it
  shared/       what the app may write; outlives every release
  .build/       repository and package cache of the builds
"""

from __future__ import annotations

import datetime
import glob
import hashlib
import json
import os
import pwd
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import write
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import (
    App,
    ReleaseError,
    build_environment,
)
from ansible_collections.flask_ops.production.plugins.module_utils._release.sources import source_of

ID_FORMAT = "2"
"""Goes into every release id. Raised when the same inputs no longer give the same release."""

MIN_PYTHON = (3, 11)
"""The oldest version of Python that still gets fixes of security holes."""

PROVENANCE = ("git", "version", "subdirectory", "archive", "path", "wheel", "pypi")
"""The options of a source that say where it came from, in the order in which they are shown."""


@dataclass(frozen=True)
class Release:
    """One directory below ``releases/``."""

    app: App
    id: str
    revision: str
    python_version: str
    version: str = ""
    """The version of the source that people know, where it has one: a branch, a tag, or a package's version."""
    origin: str = ""
    """Where its code came from, in words."""

    @property
    def path(self) -> str:
        return os.path.join(self.app.releases, self.id)

    @property
    def code(self) -> str:
        return os.path.join(self.path, "app")

    @property
    def venv(self) -> str:
        return os.path.join(self.path, "venv")

    def has(self, marker: str) -> bool:
        return os.path.exists(os.path.join(self.path, marker))

    def mark(self, marker: str) -> None:
        write(os.path.join(self.path, marker), b"", 0o644, "root", "root")

    @property
    def complete(self) -> bool:
        # A Python that an upgrade took away leaves a dangling link behind.
        return self.has(".complete") and os.path.exists(os.path.join(self.venv, "bin", "python"))

    @property
    def known_version(self) -> str:
        return self.version or self.revision[:12]

    def provenance(self) -> str:
        """Where the release comes from, a line for each fact. :func:`find` reads it."""
        source = {f"source.{key}": self.app.source[key] for key in PROVENANCE if self.app.source.get(key)}
        built = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        lines = {
            "release": self.id,
            "revision": self.revision,
            **source,
            "python": self.python_version,
            "built": built,
        }
        return "".join(f"{key}: {value}\n" for key, value in lines.items())

    def facts(self) -> dict[str, t.Any]:
        return {
            "id": self.id,
            "path": self.path,
            "directory": self.code,
            "venv": self.venv,
            "revision": self.revision,
            "version": self.known_version,
            "summary": f"{self.app.name}: release {self.id} is {self.origin} at {self.revision}",
        }


def resolve(app: App) -> Release:
    """Find out, without changing anything, which release the app's inputs give.

    The id holds the first twelve characters of the revision, which a person can recognise, and a digest of all
    that goes into the release.
    """
    python_version = cache_tag(app)
    revision = source_of(app).revision()
    inputs = {
        "format": ID_FORMAT,
        "revision": revision,
        "subdirectory": app.source.get("subdirectory"),
        "submodules": app.source.get("submodules"),
        "python": [app.python, python_version],
        "requirements": app.requirements,
        "constraints": app.constraints,
        "installer": app.installer,
        "index": app.extra_index,
        "wheelhouse": app.wheelhouse,
        "server_requirements": app.server_requirements,
        "shared_paths": app.shared_paths,
        "static_path": app.static and app.static["path"],
        "extras": app.extras,
        "groups": app.groups,
        "extra_requirements": app.extra_requirements,
        "files": app.files,
        "build": [app.build["command"], app.build_env],
    }
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", revision if app.source.get("pypi") else revision[:12])
    origin = " ".join(str(app.source[key]) for key in PROVENANCE if app.source.get(key))
    return Release(app, f"{readable}-{digest}", revision, python_version, version_in(app.source), origin)


def version_in(source: t.Mapping[str, t.Any]) -> str:
    """The version that a source names."""
    return str(source.get("version") or str(source.get("pypi") or "").partition("==")[2])


def cache_tag(app: App) -> str:
    """The version of an app's interpreter, as in the names of bytecode files."""
    python, code = app.python, "import sys; print(sys.implementation.cache_tag, *sys.version_info[:2])"
    if can_change(os.path.realpath(python), pwd.getpwnam(app.user).pw_uid):
        raise ReleaseError(f"python: the app can change {python}, or replace it; name an interpreter that is root's")
    try:
        found = run([python, "-I", "-c", code], user=app.user, env=build_environment(app), cwd="/").split()
    except (CommandError, OSError) as error:
        present = sorted({*glob.glob("/usr/bin/python3.[0-9]*[0-9]"), *glob.glob("/usr/local/bin/python3.[0-9]*[0-9]")})
        raise ReleaseError(
            f"python: {python} does not run on this host; there are {', '.join(present)}. {error}"
        ) from None
    if tuple(map(int, found[1:])) < MIN_PYTHON:
        oldest = ".".join(map(str, MIN_PYTHON))
        raise ReleaseError(
            f"python: {python} is {'.'.join(found[1:])}, which gets no fixes any more; {oldest} is the oldest"
        )
    return found[0]


def can_change(path: str, uid: int) -> bool:
    """Whether a user owns a file, or one of the directories that lead to it. Root may change everything anyway."""
    if uid == 0 or not os.path.exists(path):
        return False
    while os.stat(path).st_uid != uid:
        if path == "/":
            return False
        path = os.path.dirname(path)
    return True


def find(app: App, wanted: str) -> Release:
    """Find a release that is on the host already, complete: by its id, or as the ``previous`` one."""
    kept = sorted(
        os.path.basename(path) for path in glob.glob(f"{app.releases}/*") if os.path.exists(f"{path}/.complete")
    )
    known = f"kept are {', '.join(kept) or 'none'}; live is {app.linked_release('current') or 'none'}"
    release_id = app.linked_release("previous") if wanted == "previous" else wanted
    if release_id is None:
        raise ReleaseError(f"there is no previous release to go back to; {known}")
    if release_id not in kept:
        raise ReleaseError(f"there is no complete release '{release_id}' on this host; {known}")
    with open(os.path.join(app.releases, release_id, "REVISION"), encoding="utf-8") as stream:
        provenance = dict(line.rstrip("\n").split(": ", 1) for line in stream)
    origin = " ".join(value for key, value in provenance.items() if key.startswith("source."))
    source = {key.removeprefix("source."): value for key, value in provenance.items()}
    return Release(app, release_id, provenance["revision"], provenance["python"], version_in(source), origin)
