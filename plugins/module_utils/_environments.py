# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Virtual environments: one for each set of dependencies, and every release that needs this set links to it.

    /srv/shop/environments/<digest>/     root:shop, not writable by the app
        .complete                        written last: without it, the environment is built anew

Where the app's own code is installed into the environment, the digest has the release in it, and it is that
release's alone.

This module util is private to the collection.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import tempfile
import typing as t
from dataclasses import dataclass, field

from ansible_collections.flask_ops.production.plugins.module_utils._app import (
    App,
    ReleaseError,
    build_environment,
    hand_over,
)
from ansible_collections.flask_ops.production.plugins.module_utils._command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._files import ensure_directory, remove, write
from ansible_collections.flask_ops.production.plugins.module_utils._lock import LOCKS
from ansible_collections.flask_ops.production.plugins.module_utils._sources import take_wheelhouse
from ansible_collections.flask_ops.production.plugins.module_utils._uv import SETTINGS, ensure_uv, proxies

FORMAT = "1"
"""Goes into every digest. Raised when the same inputs no longer give the same environment."""

BY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\s*($|[\[<>=!~;(]|@\s*(?!file:)[a-z][a-z0-9+]*://)")
"""A requirement that names a distribution, and not a path."""

LOCKED_CODE = re.compile(r'source = \{ (editable|directory|path) = "')
"""In ``uv.lock``: something that is installed from the source itself."""


@dataclass
class Dependencies:
    """What an app needs, in the best description that it brings."""

    arguments: list[str]
    """For the installer; empty where nothing is needed."""
    files: list[str] = field(default_factory=list)
    """What decides on them: paths relative to the top of the source."""
    lock: bool = False
    """Whether they are locked by ``uv.lock``."""
    own_code: bool = False
    """Whether code of the source itself is installed."""
    note: str = ""


def dependencies(app: App, code: str) -> Dependencies:
    """Look at what the source brings: the named file, ``uv.lock``, ``requirements.txt``, ``pyproject.toml``."""
    constrain = ["--constraint", os.path.join(code, app.constraints)] if app.constraints else []
    if app.constraints and not os.path.isfile(constrain[1]):
        raise ReleaseError(f"constraints: the source has no file '{app.constraints}'")
    if app.source.get("pypi"):
        return Dependencies([app.source["pypi"], *constrain])
    if app.source.get("wheel"):
        return Dependencies([os.path.join(code, os.path.basename(app.source["wheel"]))])
    if not app.requirements and os.path.isfile(f"{code}/uv.lock"):
        if app.installer == "pip":
            raise ReleaseError(
                "installer: the source has a uv.lock, which pip does not read; leave installer out, or name a "
                "requirements file in 'requirements'"
            )
        if app.constraints:
            raise ReleaseError("constraints: the source has a uv.lock, which pins everything; leave constraints out")
        own_code = LOCKED_CODE.search(_text(f"{code}/uv.lock")) is not None
        return Dependencies([], ["uv.lock", "pyproject.toml"], lock=True, own_code=own_code)
    requirements = app.requirements or "requirements.txt"
    if os.path.isfile(os.path.join(code, requirements)):
        files, own_code = requirement_files(code, [name for name in (requirements, app.constraints) if name])
        hashed = any("--hash=" in _text(os.path.join(code, name)) for name in files)
        return Dependencies(
            ["--requirement", os.path.join(code, requirements), *constrain, *(["--require-hashes"] if hashed else [])],
            files,
            own_code=own_code,
            note=""
            if hashed
            else f"{requirements} has no hashes: what the index gives is installed unchecked. 'uv pip compile "
            "--generate-hashes' writes them.",
        )
    if app.requirements:
        raise ReleaseError(f"requirements: the source has no file '{app.requirements}'")
    if os.path.isfile(f"{code}/pyproject.toml"):
        return Dependencies([code, *constrain], own_code=True)
    return Dependencies([])


def requirement_files(code: str, names: list[str]) -> tuple[list[str], bool]:
    """The files that some requirements files consist of, and whether they install anything by its path."""
    files: list[str] = []
    by_path = False
    pending = list(names)
    while pending:
        name = pending.pop(0)
        if name in files or not os.path.isfile(os.path.join(code, name)):
            continue
        files.append(name)
        for line in _text(os.path.join(code, name)).replace("\\\n", " ").splitlines():
            line = re.sub(r"(^|\s)#.*", "", line).strip()
            included = re.match(r"(?:-r|--requirement|-c|--constraint)[ =]*(\S+)", line)
            if included:
                pending.append(os.path.normpath(os.path.join(os.path.dirname(name), included[1])))
            elif line.startswith("-"):
                by_path = by_path or line.startswith(("-e", "--editable", "-f", "--find-links"))
            elif line:
                archive = line.split()[0].endswith((".whl", ".zip", ".tar.gz"))
                by_path = by_path or archive or not BY_NAME.match(line)
    return files, by_path


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()


@dataclass
class Environment:
    """The virtual environment that one release needs."""

    app: App
    code: str
    release_id: str
    python_version: str
    notes: list[str] = field(default_factory=list)

    @functools.cached_property
    def needed(self) -> Dependencies:
        return dependencies(self.app, self.code)

    @functools.cached_property
    def digest(self) -> str:
        app, needed = self.app, self.needed
        inputs = {
            "format": FORMAT,
            "python": [app.python, self.python_version],
            "installer": app.installer,
            "index": app.extra_index,
            "wheelhouse": app.wheelhouse,
            "extra_requirements": app.extra_requirements,
            "package": [app.source.get("pypi"), app.source.get("wheel") and app.source["sha256"]],
            "files": {name: _text(os.path.join(self.code, name)) for name in needed.files},
            "own_code": self.release_id if needed.own_code else "",
        }
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def path(self) -> str:
        return os.path.join(self.app.environments, self.digest)

    def ensure(self) -> str:
        """Return the path of the environment, building it unless that was done for an earlier release."""
        marker = f"{self.path}/.complete"
        if not (os.path.exists(marker) and os.path.exists(f"{self.path}/bin/python")):
            try:
                self._build()
            except BaseException:
                remove(self.path)
                raise
            write(marker, b"", 0o640, "root", self.app.user)
        return self.path

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
        elif self.needed.arguments:
            self._install(*self.needed.arguments)
        for requirement in app.extra_requirements:
            if not self._has(distribution(requirement)):
                with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=LOCKS, suffix=".txt") as listed:
                    listed.write(f"{requirement}\n")
                    listed.flush()
                    os.chmod(listed.name, 0o644)
                    # A line with a hash is complete in itself: what it depends on has lines of its own.
                    hashed = ["--require-hashes", "--no-deps"] if "--hash" in requirement else []
                    self._install("--requirement", listed.name, *hashed)
        hand_over(self.path, app.user)
        os.sync()

    def _sync(self) -> None:
        """Install what ``uv.lock`` says, without asking anybody if all of it has been fetched before."""
        if self.app.wheelhouse:
            listed = os.path.join(self.path, "locked.txt")
            export = ("export", "--quiet", "--frozen", "--no-dev", "--no-editable", "--project", self.code)
            self._uv(*export, "--no-emit-local", "--format", "requirements-txt", "--output-file", listed)
            self._install("--requirement", listed, "--require-hashes")
            if self.needed.own_code:
                self._install("--no-deps", self.code)
            return
        sync = ("sync", "--quiet", "--frozen", "--no-dev", "--no-editable", "--project", self.code)
        try:
            self._uv(*sync, "--offline")
        except CommandError:
            self._uv(*sync)

    def _has(self, name: str) -> bool:
        check = "import sys; from importlib.metadata import distribution; distribution(sys.argv[1])"
        with contextlib.suppress(CommandError):
            run([f"{self.path}/bin/python", "-c", check, name], user=self.app.user, cwd="/")
            return True
        return False

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

    def _run(self, argv: t.Sequence[str]) -> None:
        app = self.app
        environment = {
            **build_environment(app),
            "UV_CACHE_DIR": os.path.join(app.build, "cache"),
            "UV_PROJECT_ENVIRONMENT": self.path,
            # A .python-version in the source does not decide.
            "UV_PYTHON": app.python,
            # Among them copies instead of hard links: the environment is handed to root, and the cache stays the app's.
            **SETTINGS,
            # An address with a password is in no argument list.
            **({"UV_INDEX": app.extra_index, "PIP_EXTRA_INDEX_URL": app.extra_index} if app.extra_index else {}),
        }
        try:
            # Paths in a requirements file are relative to the top of the source.
            run(argv, env=environment, cwd=self.code, user=app.user, timeout=1800)
        except CommandError as error:
            raise CommandError(without_passwords(str(error), app.extra_index, *proxies().values())) from None


def without_passwords(text: str, *urls: str) -> str:
    for url in urls:
        text = without_password(text, url)
    return text


def without_password(text: str, url: str) -> str:
    """A text in which nobody finds the name and password that a URL holds.

    >>> without_password("cannot read https://me:geheim@a.example/x or geheim", "https://me:geheim@a.example/")
    'cannot read https://...@a.example/x or ...'
    """
    found = re.match(r"[a-z]+://([^/@]*)@", url)
    if not found:
        return text
    text = text.replace(f"{found[1]}@", "...@")
    password = found[1].partition(":")[2]
    return text.replace(password, "...") if password else text


def distribution(requirement: str) -> str:
    """The name of the distribution in a line of a requirements file.

    >>> distribution("gunicorn[gevent]==27.0.1 --hash=sha256:00")
    'gunicorn'
    """
    return re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0]


def unused(app: App, releases: t.Iterable[str]) -> list[str]:
    """The environments that none of some release directories links to."""
    used = {os.path.realpath(os.path.join(release, "venv")) for release in releases}
    if not os.path.isdir(app.environments):
        return []
    with os.scandir(app.environments) as found:
        return sorted(entry.path for entry in found if os.path.realpath(entry.path) not in used)
