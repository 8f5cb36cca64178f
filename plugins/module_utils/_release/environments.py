# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual environments: one for each set of dependencies, and every release that needs this set links to it.

    /srv/shop/environments/<digest>/     root:shop, not writable by the app
        .complete                        written last: without it, the environment is built anew

Where the app's own code is installed into the environment, the digest has the release in it, and it is that
release's alone.

This module util is private to the collection.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import tempfile
import typing as t
from dataclasses import dataclass, field

from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import ensure_directory, remove, write
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import (
    App,
    ReleaseError,
    build_environment,
    hand_over,
)
from ansible_collections.flask_ops.production.plugins.module_utils._release.build import Build
from ansible_collections.flask_ops.production.plugins.module_utils._release.sources import rewound, take_wheelhouse
from ansible_collections.flask_ops.production.plugins.module_utils._release.uv import SETTINGS, ensure_uv

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
    project: bool = False
    """Whether the source can be installed in addition to what a requirements file lists."""
    own_project: bool = False
    """Whether it has to be: what gunicorn serves is not found at the top of the source."""
    note: str = ""


Reader = t.Callable[[str, str], str | None]
"""Gives the text of a file of the source, by its path below the top and the option that names it; None if there is none."""


def dependencies(app: App, code: str, read: Reader) -> Dependencies:
    """Look at what the source brings: the named file, ``uv.lock``, ``requirements.txt``, ``pyproject.toml``."""
    if app.installer == "pip" and (app.groups or app.requirements == "pyproject.toml"):
        option = "groups" if app.groups else "requirements"
        raise ReleaseError(f"{option}: pip does not read them from pyproject.toml; leave installer out")
    constrain = ["--constraint", os.path.join(code, app.constraints)] if app.constraints else []
    if app.constraints and read(app.constraints, "constraints") is None:
        raise ReleaseError(f"constraints: the source has no file '{app.constraints}'")
    constraints = requirement_files(read, [app.constraints])[0] if app.constraints else []
    if app.source.get("pypi"):
        return Dependencies([app.source["pypi"], *app.additional_requirements, *constrain], constraints)
    if app.source.get("wheel"):
        wheel = os.path.join(code, os.path.basename(app.source["wheel"]))
        return Dependencies([wheel, *app.additional_requirements, *constrain], constraints)
    lock = None if app.requirements else read("uv.lock", "requirements")
    if lock is not None:
        if app.installer == "pip":
            raise ReleaseError(
                "installer: the source has a uv.lock, which pip does not read; leave installer out, or name a "
                "requirements file in 'requirements'"
            )
        if app.constraints:
            raise ReleaseError("constraints: the source has a uv.lock, which pins everything; leave constraints out")
        chosen = [*both("--extra", app.extras), *both("--group", app.groups)]
        return Dependencies(chosen, ["uv.lock", "pyproject.toml"], lock=True, own_code=bool(LOCKED_CODE.search(lock)))
    project = read("pyproject.toml", "requirements")
    requirements = app.requirements or "requirements.txt"
    if read(requirements, "requirements") is not None:
        by_name = ["extras"] * bool(app.extras) + ["groups"] * bool(app.groups)
        if by_name and requirements != "pyproject.toml":
            raise ReleaseError(
                f"{by_name[0]}: {requirements} lists what is installed, and has no {by_name[0]}; to install from "
                "pyproject.toml instead, set requirements: pyproject.toml"
            )
        files, own_code = requirement_files(read, [name for name in (requirements, app.constraints) if name])
        hashed = any("--hash=" in (read(name, "requirements") or "") for name in files)
        return Dependencies(
            [
                *("--requirement", os.path.join(code, requirements)),
                *app.additional_requirements,
                *constrain,
                *both("--extra", app.extras),
                *both("--group", app.groups),
                *(["--require-hashes"] if hashed else []),
            ],
            files,
            own_code=own_code,
            project=(project is not None and packaged(project)) or read("setup.py", "requirements") is not None,
            note=""
            if hashed or requirements == "pyproject.toml"
            else f"{requirements} has no hashes: what the index gives is installed unchecked. 'uv pip compile "
            "--generate-hashes' writes them.",
        )
    if app.requirements:
        raise ReleaseError(f"requirements: the source has no file '{app.requirements}'")
    if project is not None:
        extras = f"[{','.join(app.extras)}]" if app.extras else ""
        return Dependencies(
            [f"{code}{extras}", *app.additional_requirements, *constrain, *both("--group", app.groups)], own_code=True
        )
    return Dependencies([*app.additional_requirements, *constrain] if app.additional_requirements else [], constraints)


def both(option: str, values: t.Iterable[str]) -> list[str]:
    return [word for value in values for word in (option, value)]


def packaged(pyproject: str) -> bool:
    """Whether a ``pyproject.toml`` describes something that can be installed."""
    return re.search(r"^\[build-system\]", pyproject, re.MULTILINE) is not None


