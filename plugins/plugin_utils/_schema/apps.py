# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prepares a list of apps, once: checks it as a whole, fills in defaults, resolves the names of files and units.

What is special to one role is in ``checks/<role>.py``. A module there may have

- ``app_errors(app, place)``: the errors of one app as the user wrote it,
- ``taken(apps)``: names that no app may claim, each as its kind, the name and its owner,
- ``claims(app, place)``: names that no two apps may have, each as its kind, the name and its place,
- ``list_errors(apps)``: what is right for each app, and not for all of them,
- ``variable_errors(variables)``: the errors of the role's variables together,
- ``fleet_errors(app, place, hosts, inventory)``: what is right on one host, and not on several,
- ``final_errors(apps, variables)``: errors of apps that are right otherwise,
- ``platform_errors(platform, variables)``: what a distribution, such as ``Debian 12``, cannot do,
- ``host_claims(app, host)``: what the role creates on a host under the app's name, outside directories of this collection.

This plugin util is private to the collection.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import types
import typing as t
from collections.abc import Collection, Iterable, Mapping

from ansible_collections.flask_ops.production.plugins.module_utils._deploy.slots import SLOTS
from ansible_collections.flask_ops.production.plugins.plugin_utils._deploy.processes import (
    command_line,
    unit_name,
    units,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.names import misspelt
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.rules import all_rules
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import (
    ROLE_NAMES,
    Options,
    app_options,
    app_roles,
    list_of,
    load,
    role_options,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.values import (
    complete,
    dictionary,
    shown,
    value_errors,
)

App = Mapping[str, t.Any]
Placed = list[tuple[str, App]]
"""Apps, each with its place in the user's list."""


@functools.cache
def checks(role: str) -> types.ModuleType:
    """The checks of a role; an empty module where it has none."""
    name = f"{__package__}.checks.{role}"
    return importlib.import_module(name) if importlib.util.find_spec(name) else types.ModuleType(role)


def ask(hook: str, roles: Iterable[str], *arguments: t.Any) -> list[t.Any]:
    """The results of all checks of this kind."""
    return [result for role in roles for result in getattr(checks(role), hook, lambda *_: [])(*arguments)]


def prepare(
    apps: t.Any, name: str, roles: Collection[str], only: str | None = None
) -> tuple[Placed, Placed, list[str]]:
    """A list of apps as the user wrote it, and prepared, each app with its place; and every error in it.

    :param name: the variable that holds the list, for the place in an error.
    :param roles: the roles whose options an app may have.
    :param only: the name of the one app to prepare.
    """
    if apps is None:
        return [], [], [f"{name}: is missing; it is the list of apps, a good place is group_vars/flask_servers.yml"]
    if not isinstance(apps, (list, tuple)):
        return [], [], [f"{name}: must be a list of apps, not {shown(apps)}"]
    options = app_options(roles)
    given: Placed = []
    completed: Placed = []
    errors: list[str] = []
    for index, app in enumerate(apps):
        if only is not None and dictionary(app).get("name") != only:
            continue
        place = place_of(app, name, index)
        if not isinstance(app, Mapping):
            errors.append(f"{place}: must be a dictionary with a 'name', not {shown(app)}")
            continue
        full, wrong = complete(app, options, place, roles=roles)
        given.append((place, app))
        completed.append((place, full))
        errors += wrong + ask("app_errors", roles, app, place)
    errors += _clashes(given, roles) + ask("list_errors", roles, given)
    if errors:
        return given, [], errors
    return given, [(place, resolved(app)) for place, app in completed], []


def place_of(app: t.Any, name: str, index: int) -> str:
    """Where an app stands, by its number and by the name that people know it by: ``flask_apps[1] (shop)``."""
    known = dictionary(app).get("name")
    return (
        f"{name}[{index}] ({known})"
        if isinstance(known, str) and all_rules()["name"].accepts(known)
        else f"{name}[{index}]"
    )


def resolved(app: App) -> dict[str, t.Any]:
    """A complete app with the paths, the units and the names that are derived from its options.

    ``paths``, and those of its ``slots`` and ``processes``, are described in the roles' ``meta/paths.yml``.
    """
    name, server = app["name"], app.get("server")
    credentials = sorted(app.get("secret_files") or {})
    if app.get("secrets_in") == "credentials":
        credentials.insert(0, "secrets.json")
    return {
        **app,
        "credentials": credentials,
        "secret_names": sorted(app.get("secrets") or {}),
        "env_names": sorted({*(app.get("env") or {}), *(app.get("secrets") or {})}),
        "sockets": [
            f"/run/flask-ops/{name}/current/{number}.sock" for number in range(1, (app.get("instances") or 1) + 1)
        ],
        "paths": _paths("app", name=name),
        "slots": {
            slot: {"name": slot, "unit": f"{name}-{slot}", "paths": _paths("slot", name=name, slot=slot, server=server)}
            for slot in SLOTS
        },
        "processes": [
            {
                **process,
                "unit": unit_name(app, process),
                "units": units(app, process),
                "command_line": command_line(process),
                "paths": _paths("process", name=name, process=process["name"], unit=unit_name(app, process)),
            }
            for process in app.get("processes") or []
        ],
    }


@functools.cache
def path_templates(kind: str) -> dict[str, str]:
    """The paths of an app, a slot or a process, as all roles describe them."""
    return {key: path for role in ROLE_NAMES for key, path in load(role, "meta/paths.yml").get(kind, {}).items()}


def _paths(kind: str, **names: t.Any) -> dict[str, str]:
    return {key: path.format(**names) for key, path in path_templates(kind).items()}


@functools.cache
def all_options() -> Options:
    """The options that an app may have for any role."""
    return app_options(app_roles())


def public(app: App, options: Mapping[str, t.Any] | None = None) -> dict[str, t.Any]:
    """An app without the values of its secrets, as a module on the host may have it: Ansible may log its arguments.

    :param options: those of a dictionary within an app; by default, of an app itself.
    """
    options = all_options() if options is None else options
    left = {key: value for key, value in app.items() if key != "env" and not options.get(key, {}).get("no_log")}
    return {
        key: public(value, options[key]["options"])
        if isinstance(value, Mapping) and options.get(key, {}).get("options")
        else value
        for key, value in left.items()
    }


def variable_errors(variables: Mapping[str, t.Any], roles: Iterable[str]) -> list[str]:
    """Every error in the variables of some roles, misspelt names included.

    :param variables: all variables of the host; only those with a role's prefix are looked at.
    """
    errors = []
    roles = list(roles)
    for role in roles:
        options = role_options(role)
        for name in sorted(variables):
            if not name.startswith(f"{role}_"):
                continue
            if name in options and name != list_of(role):
                # Other collections have roles of the same names, whose values are of other types.
                hint = f" (this variable is read by the role {role} of flask_ops.production)"
                wrong = value_errors(variables[name], options[name], name)
                errors += [error + hint if error.startswith(f"{name}: must be ") else error for error in wrong]
            elif near := misspelt(name, variables[name], role):
                errors.append(f"{name}: is not a variable of the role {role}; did you mean '{near}'?")
    return errors + ask("variable_errors", roles, variables)


def _clashes(apps: Placed, roles: Iterable[str]) -> list[str]:
    """Names, domains and units that two apps claim."""
    errors = []
    claimed = {(kind, value): owner for kind, value, owner in ask("taken", roles, [app for _place, app in apps])}
    for place, app in apps:
        claims = [("name", app.get("name"), f"{place}.name"), *ask("claims", roles, app, place)]
        for kind, value, where in claims:
            if not isinstance(value, str):
                continue
            first = claimed.setdefault((kind, value), where)
            if first != where:
                owner = "process" if kind == "unit" else "app"
                errors.append(f"{where}: '{value}' is already {first}; each {owner} needs a {kind} of its own")
    return errors
