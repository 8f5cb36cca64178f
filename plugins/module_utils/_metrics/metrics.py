# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this collection's work is like, as metrics in the text format of Prometheus.

A timer of the role ``node_exporter`` runs it, with its settings. It writes files that node_exporter's textfile collector
reads, each at once and whole.

This module util is private to the collection.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import typing as t
import urllib.request
from dataclasses import dataclass, field
from datetime import datetime

from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import remove, write
from ansible_collections.flask_ops.production.plugins.module_utils._host.systemd import unit_properties
from ansible_collections.flask_ops.production.plugins.module_utils._metrics.status import app_status

UNIT_STATES = ("active", "reloading", "inactive", "failed", "activating", "deactivating")

DEPLOYS = "/var/log/flask-ops/deploys.jsonl"
"""One line for each switch."""

LAST_BYTES = 1 << 18
"""How much of the end of a deploy log is read: more than a thousand deploys."""

MOST_BYTES = 1 << 24
"""How much of what another exporter tells is read."""

COLLECTD_SAMPLE = re.compile(
    r'^collectd_statsd_(\w+)\{statsd="([a-z0-9-]+)\.gunicorn\.([a-z0-9.-]+)",[^{}]*\} (-?\d+(?:\.\d+)?(?:e[+-]\d+)?) \d+$',
    re.MULTILINE,
)
"""What write_prometheus, a plugin of collectd, writes for ``shop.gunicorn.requests``. It tells no numbers as ``nan``."""


@dataclass
class Metric:
    """One metric with all its samples."""

    name: str
    help: str
    kind: str = "gauge"
    samples: list[tuple[dict[str, str], float]] = field(default_factory=list)

    def add(self, value: float, **labels: str) -> None:
        self.samples.append((labels, value))

    def __str__(self) -> str:
        """The metric in the text format; nothing where there are no samples.

        >>> up = Metric("up", "Whether it is up.")
        >>> up.add(1, app="shop")
        >>> print(up, end="")
        # HELP up Whether it is up.
        # TYPE up gauge
        up{app="shop"} 1
        """
        lines = [f"# HELP {self.name} {self.help}", f"# TYPE {self.name} {self.kind}"]
        lines += [f"{self.name}{_labels(labels)} {value:.15g}" for labels, value in self.samples]
        return "".join(f"{line}\n" for line in lines) if self.samples else ""


def _labels(labels: dict[str, str]) -> str:
    escaped = {
        name: value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for name, value in labels.items()
    }
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}" if labels else ""


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
        if count := found_in(f"/etc/flask-ops/{name}/{slot}/gunicorn.conf.py", r"^workers = (\d+)$"):
            workers.add(int(count), app=name)
        if venv := environment_of(units[-1]):
            for path in glob.glob(f"{venv}/lib/python3*/site-packages/gunicorn-*.dist-info"):
                gunicorn.add(1, app=name, version=os.path.basename(path)[len("gunicorn-") : -len(".dist-info")])
            if version := found_in(f"{venv}/pyvenv.cfg", r"^version(?:_info)? = ([\d.]+)"):
                python.add(1, app=name, version=version)
    return [info, healthy, reachable, maintenance, deaths, seconds, workers, gunicorn, python], units


def environment_of(service: str) -> str:
    """The virtual environment from which a service runs."""
    with contextlib.suppress(CommandError, KeyError):
        started = re.search(r"path=(\S+)/bin/(?:gunicorn|python)\b", unit_properties(service, "ExecStart")["ExecStart"])
        return started.group(1) if started else ""
    return ""


def found_in(path: str, pattern: str) -> str:
    """What a group of a pattern matches in a file; nothing where there is no such line, or no such file."""
    with contextlib.suppress(OSError), open(path, encoding="utf-8") as stream:
        found = re.search(pattern, stream.read(), re.MULTILINE)
        return found.group(1) if found else ""
    return ""


def unit_metrics(units: list[str]) -> list[Metric]:
    state = Metric("flask_ops_unit_state", "Whether the unit is in this state.")
    restarts = Metric("flask_ops_unit_restarts_total", "Times that systemd started the service again.", "counter")
    for unit in units:
        with contextlib.suppress(CommandError):
            told = unit_properties(unit, "ActiveState", "NRestarts")
            for name in UNIT_STATES:
                state.add(int(told.get("ActiveState") == name), unit=unit, state=name)
            if told.get("NRestarts", "").isdigit():
                restarts.add(int(told["NRestarts"]), unit=unit)
    return [state, restarts]


