# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the roles, read from their argument specs: the one place where an option is described.

An app in ``flask_apps`` has every option that the entries of the roles have. A new option is added to the spec of
the role whose business it is, and is known everywhere from then on.

This plugin util is private to the collection.
"""

from __future__ import annotations

import copy
import functools
import typing as t
from collections.abc import Mapping
from pathlib import Path

import yaml
from ansible.errors import AnsibleFilterError

Options = dict[str, dict[str, t.Any]]

ENTRIES = {
    "python_app": "python_app_apps",
    "gunicorn_systemd": "gunicorn_systemd_apps",
    "nginx_proxy": "nginx_proxy_sites",
    "app_processes": "app_processes_apps",
    "node_exporter": "node_exporter_apps",
    "letsencrypt": "letsencrypt_certificates",
}
"""By role: the variable that holds its list of entries. A role that serves the host as a whole has none."""

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Ten times as fast where PyYAML has it: Ansible begins a new process for each host and task."""

ROLES = Path(__file__).resolve().parents[3] / "roles"


@functools.cache
def role_options(role: str) -> Options:
    """Every variable of a role, as its argument spec describes it."""
    with (ROLES / role / "meta" / "argument_specs.yml").open(encoding="utf-8") as stream:
        return yaml.load(stream, LOADER)["argument_specs"]["main"]["options"]


@functools.cache
def published_variables(role: str) -> frozenset[str]:
    """What a role computes for others to use, and keeps in its ``vars/main.yml``."""
    path = ROLES / role / "vars" / "main.yml"
    if not path.exists():
        return frozenset()
    with path.open(encoding="utf-8") as stream:
        return frozenset(yaml.load(stream, LOADER) or {})


@functools.cache
def wired_variables() -> frozenset[str]:
    """The variables of the roles that the playbooks set."""
    with (ROLES.parent / "playbooks" / "vars" / "wiring.yml").open(encoding="utf-8") as stream:
        return frozenset(yaml.load(stream, LOADER))


def entry_options(*roles: str) -> Options:
    """The options that one entry may have, for one role, or for several together."""
    options: Options = {}
    for role in roles:
        if role in ENTRIES:
            options = _merged(options, role_options(role)[ENTRIES[role]]["options"])
    return options


def _merged(options: Options, more: Options) -> Options:
    """The options of both. Of a dictionary that both have, each may know other options."""
    merged = more | options
    for name in options.keys() & more.keys():
        if "options" in options[name]:
            merged[name] = options[name] | {"options": _merged(options[name]["options"], more[name]["options"])}
    return {name: merged[name] for name in [*options, *more]}


def select(entries: list[dict[str, t.Any]], role: str) -> list[dict[str, t.Any]]:
    """Of each entry the options that a role knows."""
    _check(entries)
    return [_known(entry, entry_options(role)) for entry in entries]


def _check(entries: t.Any) -> None:
    if not isinstance(entries, (list, tuple)) or not all(isinstance(entry, Mapping) for entry in entries):
        raise AnsibleFilterError(f"a list of apps is needed, each a dictionary, not {type(entries).__name__}")


def _known(given: Mapping[str, t.Any], options: Options) -> dict[str, t.Any]:
    return {
        key: _known(value, options[key]["options"])
        if isinstance(value, Mapping) and options[key].get("options")
        else value
        for key, value in given.items()
        if key in options
    }


def with_defaults(entries: list[dict[str, t.Any]], role: str) -> list[dict[str, t.Any]]:
    """Each entry complete: an option that is not given has its default, or the value None."""
    _check(entries)
    return [_complete(entry, entry_options(role)) for entry in entries]


def _complete(given: dict[str, t.Any], options: Options) -> dict[str, t.Any]:
    complete = dict(given)
    for name, option in options.items():
        if complete.get(name) is None:
            complete[name] = copy.deepcopy(option.get("default"))
            if complete[name] is None and option["type"] == "dict" and _has_defaults(option.get("options", {})):
                complete[name] = {}
        if option["type"] == "dict" and "options" in option and complete[name] is not None:
            complete[name] = _complete(complete[name], option["options"])
        if option["type"] == "list" and "options" in option and complete[name] is not None:
            complete[name] = [_complete(item, option["options"]) for item in complete[name]]
    return complete


def _has_defaults(options: Options) -> bool:
    """Whether defaults alone make sense: what needs something said is not there unless somebody says it."""
    return any("default" in option for option in options.values()) and not any(
        option.get("required") for option in options.values()
    )
