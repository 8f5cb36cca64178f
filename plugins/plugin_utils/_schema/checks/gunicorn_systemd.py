# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options of ``gunicorn_systemd`` allow, but not together.

This plugin util is private to the collection.
"""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible_collections.flask_ops.production.plugins.plugin_utils._deploy.processes import OTHER_UNITS
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.predicates import TAKEN_UNITS
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.rules import all_rules
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.values import dictionary


def app_errors(app: Mapping[str, t.Any], place: str) -> list[str]:
    """The errors of one app."""
    return _main_name_errors(app, place) + _server_errors(app, place)


def taken(apps: list[Mapping[str, t.Any]]) -> list[tuple[str, str, str]]:
    """Units that no process of an app may take the place of."""
    units = [
        ("unit", f"{app.get('name')}-{suffix}", f"a unit of the app {app.get('name')}")
        for app in apps
        for suffix in OTHER_UNITS
    ]
    return units + [("unit", unit, "a unit of the server") for unit in TAKEN_UNITS]


def host_claims(app: Mapping[str, t.Any], host: str) -> list[tuple[str, str]]:
    return [("units", f"{slot['unit']}.{kind}") for slot in app["slots"].values() for kind in ("socket", "service")]


def _main_name_errors(app: Mapping[str, t.Any], place: str) -> list[str]:
    domains = app.get("domains")
    first = domains[0] if isinstance(domains, (list, tuple)) and domains else ""
    if "wsgi" in app and isinstance(first, str) and first.startswith("*.") and all_rules()["domains[]"].accepts(first):
        return [
            f"{place}.domains[0]: the app is asked by its first name, which cannot be '{first}'; put another before it"
        ]
    return []


def _server_errors(app: Mapping[str, t.Any], place: str) -> list[str]:
    """What no server does, or what would be passed over in silence."""
    errors = []
    worker_class = app.get("worker_class") or "gthread"
    if app.get("server") == "waitress":
        for option in ("worker_class", "workers", "instances", "preload", "metrics"):
            if app.get(option):
                errors.append(f"{place}.{option}: goes with server gunicorn; waitress is one process with threads")
        if dictionary(app.get("logs")).get("to") == "files":
            errors.append(f"{place}.logs.to: waitress has the journal only; leave it out, or take server gunicorn")
    elif worker_class != "gthread" and (app.get("threads") or 1) != 1:
        errors.append(
            f"{place}.threads: goes with worker_class gthread; a worker of class {worker_class} has one thread"
        )
    if app.get("instances") and app.get("workers"):
        errors.append(f"{place}.workers: does not go with instances, which are one worker each; leave it out")
    if app.get("preload") and worker_class == "gevent":
        errors.append(
            f"{place}.preload: does not go with worker_class gevent, which must patch Python before the app is "
            "imported; leave it out"
        )
    limits, metrics, sandbox = (dictionary(app.get(key)) for key in ("limits", "metrics", "sandbox"))
    high, most = limits.get("memory_high"), limits.get("memory_max")
    if isinstance(high, int) and isinstance(most, int) and high >= most:
        errors.append(f"{place}.limits.memory_high: {high} must be below memory_max, {most}, or it never matters")
    without = sandbox.get("without")
    offline = sandbox.get("strict") and "PrivateNetwork" not in (without if isinstance(without, (list, tuple)) else ())
    if metrics.get("statsd") and offline:
        errors.append(
            f"{place}.metrics.statsd: a strict sandbox has no network; put PrivateNetwork and RestrictAddressFamilies "
            f"into {place}.sandbox.without, or leave statsd out"
        )
    return errors
