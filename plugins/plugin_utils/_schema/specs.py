# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each role describes in its ``meta/`` folder: its options, their rules, and its paths on the host.

An app in ``flask_apps`` has every option that the roles have for an app in ``<role>_apps``. A new option is added to the
spec of the role whose business it is, and is known everywhere from then on.

This plugin util is private to the collection.
"""

from __future__ import annotations

import functools
import typing as t
from collections.abc import Iterable
from pathlib import Path

import yaml

Options = dict[str, dict[str, t.Any]]

ROLES = Path(__file__).resolve().parents[3] / "roles"

ROLE_NAMES = tuple(sorted(path.name for path in ROLES.iterdir()))

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Ten times as fast where PyYAML has it: Ansible begins a new process for each host and task."""


def load(role: str, file: str) -> dict[str, t.Any]:
    """A YAML file of a role; an empty dictionary where the role has none."""
    try:
        with (ROLES / role / file).open(encoding="utf-8") as stream:
            return yaml.load(stream, LOADER) or {}
    except FileNotFoundError:
        return {}


@functools.cache
def role_options(role: str) -> Options:
    """Every variable of a role, as its argument spec describes it."""
    return load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]


@functools.cache
def published_variables(role: str) -> frozenset[str]:
    """What a role computes for others to use, and keeps in its ``vars/main.yml``."""
    return frozenset(load(role, "vars/main.yml"))


@functools.cache
def wired_variables() -> frozenset[str]:
    """The variables of the roles that the playbooks set."""
    with (ROLES.parent / "playbooks" / "vars" / "wiring.yml").open(encoding="utf-8") as stream:
        return frozenset(yaml.load(stream, LOADER))


def list_of(role: str) -> str | None:
    """The variable that holds a role's apps. A role that serves the host as a whole has none."""
    name = f"{role}_apps"
    return name if name in role_options(role) else None


def app_roles() -> list[str]:
    """The roles that work with apps."""
    return [role for role in ROLE_NAMES if list_of(role)]


def app_options(roles: Iterable[str]) -> Options:
    """The options that an app may have, for one role, or for several together."""
    options: Options = {}
    for role in roles:
        if name := list_of(role):
            options = _merged(options, role_options(role)[name]["options"])
    return options


def _merged(options: Options, more: Options) -> Options:
    """The options of both. Of a dictionary that both have, each may know other options."""
    merged = more | options
    for name in options.keys() & more.keys():
        if "options" in options[name]:
            merged[name] = options[name] | {"options": _merged(options[name]["options"], more[name]["options"])}
    return {name: merged[name] for name in [*options, *more]}
