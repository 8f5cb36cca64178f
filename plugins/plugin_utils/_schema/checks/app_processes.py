# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options of ``app_processes`` allow, but not together, and not on several hosts.

This plugin util is private to the collection.
"""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible_collections.flask_ops.production.plugins.plugin_utils._deploy.processes import on_host
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.values import nearest


def app_errors(app: Mapping[str, t.Any], place: str) -> list[str]:
    """The errors of one app."""
    return [error for where, process in processes_of(app, place) for error in _process_errors(process, where)]


def claims(app: Mapping[str, t.Any], place: str) -> list[tuple[str, t.Any, str]]:
    """The names of units that an app's processes have for themselves, each with its place."""
    return [
        ("unit", f"{app.get('name')}-{process.get('name')}", f"{where}.name")
        for where, process in processes_of(app, place)
    ]


def host_claims(app: Mapping[str, t.Any], host: str) -> list[tuple[str, str]]:
    return [
        ("units", unit)
        for process in on_host(app, host)
        for unit in [*process["units"], *([f"{process['unit']}.service"] if process["kind"] == "timer" else [])]
    ]


def fleet_errors(app: Mapping[str, t.Any], place: str, hosts: list[str], inventory: list[str]) -> list[str]:
    """What is right on one host, and not on several: an app that is right otherwise.

    :param hosts: all hosts of the play.
    :param inventory: all hosts that there are.
    """
    errors = []
    for where, process in processes_of(app, place):
        only = process.get("only_on")
        if only and only not in inventory:
            errors.append(f"{where}.only_on: '{only}' is not a host of the inventory{nearest(only, inventory)}")
        elif not only and process.get("kind", "worker") != "worker" and len(hosts) > 1:
            errors.append(
                f"{where}.only_on: is needed, since each of {len(hosts)} hosts would run this {process['kind']}; "
                f"a good value is {hosts[0]}, or '{{{{ inventory_hostname }}}}' where each of them should"
            )
    return errors


def processes_of(app: Mapping[str, t.Any], place: str) -> list[tuple[str, Mapping[str, t.Any]]]:
    """The processes of an app, each with its place; none of one that is absent."""
    processes = app.get("processes")
    if app.get("state", "present") != "present" or not isinstance(processes, (list, tuple)):
        return []
    return [
        (f"{place}.processes[{number}]", process)
        for number, process in enumerate(processes)
        if isinstance(process, Mapping)
    ]


def _process_errors(process: Mapping[str, t.Any], place: str) -> list[str]:
    """A timer, and only a timer, has a schedule; a worker, and only a worker, has several instances."""
    errors, kind = [], process.get("kind", "worker")
    if kind != "timer" and process.get("schedule") is not None:
        errors.append(f"{place}.schedule: goes with kind timer only")
    if kind != "worker" and (process.get("instances") or 1) != 1:
        errors.append(f"{place}.instances: goes with kind worker only; there is never a second {kind}")
    return errors
