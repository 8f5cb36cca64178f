# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual environments: one for each set of dependencies, and every release that needs this set links to it.

    /srv/shop/environments/<digest>/     root:shop, not writable by the app
        .complete                        written last: without it, the environment is built anew

Where the app's own code is installed into the environment, the digest has the release in it, and it is that
release's alone.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import tempfile
import typing as t
from dataclasses import dataclass, field

from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import ensure_directory, remove, write
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import App, build_environment
from ansible_collections.flask_ops.production.plugins.module_utils._release.build import Build
from ansible_collections.flask_ops.production.plugins.module_utils._release.dependencies import (
    Dependencies,
    dependencies,
    distribution,
    numbers,
    pinned,
    refuse_conflict,
)
from ansible_collections.flask_ops.production.plugins.module_utils._release.ownership import transfer_to_root
from ansible_collections.flask_ops.production.plugins.module_utils._release.sources import rewind, take_wheelhouse
from ansible_collections.flask_ops.production.plugins.module_utils._release.uv import SETTINGS, ensure_uv

FORMAT = "1"
"""Goes into every digest. Raised when the same inputs no longer give the same environment."""


@dataclass
class Environment:
    """The virtual environment of a release."""

    app: App
    code: str
    release_id: str
    python_version: str
    build: Build
    notes: list[str] = field(default_factory=list)

    @functools.cached_property
    def needed(self) -> Dependencies:
        found = dependencies(self.app, self.code, self._read)
        if found.project and not self._at_the_top():
            found.own_code = found.own_project = True
        return found

    @functools.cached_property
    def digest(self) -> str:
        app, needed = self.app, self.needed
        inputs = {
            "format": FORMAT,
            "python": [app.python, self.python_version],
            "installer": app.installer,
            "index": app.extra_index,
            "wheelhouse": app.wheelhouse,
            "server_requirements": app.server_requirements,
            "package": [app.source.get("pypi"), app.source.get("wheel") and app.source["sha256"]],
            "chosen": [app.extras, app.groups, app.extra_requirements, app.build_env],
            "files": {name: self._read(name, "requirements") for name in needed.files},
            "own_code": self.release_id if needed.own_code else "",
        }
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def path(self) -> str:
        return os.path.join(self.app.environments, self.digest)

    def _read(self, name: str, option: str) -> str | None:
        return self.build.read(os.path.join(self.code, name), option)

    def _at_the_top(self) -> bool:
        """Whether the module that gunicorn serves is found where the source begins, as it is not in a ``src`` layout."""
        module = self.app.wsgi.partition(":")[0].partition(".")[0]
        argv = ["find", self.code, "-maxdepth", "1", "(", "-name", module, "-o", "-name", f"{module}.py", ")"]
        return bool(self.build.run(argv, env=build_environment(self.app)).strip())

    @property
    def complete(self) -> bool:
        return os.path.exists(f"{self.path}/.complete") and os.path.exists(f"{self.path}/bin/python")

    def ensure(self) -> str:
        """Return the path of the environment, built unless that was done for an earlier release.

        It is the app's until :meth:`finish`, after the build has ended.
        """
        if not self.complete:
            try:
                self._build()
            except BaseException:
                self.build.end()
                remove(self.path)
                raise
        return self.path

    def finish(self) -> None:
        """Give the environment to root, and mark it complete."""
        if not self.complete:
            transfer_to_root(self.path, self.app.user)
            os.sync()
            write(f"{self.path}/.complete", b"", 0o640, "root", self.app.user)

    def _build(self) -> None:
        app = self.app
        ensure_directory(app.environments)
        remove(self.path)
        ensure_directory(self.path, 0o700, app.user, app.user)
        if self.needed.note:
            self.notes.append(self.needed.note)
        if app.installer == "pip":
            self._run([app.python, "-m", "venv", "--clear", self.path])
        else:
            self._uv("venv", "--quiet", "--python", app.python, "--allow-existing", self.path)
        if self.needed.lock:
            self._sync()
            if app.extra_requirements:
                self._install(*app.extra_requirements)
        elif self.needed.arguments:
            self._install(*self.needed.arguments)
        if self.needed.own_project:
            self._install("--no-deps", self.code)
        self._add(app.server_requirements)

    def _add(self, requirements: t.Sequence[str]) -> None:
        """Install the server and its requirements, unless the app's own requirements include it."""
        if not requirements:
            return
        present = self._installed()
        for position, requirement in enumerate(requirements):
            name, version = distribution(requirement).lower().replace("_", "-"), pinned(requirement)
            found = present.get(name)
            # The first one is the server; an old one loses requests, even where another package requires it.
            outdated = found is not None and position == 0 and version and numbers(found["version"]) < numbers(version)
            if found is not None and not outdated:
                continue
            if found is not None:
                refuse_conflict(name, version, found["wanted_by"])
                self.notes.append(
                    f"the app's requirements pin {name} {found['version']}, which is too old to serve it without losing "
                    f"requests; {version} was installed instead. Remove the pin, or raise it."
                )
            # A line with a hash is complete in itself: what it depends on has lines of its own.
            hashed = ["--require-hashes", "--no-deps"] if "--hash" in requirement else []
            # A file, since a line with hashes is not accepted as an argument.
            listed = os.path.join(self.app.build_directory, "tmp", "extra.txt")
            with tempfile.TemporaryFile() as stream:
                stream.write(f"{requirement}\n".encode())
                self._run(["dd", "status=none", f"of={listed}"], stdin=rewind(stream))
            self._install("--requirement", listed, *hashed)

    def _installed(self) -> dict[str, t.Any]:
        """What the environment has, by name: its version, and who wants which of its versions."""
        found = json.loads(self._run([f"{self.path}/bin/python", "-I", "-c", INSTALLED]))
        return t.cast("dict[str, t.Any]", found)

    def _sync(self) -> None:
        """Install what ``uv.lock`` lists, without the network where all of it is in the cache."""
        locked = (*self.needed.arguments, "--quiet", "--frozen", "--no-dev", "--no-editable", "--project", self.code)
        if self.app.wheelhouse:
            listed = os.path.join(self.path, "locked.txt")
            self._uv("export", *locked, "--no-emit-local", "--format", "requirements-txt", "--output-file", listed)
            self._install("--requirement", listed, "--require-hashes")
            if self.needed.own_code:
                self._install("--no-deps", self.code)
            return
        try:
            self._uv("sync", *locked, "--offline")
        except CommandError:
            self._uv("sync", *locked)

    def _install(self, *arguments: str) -> None:
        wheels = ["--no-index", "--find-links", take_wheelhouse(self.app)] if self.app.wheelhouse else []
        if self.app.installer == "pip":
            pip = [f"{self.path}/bin/python", "-P", "-m", "pip", "install", "--quiet", "--no-input"]
            self._run([*pip, "--disable-pip-version-check", *wheels, *arguments])
        else:
            self._uv("pip", "install", "--quiet", "--python", f"{self.path}/bin/python", *wheels, *arguments)

    def _uv(self, *arguments: str) -> None:
        wheels = take_wheelhouse(self.app) if self.app.wheelhouse else ""
        self._run([ensure_uv(wheels), *arguments])

    def _run(self, argv: t.Sequence[str], stdin: t.IO[bytes] | None = None) -> str:
        app = self.app
        environment = {
            **build_environment(app),
            "UV_CACHE_DIR": os.path.join(app.build_directory, "cache"),
            "UV_PROJECT_ENVIRONMENT": self.path,
            # A .python-version in the source does not decide.
            "UV_PYTHON": app.python,
            # Among them copies instead of hard links: the environment is handed to root, and the cache stays the app's.
            **SETTINGS,
            # An address with a password is in no argument list.
            **dict(app.build_env),
            **({"UV_INDEX": app.extra_index, "PIP_EXTRA_INDEX_URL": app.extra_index} if app.extra_index else {}),
        }
        # Paths in a requirements file are relative to the top of the source.
        return self.build.run(argv, env=environment, cwd=self.code, timeout=1800, stdin=stdin)


INSTALLED = """
import json, re
from importlib.metadata import distributions
found, wanted = {}, []
for item in distributions():
    name = re.sub("[-_.]+", "-", item.metadata["Name"] or "").lower()
    found.setdefault(name, {"version": item.version, "wanted_by": []})
    wanted += [(name, line) for line in item.requires or [] if "extra ==" not in line]
for name, line in wanted:
    of = re.sub("[-_.]+", "-", re.match("[A-Za-z0-9._-]*", line)[0]).lower()
    if of in found:
        found[of]["wanted_by"].append([name, line])
print(json.dumps(found))
"""
"""Prints what is installed in the environment whose Python runs this."""