def requirement_files(read: Reader, names: list[str]) -> tuple[list[str], bool]:
    """The files that some requirements files consist of, and whether they install anything by its path."""
    files: list[str] = []
    by_path = False
    pending = list(names)
    while pending:
        name = pending.pop(0)
        if name in files:
            continue
        text = read(name, "requirements")
        if text is None:
            continue
        files.append(name)
        if name.endswith(".toml"):
            continue
        for line in text.replace("\\\n", " ").splitlines():
            line = re.sub(r"(^|\s)#.*", "", line).strip()
            included = re.match(r"(?:-r|--requirement|-c|--constraint)[ =]*(\S+)", line)
            if included and "://" not in included[1]:
                wanted = os.path.normpath(os.path.join(os.path.dirname(name), included[1]))
                if wanted.startswith(("/", "..")):
                    raise ReleaseError(f"requirements: '{included[1]}' in {name} is outside of the source")
                pending.append(wanted)
            elif line.startswith("-"):
                by_path = by_path or line.startswith(("-e", "--editable", "-f", "--find-links"))
            elif line:
                archive = line.split()[0].endswith((".whl", ".zip", ".tar.gz"))
                by_path = by_path or archive or not BY_NAME.match(line)
    return files, by_path


@dataclass
class Environment:
    """The virtual environment that one release needs."""

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
            "extra_requirements": app.extra_requirements,
            "package": [app.source.get("pypi"), app.source.get("wheel") and app.source["sha256"]],
            "chosen": [app.extras, app.groups, app.additional_requirements, app.build_env],
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

        It is the app's until :meth:`seal`, after the build has ended.
        """
        if not self.complete:
            try:
                self._build()
            except BaseException:
                self.build.end()
                remove(self.path)
                raise
        return self.path

    def seal(self) -> None:
        """Give it to root, and mark it complete."""
        if not self.complete:
            hand_over(self.path, self.app.user)
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
            if app.additional_requirements:
                self._install(*app.additional_requirements)
        elif self.needed.arguments:
            self._install(*self.needed.arguments)
        if self.needed.own_project:
            self._install("--no-deps", self.code)
        self._add(app.extra_requirements)

    def _add(self, requirements: t.Sequence[str]) -> None:
        """Install what serves the app, and what that needs, unless the app brings it."""
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
            listed = os.path.join(self.app.build, "tmp", "extra.txt")
            with tempfile.TemporaryFile() as stream:
                stream.write(f"{requirement}\n".encode())
                self._run(["dd", "status=none", f"of={listed}"], stdin=rewound(stream))
            self._install("--requirement", listed, *hashed)

    def _installed(self) -> dict[str, t.Any]:
        """What the environment has, by name: its version, and who wants which of its versions."""
        found = json.loads(self._run([f"{self.path}/bin/python", "-I", "-c", INSTALLED]))
        return t.cast("dict[str, t.Any]", found)

    def _sync(self) -> None:
        """Install what ``uv.lock`` says, without asking anybody if all of it has been fetched before."""
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
            "UV_CACHE_DIR": os.path.join(app.build, "cache"),
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
"""What is installed, as the environment's own Python says."""


def pinned(requirement: str) -> str:
    """The version in a line of a requirements file, if it names exactly one.

    >>> pinned("gunicorn[gevent]==27.0.1 --hash=sha256:00")
    '27.0.1'
    """
    found = re.match(r"[^=<>!~;\s]+\s*==\s*([^\s;]+)", requirement)
    return found[1] if found else ""


def numbers(version: str) -> tuple[int, ...]:
    """
    >>> numbers("27.0.1rc1") < numbers("27.1")
    True
    """
    return tuple(int(number) for number in re.findall(r"\d+", version.split("+")[0])[:3])


def excludes(specifier: str, version: str) -> bool:
    """Whether a version specifier does not admit a version. What it does not know, it lets pass.

    >>> excludes("gunicorn<24,>=20", "27.0.1"), excludes("gunicorn>=20", "27.0.1"), excludes("gunicorn~=23.0", "27.0.1")
    (True, False, True)
    """
    ours = numbers(version)
    for operator, text in re.findall(r"(<=|<|==|~=)\s*([0-9][0-9.]*)", specifier.partition(";")[0]):
        theirs = numbers(text)
        if operator == "~=":
            theirs = (*theirs[:-2], theirs[-2] + 1) if len(theirs) > 1 else (theirs[0] + 1,)
        elif operator == "==" and not specifier.partition(";")[0].rstrip().endswith("*"):
            theirs = (*theirs, 0, 0)[:3]
        if operator == "==" and ours[: len(theirs)] != theirs:
            return True
        if operator == "<=" and ours > (*theirs, 0, 0)[:3]:
            return True
        if operator in ("<", "~=") and ours >= (*theirs, 0, 0)[:3]:
            return True
    return False


def refuse_conflict(name: str, version: str, wanted_by: list[list[str]]) -> None:
    for owner, line in wanted_by:
        if excludes(line, version):
            raise ReleaseError(
                f"{owner} needs {line.partition(';')[0].strip()}, and the app is served by {name} {version}, since older "
                f"ones lose requests. Use a version of {owner} that allows it, or set server: waitress for this app."
            )


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
