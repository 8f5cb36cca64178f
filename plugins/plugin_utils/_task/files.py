# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a task says of its files to what the module on the host needs: expanded, rendered, complete.

This plugin util is private to the collection.
"""

from __future__ import annotations

import base64
import typing as t
import zlib

from ansible.errors import AnsibleActionFail
from ansible_collections.flask_ops.production.plugins.module_utils._host.secrets import encode_secret
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.zipapp import zipapp

Render = t.Callable[[str, dict[str, t.Any]], str]
"""Renders a template, given its file name and the variables it sees besides the task's."""

PASSED_ON = ("copy_of", "copy_changes", "target", "mode", "owner", "group")
KEYS = {"dest", "src", "content", "zipapp", "state", "each", "as", "secret", *PASSED_ON}


def described(files: list[dict[str, t.Any]], render: Render) -> tuple[list[dict], list[dict]]:
    """Return the files that may be shown and the secret ones, sealed, each with its ``position`` in the whole list."""
    shown: list[dict] = []
    secret: list[dict] = []
    for file in files:
        unknown = set(file) - KEYS
        if unknown or "dest" not in file:
            raise AnsibleActionFail(f"files: 'dest' is required and {sorted(unknown) or 'nothing else'} is not known")
        for item in file.get("each", [None]):
            entry = _entry(file, item, render)
            entry["position"] = len(shown) + len(secret)
            if file.get("secret") and "content" in entry:
                entry["content"] = encode_secret(entry["content"])
            (secret if file.get("secret") else shown).append(entry)
    return shown, secret


def in_order(files: list[dict[str, t.Any]], item: dict[str, t.Any], render: Render) -> list[dict]:
    """Return the files for one item, in the order given, each saying whether it is secret."""
    shown, secret = described([{**file, "each": [item], "as": "item"} for file in files], render)
    return sorted([*shown, *({**file, "secret": True} for file in secret)], key=lambda file: file["position"])


def _entry(file: dict[str, t.Any], item: dict[str, t.Any] | None, render: Render) -> dict[str, t.Any]:
    state = file.get("state") or _default_state(file)
    if item is not None and item.get("state") == "absent":
        state = "absent"
    entry = {key: file[key] for key in PASSED_ON if key in file} | {"dest": file["dest"], "state": state}
    if item is not None:
        entry = {key: _fill(value, item) for key, value in entry.items()}
        if "name" in item:
            entry["item"] = item["name"]
    if state in ("file", "files") and "src" in file:
        source = file["src"] if item is None else _fill(file["src"], item)
        entry["content"] = render(source, {} if item is None else {file.get("as", "item"): item})
    elif state in ("file", "files") and "content" in file:
        entry["content"] = file["content"]
    elif state == "file" and "zipapp" in file:
        entry["binary"] = base64.b64encode(zlib.compress(zipapp(file["zipapp"]))).decode()
    return entry


def _default_state(file: dict[str, t.Any]) -> str:
    if file.keys() & {"src", "content", "zipapp", "copy_of"}:
        return "file"
    return "link" if "target" in file else "directory"


def _fill(value: t.Any, item: dict[str, t.Any]) -> t.Any:
    """Replace ``{key}`` by that key of the item."""
    return value.format_map(item) if isinstance(value, str) else value
