# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of an app: what is live, and whether it answers. Cheap enough for once a minute.

It reads what root owns, and nothing that an app may write.

This module util is private to the collection.
"""

from __future__ import annotations

import contextlib
import glob
import http.client
import os
import re
import shlex
import time
import typing as t

from ansible_collections.flask_ops.production.plugins.module_utils._certificates.x509 import served_certificate
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.health import Health
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.host import Host
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.slots import slot_named
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._host.systemd import systemctl

RECENT = 3600
"""Seconds for which the end of a worker, or a restart, is a problem to report."""

WORKER_DIED = re.compile(r"Worker \(pid:\d+\) (?:was sent (?!SIGTERM)\w+|exited with code [1-9]\d*)")
"""What gunicorn's master logs when a worker ends by an error or by a signal, but for the one that stops it."""

T = t.TypeVar("T")

UNIT_PROPERTIES = (
    "Id,User,ActiveState,ActiveEnterTimestamp,MainPID,NRestarts,Environment,FragmentPath,DropInPaths,NeedDaemonReload"
)


def app_status(app: dict, https_port: int | None = 443) -> dict[str, t.Any]:
    """The slot and the release that are live, and whether they answer: on the slot's socket, and through nginx.

    :param app: an app as ``prepare_apps`` returns it, without its secrets.
    :param https_port: nginx's port for HTTPS on this host; None where there is no nginx.
    """
    host, name, health, paths = Host(), app["name"], Health.of(app), app["paths"]
    slot = slot_named(host.link_target(paths["live"]))
    release = os.path.basename(host.link_target(paths["current"]) or "") or None
    found: dict[str, t.Any] = {
        "name": name,
        "slot": slot,
        "release": release,
        "version": version_of(os.path.join(paths["releases"], release)) if release else None,
        "state": None,
        "since": None,
        "health": None,
        "healthy": False,
        "nginx": None,
        "reachable": False if https_port else None,
        "maintenance": modified(paths["maintenance"]),
        "restarts": 0,
        "worker_deaths": 0,
    }
    if slot is None:
        return found
    unit = unit_named(f"{name}-{slot}.service")
    domain = (app.get("domains") or ["localhost"])[0].replace("*", "www")
    began = time.monotonic()
    answer = answer_of(
        lambda: host.ask_socket(f"/run/flask-ops/{name}/{slot}/1.sock", health.path, domain, health.timeout)
    )
    found |= {
        "state": unit["ActiveState"],
        "since": timestamp(unit["ActiveEnterTimestamp"]),
        "health": str(answer),
        "healthy": isinstance(answer, int) and health.accepts(answer),
        "seconds": round(time.monotonic() - began, 3),
        "restarts": int(unit["NRestarts"] or 0),
        "worker_deaths": deaths(unit),
    }
    if https_port:
        through = answer_of(lambda: host.ask_nginx(paths["probe_socket"], health.path, domain, health.timeout))
        served = answer_of(lambda: served_certificate(https_port, domain, health.timeout))
        found["reachable"] = isinstance(through, int) and health.accepts(through) and isinstance(served, bytes)
        found["nginx"] = "nothing listens" if through is None else str(through)
        if isinstance(served, bytes):
            found["served"] = served
        elif through == answer:
            found["nginx"] = f"no TLS for {domain} on port {https_port}: {served}"
    return found


def units(pattern: str) -> list[dict[str, str]]:
    """The properties of the units that a name or a pattern stands for."""
    shown = systemctl("show", "--all", "--timestamp=unix", "--property", UNIT_PROPERTIES, pattern)
    names = dict.fromkeys(UNIT_PROPERTIES.split(","), "")
    return [
        names | dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for block in shown.split("\n\n")
        if block.strip()
    ]


def unit_named(name: str) -> dict[str, str]:
    return units(name)[0]


def environment_of(unit: dict[str, str]) -> dict[str, str]:
    """The variables that the file of a unit sets, of the properties of the unit."""
    return dict(variable.split("=", 1) for variable in shlex.split(unit["Environment"]))


def worker_deaths(unit: dict[str, str]) -> list[str]:
    """What gunicorn's master, and no other process, has logged about workers that died in the last hour."""
    if not int(unit["MainPID"] or 0):
        return []
    shown = run(
        [
            *("journalctl", "--no-pager", "--quiet", "--output=cat", f"--since=@{int(time.time() - RECENT)}"),
            *(f"_SYSTEMD_UNIT={unit['Id']}", f"_PID={unit['MainPID']}"),
        ],
        timeout=30,
    )
    return [found.group() for found in WORKER_DIED.finditer(shown)]


def deaths(unit: dict[str, str]) -> int | None:
    """How many workers died in the last hour; None where the journal cannot be read."""
    try:
        return len(worker_deaths(unit)) or workers_replaced(unit)
    except CommandError:
        return None


def workers_replaced(unit: dict[str, str]) -> int:
    """How many of a service's processes were started in the last hour, and long after the service itself."""
    main, since = int(unit["MainPID"] or 0), timestamp(unit["ActiveEnterTimestamp"])
    if not main or not since or not unit["Id"].endswith(("-blue.service", "-green.service")):
        return 0
    now, replaced = time.time(), 0
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
            # proc_pid_stat(5): after the name, which may hold anything, come the state, the parent and others.
            fields = stream.read().rpartition(")")[2].split()
            if int(fields[1]) == main:
                started = now - uptime() + int(fields[19]) / os.sysconf("SC_CLK_TCK")
                replaced += started - since > 60 and now - started < RECENT
    return replaced


def uptime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def version_of(release: str) -> str | None:
    """The version that people know: a branch or tag, or a package with its version; then the revision."""
    try:
        with open(f"{release}/REVISION", encoding="utf-8") as stream:
            lines = dict(line.rstrip("\n").split(": ", 1) for line in stream if ": " in line)
    except OSError:
        return None
    sources = ("source.version", "source.pypi", "source.wheel", "source.archive", "source.path")
    known = next((lines[key] for key in sources if lines.get(key)), "")
    revision = lines.get("revision", "")
    if revision and revision not in known:
        known = f"{known} ({revision[:12]})" if known else revision[:12]
    return known or None


def answer_of(ask: t.Callable[[], T]) -> T | str:
    try:
        return ask()
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__


def modified(path: str) -> float | None:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None


def timestamp(shown: str) -> float | None:
    """Seconds of the epoch, of what ``systemctl show --timestamp=unix`` shows."""
    return float(shown[1:]) if shown.startswith("@") else None
