# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an app needs to be installed, by the files of its source, and the versions in requirements."""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.flask_ops.production.plugins.module_utils._release.app import App, ReleaseError

BY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\s*($|[\[<>=!~;(]|@\s*(?!file:)[a-z][a-z0-9+]*://)")
"""A requirement that names a distribution, and not a path."""

LOCKED_CODE = re.compile(r'source = \{ (editable|directory|path) = "')
"""In ``uv.lock``: something that is installed from the source itself."""


@dataclass
class Dependencies:
    """The dependencies of an app, by the best description in its source."""

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
    """Find the description in the source: the named file, ``uv.lock``, ``requirements.txt``, ``pyproject.toml``."""
    if app.installer == "pip" and (app.groups or app.requirements == "pyproject.toml"):
        option = "groups" if app.groups else "requirements"
        raise ReleaseError(f"{option}: pip does not read them from pyproject.toml; leave installer out")
    constrain = ["--constraint", os.path.join(code, app.constraints)] if app.constraints else []
    if app.constraints and read(app.constraints, "constraints") is None:
        raise ReleaseError(f"constraints: the source has no file '{app.constraints}'")
    constraints = requirement_files(read, [app.constraints])[0] if app.constraints else []
    if app.source.get("pypi"):
        return Dependencies([app.source["pypi"], *app.extra_requirements, *constrain], constraints)
    if app.source.get("wheel"):
        wheel = os.path.join(code, os.path.basename(app.source["wheel"]))
        return Dependencies([wheel, *app.extra_requirements, *constrain], constraints)
    lock = None if app.requirements else read("uv.lock", "requirements")
    if lock is not None:
        if app.installer == "pip":
            raise ReleaseError(
                "installer: the source has a uv.lock, which pip does not read; leave installer out, or name a "
                "requirements file in 'requirements'"
            )
        if app.constraints:
            raise ReleaseError("constraints: the source has a uv.lock, which pins everything; leave constraints out")
        chosen = [*repeated("--extra", app.extras), *repeated("--group", app.groups)]
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
                *app.extra_requirements,
                *constrain,
                *repeated("--extra", app.extras),
                *repeated("--group", app.groups),
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
            [f"{code}{extras}", *app.extra_requirements, *constrain, *repeated("--group", app.groups)],
            own_code=True,
        )
    return Dependencies([*app.extra_requirements, *constrain] if app.extra_requirements else [], constraints)


def repeated(option: str, values: t.Iterable[str]) -> list[str]:
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
