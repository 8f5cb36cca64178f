# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics of the apps, their deploys and their units. A timer of the role ``node_exporter`` runs this, with its settings.

This module util is private to the collection.
"""

from __future__ import annotations

import contextlib
import json
import os
import typing as t

from ansible_collections.flask_ops.production.plugins.module_utils._deploy.host import DEPLOYS, Host
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import remove
from ansible_collections.flask_ops.production.plugins.module_utils._host.systemd import unit_properties
from ansible_collections.flask_ops.production.plugins.module_utils._metrics.deploys import deploys_by_app
from ansible_collections.flask_ops.production.plugins.module_utils._metrics.exporters import pass_on
from ansible_collections.flask_ops.production.plugins.module_utils._metrics.exposition import Metric, write_file
from ansible_collections.flask_ops.production.plugins.module_utils._metrics.status import (
    app_status,
    environment_of,
    unit_named,
)

UNIT_STATES = ("active", "reloading", "inactive", "failed", "activating", "deactivating")


def app_metrics(apps: list[dict], https_port: int | None) -> tuple[list[Metric], list[str]]:
    """The metrics of each app, and the units of the live slots."""
    info = Metric("flask_ops_app_info", "Live slot and release of the app.")
    healthy = Metric("flask_ops_app_healthy", "Whether the app answers on its own socket as it should.")
    reachable = Metric("flask_ops_app_reachable", "Whether the app answers through nginx as it should.")
    maintenance = Metric("flask_ops_app_maintenance", "Whether visitors of the app get the maintenance page.")
    deaths = Metric("flask_ops_app_worker_deaths", "Workers of the app that died in the last hour.")
    seconds = Metric("flask_ops_app_health_duration_seconds", "Time that the answer of the health check took.")
    workers = Metric("flask_ops_app_configured_workers", "Workers in the settings of gunicorn.")
    gunicorn = Metric("flask_ops_gunicorn_info", "Version of gunicorn in the environment of the app.")
    python = Metric("flask_ops_python_info", "Version of Python that the environment of the app was made with.")
    units = []
    for app in apps:
        name = app["name"]
        try:
            seen = app_status(app, https_port)
            environment = environment_of(unit_named(f"{name}-{seen['slot']}.service"))
        except (CommandError, KeyError):  # systemd does not answer
            seen = {"slot": None, "healthy": False, "reachable": None, "maintenance": None}
        healthy.add(int(seen["healthy"]), app=name)
        maintenance.add(int(seen["maintenance"] is not None), app=name)
        if seen["reachable"] is not None:
            reachable.add(int(seen["reachable"]), app=name)
        slot = seen["slot"]
        if slot is None:
            continue
        info.add(1, app=name, slot=slot, release=seen["release"] or "")
        seconds.add(seen["seconds"], app=name)
        if seen["worker_deaths"] is not None:
            deaths.add(seen["worker_deaths"], app=name)
        units.append(f"{name}-{slot}.service")
        if count := environment.get("FLASK_OPS_WORKERS"):
            workers.add(int(count), app=name)
        venv = os.path.dirname(environment.get("PATH", "").partition(":")[0])
        if version := Host().server_version("gunicorn", venv):
            gunicorn.add(1, app=name, version=version)
        if version := python_version(venv):
            python.add(1, app=name, version=version)
    return [info, healthy, reachable, maintenance, deaths, seconds, workers, gunicorn, python], units


def python_version(venv: str) -> str:
    """The version of Python that made a virtual environment; empty if it is not there."""
    with contextlib.suppress(OSError), open(f"{venv}/pyvenv.cfg", encoding="utf-8") as stream:
        values = dict(line.strip().split(" = ", 1) for line in stream if " = " in line)
        # uv writes the first, the module venv the second.
        return values.get("version_info") or values.get("version", "")
    return ""


def unit_metrics(units: list[str]) -> list[Metric]:
    state = Metric("flask_ops_unit_state", "Whether the unit is in this state.")
    restarts = Metric("flask_ops_unit_restarts_total", "Times that systemd started the service again.", "counter")
    for unit in units:
        with contextlib.suppress(CommandError):
            properties = unit_properties(unit, "ActiveState", "NRestarts")
            for name in UNIT_STATES:
                state.add(int(properties.get("ActiveState") == name), unit=unit, state=name)
            if properties.get("NRestarts", "").isdigit():
                restarts.add(int(properties["NRestarts"]), unit=unit)
    return [state, restarts]


def deploy_metrics(log: str, apps: t.Iterable[str]) -> list[Metric]:
    """When the last deploy of each app was, and its result."""
    time = Metric("flask_ops_last_deploy_timestamp_seconds", "When the last deploy of the app ended.")
    success = Metric("flask_ops_last_deploy_success", "Whether the last deploy of the app succeeded.")
    seconds = Metric("flask_ops_last_deploy_duration_seconds", "Time that the last deploy of the app took.")
    deploys = deploys_by_app(log)
    for app in apps:
        if app in deploys:
            last = deploys[app][-1]
            time.add(last["time"], app=app)
            success.add(int(last["result"] == "ok"), app=app)
            seconds.add(last["seconds"], app=app)
    return [time, success, seconds]


def version_metrics() -> list[Metric]:
    nginx = Metric("flask_ops_nginx_info", "Version of the package nginx.")
    with contextlib.suppress(CommandError):
        if version := run(["dpkg-query", "--show", "--showformat=${Version}", "nginx"], timeout=10):
            nginx.add(1, version=version)
    return [nginx]


def collect(settings_file: str) -> None:
    with open(settings_file, encoding="utf-8") as stream:
        settings = json.load(stream)
    directory, apps = settings["directory"], settings["apps"]
    names = [app["name"] for app in apps]
    metrics, slots = app_metrics(apps, settings["https_port"])
    metrics += unit_metrics([*slots, *settings["units"]])
    metrics += deploy_metrics(DEPLOYS, names)
    metrics += version_metrics()
    write_file(f"{directory}/flask_ops.prom", metrics)
    for exporter in settings["exporters"]:
        path = f"{directory}/{exporter['name']}.prom"
        if exporter["state"] == "present":
            pass_on(exporter, names, path)
        else:
            remove(path)
