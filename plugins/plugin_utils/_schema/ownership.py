# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each role creates on a host under an app's name, outside the collection's own directories.

This plugin util is private to the collection.
"""

from __future__ import annotations

import typing as t
from collections.abc import Collection, Mapping

from ansible_collections.flask_ops.production.plugins.plugin_utils._deploy.processes import OTHER_UNITS, on_host, units
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import role_options, with_defaults

COMMENT = "Flask app {name}"
"""The comment in /etc/passwd that marks an app's user."""

SLOTS = ("blue", "green")

NGINX_FILES = (
    "/etc/nginx/sites-enabled/{name}.conf",
    "/etc/nginx/snippets/{name}-headers.conf",
    "/etc/nginx/snippets/{name}-path.conf",
    "/etc/nginx/snippets/{name}-static.conf",
    "/etc/nginx/htpasswd/{name}",
)

KINDS = {"accounts": "user or group", "directories": "directory", "files": "file", "units": "unit"}


class Claim(t.NamedTuple):
    """One thing on the host: its kind as ``host_facts`` has it, its name, and the number of the app's entry."""

    kind: str
    what: str
    number: int


def claims(
    entries: t.Sequence[dict[str, t.Any]], roles: Collection[str], variables: Mapping[str, t.Any], host: str
) -> list[Claim]:
    """Everything on the host that the roles would create, change or remove for these apps."""
    found = []
    for index, entry in enumerate(entries):
        name = entry["name"]
        if "python_app" in roles:
            found += [Claim("accounts", name, index), Claim("directories", _root(variables).format(name=name), index)]
            found += [Claim("units", f"{name}-{other}.service", index) for other in OTHER_UNITS if other not in SLOTS]
        if "gunicorn_systemd" in roles:
            found += [
                Claim("units", f"{name}-{slot}.{kind}", index) for slot in SLOTS for kind in ("socket", "service")
            ]
        if "app_processes" in roles:
            found += [Claim("units", unit, index) for unit in _process_units(entry, host)]
        if "nginx_proxy" in roles:
            found += [Claim("files", path.format(name=name), index) for path in NGINX_FILES]
        if "logrotate" in roles:
            found.append(Claim("files", f"/etc/logrotate.d/{name}", index))
    return found


def question(wanted: Collection[Claim], variables: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The claims as arguments of the module ``host_facts``."""
    asked: dict[str, t.Any] = {kind: [claim.what for claim in wanted if claim.kind == kind] for kind in KINDS}
    asked["accounts"] = [
        {"name": name, "comment": COMMENT.format(name=name), "home": _root(variables).format(name=name)}
        for name in asked["accounts"]
    ]
    return asked


def ownership_errors(
    wanted: Collection[Claim],
    foreign: Mapping[str, str],
    entries: t.Sequence[dict[str, t.Any]],
    places: t.Sequence[str],
) -> list[str]:
    """The claims that somebody else has.

    :param foreign: by name, the reason why it is not the app's.
    :param places: for each entry, its place in the user's list.
    """
    errors = []
    for kind, what, number in wanted:
        if what not in foreign:
            continue
        app = entries[number]
        if app.get("state", "present") == "present":
            way = f"give the app another name, such as {app['name'][:26].rstrip('-')}-app"
        else:
            way = "take the entry out of the list"
        errors.append(
            f"{places[number]}.name: the host has the {KINDS[kind]} '{what}' already, which this collection did not create: "
            f"{foreign[what]}; {way}, or hand it over (docs/from-hand-made.md)"
        )
    return errors


def _root(variables: Mapping[str, t.Any]) -> str:
    return str(variables.get("python_app_root", role_options("python_app")["python_app_root"]["default"]))


def _process_units(entry: dict[str, t.Any], host: str) -> list[str]:
    found = []
    for app in with_defaults([entry], "app_processes"):
        for process in on_host(app, host):
            found += units(app, process)
            if process["kind"] == "timer":
                found.append(f"{app['name']}-{process['name']}.service")
    return found
