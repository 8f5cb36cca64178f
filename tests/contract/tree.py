"""Read a collection's files the way the promises need them."""

from __future__ import annotations

import ast
import fnmatch
import os
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

# The playbooks' one list of apps: every entry may use what any role says about its own entries.
APPS_OF_ALL_ROLES = "flask_apps"


class Loader(yaml.SafeLoader):
    """Safe YAML that takes Ansible's own tags (!vault, !unsafe) for the plain text they hold."""


Loader.add_multi_constructor("!", lambda loader, suffix, node: getattr(node, "value", None))


class Tree:
    """A checkout of the collection, or a small sample of one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._functions: dict[str, dict[str, str]] = {}

    def files(self, *patterns: str) -> list[str]:
        """Paths below the root that match a pattern (`*` also crosses folders), sorted."""
        return [path for path in self._all if any(fnmatch.fnmatch(path, pattern) for pattern in patterns)]

    @cached_property
    def _all(self) -> list[str]:
        found = []
        for folder, folders, names in os.walk(self.root):
            folders[:] = [name for name in folders if name not in IGNORED]
            found += [os.path.relpath(Path(folder, name), self.root) for name in names]
        return sorted(found)

    def has(self, path: str) -> bool:
        return (self.root / path).exists()

    def text(self, path: str) -> str:
        return (self.root / path).read_text(errors="replace")

    def function(self, name: str) -> str | None:
        """The text of a function with its decorators, given as `tests/test_x.py::test_y`; None where there is none."""
        path, _, function = name.partition("::")
        if path not in self._functions:
            text = self.text(path) if self.has(path) else ""
            self._functions[path] = {
                node.name: "\n".join(
                    text.splitlines()[
                        min([node.lineno, *(one.lineno for one in node.decorator_list)]) - 1 : node.end_lineno
                    ]
                )
                for node in ast.parse(text).body
                if isinstance(node, ast.FunctionDef)
            }
        return self._functions[path].get(function)

    def yaml(self, path: str) -> Any:
        return yaml.load(self.text(path), Loader) if self.has(path) else None

    def roles(self) -> list[str]:
        return sorted({path.split("/")[1] for path in self.files("roles/*/*")})

    def scenarios(self) -> list[str]:
        return sorted({path.split("/")[1] for path in self.files("molecule/*/*")} - {"shared"})

    def tasks(self, role: str, *folders: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every task of a role with its file, those inside blocks too."""
        for folder in folders or ("tasks", "handlers"):
            for path in self.files(f"roles/{role}/{folder}/*.yml"):
                for task in _flat(self.yaml(path) or []):
                    yield path, task

    def options(self, role: str) -> dict[str, dict[str, Any]]:
        """What a role's argument specs declare, of all entry points together."""
        specs = (self.yaml(f"roles/{role}/meta/argument_specs.yml") or {}).get("argument_specs", {})
        return {name: option for spec in specs.values() for name, option in spec.get("options", {}).items()}

    def entries(self, role: str) -> dict[str, dict[str, Any]]:
        """What a role says about one entry of its list of apps or sites."""
        lists = [option for name, option in self.options(role).items() if name in (f"{role}_apps", f"{role}_sites")]
        return {name: option for item in lists for name, option in item.get("options", {}).items()}

    def declared(self) -> dict[str, dict[str, Any]]:
        """Every variable a user may set: each role's options, and the list all playbooks read."""
        options = {name: option for role in self.roles() for name, option in self.options(role).items()}
        apps: dict[str, dict[str, Any]] = {}
        for role in self.roles():
            apps = _merged(apps, self.entries(role))
        return options | {APPS_OF_ALL_ROLES: {"type": "list", "elements": "dict", "options": apps}}

    def documents(self) -> Iterator[tuple[str, Any]]:
        """All YAML in which variables are set, also the blocks that the documentation shows."""
        places = [(path, self.text(path)) for path in self.files(*(f"{folder}/*.yml" for folder in SET_VARIABLES))]
        for path in self.files("*.md"):
            blocks = re.findall(r"^```ya?ml\n(.*?)^```", self.text(path), re.MULTILINE | re.DOTALL)
            places += [(path, block) for block in blocks]
        for path, text in places:
            try:
                yield from ((path, document) for document in yaml.load_all(text, Loader))
            except yaml.YAMLError as error:
                raise ValueError(f"{path} shows something that is not YAML: {error}\n{text}") from error


def pairs(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, at any depth."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield str(key), below
            yield from pairs(below)
    elif isinstance(value, list):
        for below in value:
            yield from pairs(below)


SET_VARIABLES = ("examples", "inventories", "molecule", "playbooks")
IGNORED = {
    ".ansible", ".cache", ".git", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".venv", "__pycache__",
}  # fmt: skip


def _merged(options: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """The options of both. Of a dictionary that both have, each may know other options."""
    merged = {**options, **more}
    for name in options.keys() & more.keys():
        if "options" in options[name]:
            merged[name] = {**more[name], "options": _merged(options[name]["options"], more[name].get("options", {}))}
    return merged


def _flat(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for task in tasks:
        yield task
        for part in ("block", "rescue", "always"):
            yield from _flat(task.get(part) or [])