def deploy_metrics(log: str, apps: t.Iterable[str]) -> list[Metric]:
    """When each app got its last deploy, and how that went."""
    time = Metric("flask_ops_last_deploy_timestamp_seconds", "When the last deploy of the app ended.")
    success = Metric("flask_ops_last_deploy_success", "Whether the last deploy of the app succeeded.")
    seconds = Metric("flask_ops_last_deploy_duration_seconds", "Time that the last deploy of the app took.")
    last = last_deploys(log)
    for app in apps:
        if deploy := last.get(app):
            time.add(deploy["time"], app=app)
            success.add(int(deploy["ok"]), app=app)
            seconds.add(deploy["seconds"], app=app)
    return [time, success, seconds]


def last_deploys(log: str) -> dict[str, dict]:
    """By app. What is not a deploy is passed over; a log that was just rotated is read as well."""
    files = [path for path in glob.glob(f"{glob.escape(log)}*") if not path.endswith((".gz", ".xz", ".zst"))]
    found: dict[str, dict] = {}
    for path in sorted(files, key=os.path.getmtime)[-2:]:
        with contextlib.suppress(OSError), open(path, "rb") as stream:
            stream.seek(max(0, os.path.getsize(path) - LAST_BYTES))
            for line in stream.read().splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                    told = json.loads(line)
                    found[told["app"]] = {
                        "time": datetime.fromisoformat(told["time"]).timestamp(),
                        "ok": told["result"] == "ok",
                        "seconds": float(told["seconds"]),
                    }
    return found


def version_metrics() -> list[Metric]:
    nginx = Metric("flask_ops_nginx_info", "Version of the package nginx.")
    with contextlib.suppress(CommandError):
        if version := run(["dpkg-query", "--show", "--showformat=${Version}", "nginx"], timeout=10):
            nginx.add(1, version=version)
    return [nginx]


def passed_on(text: str, prefix: str) -> str:
    """Of the metrics of another exporter those whose names begin with a prefix, not those about the exporter itself."""
    ours = re.compile(rf"(# (HELP|TYPE) )?{re.escape(prefix)}")
    return "".join(f"{line}\n" for line in text.splitlines() if ours.match(line))


def gunicorn_metrics(text: str, apps: t.Container[str]) -> list[Metric]:
    """What gunicorn has sent by statsd, of collectd's metrics, in which all of a kind have one name.

    Whoever is on the host can send anything: what gunicorn does not send, or for an app that there is not, is left out.
    """
    requests = Metric("gunicorn_requests_total", "Requests that gunicorn has answered.", "counter")
    responses = Metric("gunicorn_responses_total", "Answers of gunicorn, by their status.", "counter")
    # No summary: that has a sum and a count of all times, and these are of a minute.
    durations = Metric(
        "gunicorn_request_duration_seconds",
        "Within what time so many percent of the last minute's requests were answered.",
    )
    workers = Metric("gunicorn_workers", "Workers, when their number changed last.")
    messages = Metric("gunicorn_log_messages_total", "Lines in gunicorn's error log, by their level.", "counter")
    known = {
        r"derive_total requests": requests,
        r"derive_total request\.status\.(?P<code>\d{3})": responses,
        r"derive_total log\.(?P<level>critical|error|exception|warning)": messages,
        r"gauge workers": workers,
        r"latency request\.duration-percentile-(?P<percentile>\d+)": durations,
    }
    for kind, app, name, value in COLLECTD_SAMPLE.findall(text):
        for pattern, metric in known.items():
            if (found := re.fullmatch(pattern, f"{kind} {name}")) and app in apps:
                metric.add(float(value), app=app, **found.groupdict())
    return list(known.values())


def pass_on(exporter: dict, apps: t.Container[str], path: str) -> None:
    """Write what an exporter on the loopback tells. An exporter that does not answer leaves no old figures behind."""
    try:
        with urllib.request.urlopen(exporter["url"], timeout=10) as answer:
            text = answer.read(MOST_BYTES).decode(errors="replace")
    except (OSError, ValueError):
        remove(path)
    else:
        if exporter.get("form") == "statsd":
            publish(path, "".join(map(str, gunicorn_metrics(text, apps))))
        else:
            publish(path, passed_on(text, exporter["prefix"]))


def publish(path: str, text: str) -> None:
    write(path, text.encode(), 0o644, "root", "root")


def main(settings_file: str) -> None:
    with open(settings_file, encoding="utf-8") as stream:
        settings = json.load(stream)
    directory, apps = settings["directory"], settings["apps"]
    names = [app["name"] for app in apps]
    metrics, slots = app_metrics(apps, settings["https_port"])
    metrics += unit_metrics([*slots, *settings["units"]])
    metrics += deploy_metrics(DEPLOYS, names)
    metrics += version_metrics()
    publish(f"{directory}/flask_ops.prom", "".join(map(str, metrics)))
    for exporter in settings["exporters"]:
        path = f"{directory}/{exporter['name']}.prom"
        if exporter["state"] == "present":
            pass_on(exporter, names, path)
        else:
            remove(path)
