# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Conflicts: users, directories, files and units that have an app's name and belong to somebody else.

What this collection creates bears a mark: the comment and home of a user, a file in a directory, a line in a file.
Anything else of that name belongs to somebody else, and is neither changed nor removed.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
import typing as t

from ansible_collections.flask_ops.production.plugins.module_utils._host.systemd import units_properties

ROOT = 0

MARKER = "Managed by Ansible (flask_ops.production)"
"""In every file of this collection. A file without it belongs to somebody else."""

MARK = ".flask-ops"
"""A file of root's in a directory that this collection has created."""

NEW = {MARK, "lost+found"}
"""What a directory may hold that nobody has used yet: it may be a file system of its own."""

UNITS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
"""Where drop-ins of a unit may lie."""

TRANSIENT = "/run/systemd/transient/"

SLOTS = "/etc/flask-ops"


def deployed_apps() -> list[str]:
    """The apps that have a slot on this host."""
    try:
        names = sorted(os.listdir(SLOTS))
    except FileNotFoundError:
        return []
    return [name for name in names if any(os.path.isdir(f"{SLOTS}/{name}/{slot}") for slot in ("blue", "green"))]


def user_exists(name: str) -> bool:
    """Whether the host has a user of this name."""
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False


def account_conflict(name: str, comment: str, home: str) -> str:
    """Why a user or a group of this name is not the app's; empty where it is, and where there is neither."""
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        user = None
    if user and (user.pw_gecos, user.pw_dir) != (comment, home):
        return f"the user has the comment '{user.pw_gecos}' and the home {user.pw_dir}"
    try:
        group = grp.getgrnam(name)
    except KeyError:
        return ""
    if not user:
        return "there is a group of this name, and no user"
    return "" if group.gr_gid == user.pw_gid else "the group of this name is not that of the user"


def directory_conflict(path: str) -> str:
    """Why a directory is not the app's; empty where it is, where nothing is there, and where it is still unused."""
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return ""
    if not stat.S_ISDIR(info.st_mode):
        return "it is a symbolic link" if stat.S_ISLNK(info.st_mode) else "it is not a directory"
    try:
        mark = os.lstat(os.path.join(path, MARK))
    except FileNotFoundError:
        return f"it has no file {MARK}" if set(os.listdir(path)) - NEW else ""
    return "" if stat.S_ISREG(mark.st_mode) and mark.st_uid == ROOT else f"its {MARK} is not a file of root's"


def file_conflict(path: str) -> str:
    """Why a file is not the app's; empty where it is, and where nothing is there."""
    if not os.path.lexists(path):
        return ""
    if not os.path.isfile(path):
        return "it is not a file"
    with open(path, "rb") as stream:
        return "" if MARKER.encode() in stream.read(65536) else f"it has no line '{MARKER}'"


def unit_conflicts(names: t.Sequence[str]) -> dict[str, str]:
    """The units that are not the app's, each with the reason. systemd knows all places, aliases and generators."""
    if not names:
        return {}
    found = units_properties(names, "FragmentPath", "SourcePath", "LoadState")
    reasons = {name: _unit_conflict(name, shown) for name, shown in zip(names, found, strict=True)}
    return {name: reason for name, reason in reasons.items() if reason}


def _unit_conflict(name: str, shown: t.Mapping[str, str]) -> str:
    path = shown.get("FragmentPath", "")
    if path.startswith(TRANSIENT):
        return ""
    if shown.get("LoadState") == "masked":
        return "it is masked"
    if not path:
        drop_ins = [place for directory in UNITS if os.path.isdir(place := f"{directory}/{name}.d")]
        return f"there are drop-ins for it in {drop_ins[0]}" if drop_ins else ""
    template, _at, _instance = name.partition("@")
    if os.path.basename(path) not in (name, f"{template}@.{name.rpartition('.')[2]}"):
        return f"it is an alias of {path}"
    reason = file_conflict(path)
    return f"in {shown.get('SourcePath') or path}, {reason}" if reason else ""
