# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A part of the collection as one program for a host: a module util and all that it imports, as a zip application.

This plugin util is private to the collection.
"""

from __future__ import annotations

import ast
import io
import typing as t
import zipfile
from pathlib import Path

PACKAGE = "ansible_collections.flask_ops.production.plugins.module_utils"
SOURCES = Path(__file__).parents[2] / "module_utils"


def zipapp(module: str) -> bytes:
    """The application whose ``main()`` is in this module util. The same sources give the same bytes on every controller."""
    files = {"__main__.py": f"import sys\n\nfrom {PACKAGE}.{module} import main\n\nsys.exit(main())\n".encode()}
    for name, content in sources(module).items():
        path = Path(*PACKAGE.split("."), *name.split("."))
        files[f"{path}.py"] = content
        files |= {f"{parent}/__init__.py": b"" for parent in path.parents if parent.name}
    target = io.BytesIO()
    # Not compressed: two versions of zlib may give different bytes.
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(files):
            archive.writestr(zipfile.ZipInfo(file), files[file])
    return target.getvalue()


def sources(module: str) -> dict[str, bytes]:
    """The files of a module util and of those that it imports, directly or not, by module name."""
    found: dict[str, bytes] = {}
    missing = [module]
    while missing:
        name = missing.pop()
        if name not in found:
            found[name] = SOURCES.joinpath(*name.split(".")).with_suffix(".py").read_bytes()
            missing += imported(found[name])
    return found


def imported(source: bytes) -> t.Iterator[str]:
    """The module utils that are imported anywhere in a file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}."):
            module = str(node.module).removeprefix(f"{PACKAGE}.")
            names = [f"{module}.{alias.name}" for alias in node.names]
            yield from names if SOURCES.joinpath(*module.split(".")).is_dir() else [module]
