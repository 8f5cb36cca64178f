# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the variables of ``logrotate`` allow, but not together.

This plugin util is private to the collection.
"""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from pathlib import PurePosixPath

from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.rules import example
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import role_options


def host_claims(app: Mapping[str, t.Any], host: str) -> list[tuple[str, str]]:
    return [("files", f"/etc/logrotate.d/{app['name']}")]


def variable_errors(variables: Mapping[str, t.Any]) -> list[str]:
    """What each option of a log allows, but not together; names and paths that two logs claim."""
    errors = []
    names: dict[str, str] = {}
    paths: list[tuple[str, str]] = []
    schedule = variables.get("logrotate_schedule", role_options("logrotate")["logrotate_schedule"]["default"])
    if schedule == "daily" and variables.get("logrotate_frequency") == "hourly":
        errors.append("logrotate_frequency: hourly goes with logrotate_schedule hourly only")
    logs = [
        (f"{name}[{index}]", log)
        for name in ("logrotate_files", "logrotate_extra_files")
        if isinstance(variables.get(name), (list, tuple))
        for index, log in enumerate(variables[name])
        if isinstance(log, Mapping) and isinstance(log.get("name"), str)
    ]
    for place, log in logs:
        first = names.setdefault(log["name"], place)
        if first != place:
            errors.append(f"{place}.name: '{log['name']}' is already {first}.name; each log needs a name of its own")
        if log.get("state") == "absent":
            continue
        if not log.get("paths"):
            errors.append(f"{place}.paths: must have at least one path{example('logrotate_files[].paths[]')}")
        if log.get("signal") and log.get("unit") is None:
            errors.append(f"{place}.unit: is needed with signal{example('logrotate_files[].unit')}")
        if log.get("size"):
            both = [key for key in ("frequency", "minsize", "maxsize") if log.get(key)]
            errors += [f"{place}.{key}: does not go with size, which alone decides; keep one of them" for key in both]
        if schedule == "daily" and log.get("frequency") == "hourly":
            errors.append(f"{place}.frequency: hourly goes with logrotate_schedule hourly only")
        for number, path in enumerate(log.get("paths") or []):
            here = f"{place}.paths[{number}]"
            path = str(path)
            errors += [
                f"{here}: '{path}' is also covered by '{other}' in {there}; logrotate would skip one of them"
                for there, other in paths
                # Where two wildcards meet, logrotate itself decides: it sees which files are there.
                if PurePosixPath(path).match(other) or PurePosixPath(other).match(path)
            ]
            paths.append((here, path))
    return errors
