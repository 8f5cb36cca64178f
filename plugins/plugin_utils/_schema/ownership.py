# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles create on a host under an app's name, outside directories of this collection, and who owns it there.

This plugin util is private to the collection.
"""

from __future__ import annotations

import typing as t
from collections.abc import Collection, Mapping

from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.apps import Placed, ask

COMMENT = "Flask app {}"
"""The comment in /etc/passwd that marks an app's user."""

KINDS = {"accounts": "user or group", "directories": "directory", "files": "file", "units": "unit"}


class Claim(t.NamedTuple):
    """One thing on the host: its kind as ``host_facts`` has it, its name, the app and its place in the user's list."""

    kind: str
    name: str
    app: Mapping[str, t.Any]
    place: str


def host_claims(apps: Placed, roles: Collection[str], host: str) -> list[Claim]:
    """Everything on the host that the roles would create, change or remove for these apps."""
    return [Claim(kind, name, app, place) for place, app in apps for kind, name in ask("host_claims", roles, app, host)]


def question(claims: Collection[Claim]) -> dict[str, t.Any]:
    """The claims as arguments of the module ``host_facts``."""
    asked: dict[str, t.Any] = {kind: [claim.name for claim in claims if claim.kind == kind] for kind in KINDS}
    asked["accounts"] = [
        {"name": claim.name, "comment": COMMENT.format(claim.name), "home": claim.app["paths"]["root"]}
        for claim in claims
        if claim.kind == "accounts"
    ]
    return asked


def ownership_errors(claims: Collection[Claim], foreign: Mapping[str, str]) -> list[str]:
    """The claims that somebody else has.

    :param foreign: by name, the reason why it is not the app's.
    """
    errors = []
    for kind, name, app, place in claims:
        if name not in foreign:
            continue
        if app["state"] == "present":
            way = f"give the app another name, such as {app['name'][:26].rstrip('-')}-app"
        else:
            way = "take the entry out of the list"
        errors.append(
            f"{place}.name: the host has the {KINDS[kind]} '{name}' already, which this collection did not create: "
            f"{foreign[name]}; {way}, or hand it over (docs/from-hand-made.md)"
        )
    return errors
