# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the files of a task to those that the module on the host needs: one for each app, rendered, complete.

This plugin util is private to the collection.
"""

from __future__ import annotations

import base64
import typing as t
import zlib
from collections.abc import Mapping

from ansible.errors import AnsibleActionFail
from ansible_collections.flask_ops.production.plugins.module_utils._host.secrets import encode_secret
from ansible_collections.flask_ops.production.plugins.modules.config_files import FILE
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.zipapp import zipapp

App = Mapping[str, t.Any]

Render = t.Callable[[str, dict[str, t.Any]], str]
"""Renders a template, given its file name and the variables it sees in addition to those of the task."""

UNCHANGED = ("copy_of", "copy_changes", "target", "mode", "owner", "group")
KEYS = FILE.keys() - {"item", "binary"}
"""What a task may give; the others are set here."""


def described(files: list[dict[str, t.Any]], render: Render) -> tuple[list[dict], dict[str, str]]:
    """Return the files, in this order, and by path the encoded contents of those that are secret."""
    entries = []
    for file in files:
        if "each" not in file:
            entries.append(_entry(file, {}, {}, None, render))
        for item in file.get("each", []):
            entries.append(_entry(file, item.get("paths") or {}, {file.get("as", "app"): item}, item, render))
    secrets = {
        entry["dest"]: encode_secret(entry.pop("content"))
        for entry in entries
        if entry["secret"] and "content" in entry
    }
    return entries, secrets


def app_files(
    files: list[dict[str, t.Any]], app: App, paths: Mapping[str, str], variables: dict[str, t.Any], render: Render
) -> list[dict]:
    """Return the files of a slot or a process of an app, in the order given.

    :param paths: the paths of the slot or the process, which come before those of the app.
    :param variables: what the templates see.
    """
    return [_entry(file, {**app["paths"], **paths}, variables, app, render) for file in files]


def _entry(
    file: dict[str, t.Any], paths: Mapping[str, str], variables: dict[str, t.Any], item: App | None, render: Render
) -> dict[str, t.Any]:
    if wrong := set(file) - KEYS:
        raise AnsibleActionFail(f"files: {', '.join(sorted(wrong))}: is not known; known are {', '.join(sorted(KEYS))}")
    state = file.get("state") or _default_state(file)
    if item is not None and item.get("state") == "absent":
        state = "absent"
    entry = {key: file[key] for key in UNCHANGED if key in file}
    entry |= {"dest": _dest(file, paths, item), "state": state, "secret": bool(file.get("secret"))}
    if item is not None:
        entry["item"] = item["name"]
        if file.get("app_group"):
            entry["group"] = item["name"]
        if "copy_path" in file:
            entry["copy_of"] = item["paths"][file["copy_path"]]
        if "target_path" in file:
            entry["target"] = paths[file["target_path"]]
    if state in ("file", "files"):
        if "src" in file:
            entry["content"] = render(file["src"], variables)
        elif "content" in file:
            entry["content"] = file["content"]
        elif "zipapp" in file:
            entry["binary"] = base64.b64encode(zlib.compress(zipapp(file["zipapp"]))).decode()
    return entry


def _dest(file: dict[str, t.Any], paths: Mapping[str, str], item: App | None) -> str:
    if "path" in file:
        if file["path"] not in paths:
            raise AnsibleActionFail(f"files: path: '{file['path']}' is no path of an app; there are {', '.join(paths)}")
        return paths[file["path"]]
    if "dest" not in file:
        raise AnsibleActionFail("files: a file needs a dest, or the path of an app")
    return f"{file['dest']}{item['name']}" if item is not None and file["dest"].endswith("/") else file["dest"]


def _default_state(file: dict[str, t.Any]) -> str:
    if file.keys() & {"src", "content", "zipapp", "copy_of", "copy_path"}:
        return "file"
    return "link" if file.keys() & {"target", "target_path"} else "directory"
