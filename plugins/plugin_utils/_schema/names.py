# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of variables: misspelt ones, those that nothing reads, those that a playbook sets.

This plugin util is private to the collection.
"""

from __future__ import annotations

import typing as t
from collections import Counter
from collections.abc import Iterable, Mapping

from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import (
    ROLE_NAMES,
    list_of,
    published_variables,
    role_options,
    wired_variables,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.values import TYPES


def unread_names(names: Iterable[str], roles: Iterable[str]) -> list[str]:
    """The names that begin with a role's prefix and that no role reads: other collections have such roles, too."""
    return sorted(
        name
        for role in roles
        for name in names
        if name.startswith(f"{role}_") and name not in role_options(role).keys() | published_variables(role)
    )


def overridden_errors(names: Iterable[str]) -> list[str]:
    """The variables that the playbooks and the roles set themselves: a value of the user's would be ignored.

    :param names: all variables of the host, where no role has been loaded yet.
    """
    lists, wired = {list_of(role) for role in ROLE_NAMES}, wired_variables()
    published = {name: role for role in ROLE_NAMES for name in published_variables(role)}
    errors = []
    for name in sorted(names):
        if name in lists:
            errors.append(f"{name}: is made of flask_apps by the playbook; move its entries to flask_apps")
        elif name in wired:
            errors.append(f"{name}: is set by the playbook, and this value would be ignored; leave it out")
        elif name in published and not name.startswith("__"):
            errors.append(
                f"{name}: is set by the role {published[name]}, and this value would be ignored; leave it out"
            )
    return errors


def misspelt_names(
    names: Iterable[str], roles: Iterable[str], lists: Iterable[str] = (), values: Mapping[str, t.Any] | None = None
) -> list[str]:
    """Every name that is one or two letters away from a variable that the playbook reads, prefix included.

    :param names: all variables of the host.
    :param lists: lists of apps that belong to no role, such as ``flask_apps``.
    :param values: the variables themselves. Where the list is there, its name without the s is something else, unless it
        holds apps as well.
    """
    names, values = set(names), values or {}
    known = {name for role in roles for name in role_options(role)}
    others = tuple(f"{role}_" for role in ROLE_NAMES)
    errors = []
    for name in sorted(names - known - set(lists)):
        # Names that begin with a role's name are the business of variable_errors().
        if name.startswith((*others, "__", "ansible_")):
            continue
        near = _nearest_slip(name.lower(), {*known, *lists})
        if near in names and near in lists and f"{name}s" == near:
            if _holds_apps(values.get(name)):
                errors.append(f"{name}: holds apps, and so does {near}; keep one of them")
        elif near:
            errors.append(f"{name}: is not a variable of this collection; did you mean '{near}'?")
    return errors


def _holds_apps(value: t.Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and bool(value)
        and all(isinstance(item, Mapping) and "name" in item for item in value)
    )


def misspelt(name: str, value: t.Any, role: str) -> str | None:
    """The variable of a role that was meant."""
    options = role_options(role)
    if name in options or name in published_variables(role):
        return None
    near = _nearest_slip(name.lower(), options, len(role) + 1)
    if near == f"{name}s" and not isinstance(value, TYPES[options[near]["type"]][0]):
        return None  # another collection's, such as node_exporter_user
    return near


def _nearest_slip(name: str, known: Iterable[str], prefix: int = 0) -> str | None:
    return min(
        (real for real in sorted(known) if _is_slip(name, real, prefix)),
        key=lambda real: _edits(name, real),
        default=None,
    )


def _is_slip(name: str, real: str, prefix: int = 0) -> bool:
    """Whether one name is the other but for one letter in five, at most two; two that change places count as one.

    A name with something before it is another variable.

    :param prefix: the length of what both begin with.
    """
    if name[:1] != real[:1]:
        return False
    allowed = min(2, max(1, (len(real) - prefix) // 5))
    if abs(len(name) - len(real)) > allowed or (Counter(name) - Counter(real)).total() > allowed:
        return False  # most names; what follows takes time
    return _edits(name, real) <= allowed


def _edits(one: str, other: str) -> int:
    """How many letters have to be inserted, removed, replaced or swapped with the next one to make one text the other."""
    before, row = [0] * (len(other) + 1), list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        oldest, before, row = before, row, [i]
        for j, there in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != there))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == there:
                cost = min(cost, oldest[j - 2] + 1)
            row.append(cost)
    return row[-1]
