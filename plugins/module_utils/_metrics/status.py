# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of apps and of their host: for people by ``apps_info``, and for Prometheus by ``_metrics``.

:func:`app_status` is cheap enough for once a minute. :func:`inspect` adds what only people ask for: it looks at files,
certificates and drop-ins. Both read what root owns, and nothing that an app may write.

This module util is private to the collection.
"""

from __future__ import annotations

import calendar
import contextlib
import datetime
import glob
import grp
import http.client
import os
import pwd
import re
import socket
import ssl
import tempfile
import time
import typing as t

from ansible_collections.flask_ops.production.plugins.module_utils._deploy.health import Health
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.host import Host
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.slots import slot_named
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._host.systemd import systemctl

RECENT = 3600
"""Seconds for which the end of a worker, or a restart, is a problem to report."""

FULL = 0.1
"""The part of a file system, in bytes or in inodes, below which it is nearly full: that of the alert DiskAlmostFull."""

EXPIRES_SOON = 14
"""Days. One of 90 days is renewed when 30 are left."""

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
    unit = units(f"{name}-{slot}.service")[0]
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


def inspect(app: dict, https_port: int | None = 443) -> dict[str, t.Any]:
    """The same with the certificate, and with a sentence for each problem that a person should know of."""
    found = app_status(app, https_port)
    served = found.pop("served", None)
    found["certificate"] = certificate(served) if served else None
    found["problems"] = list(_problems(app, found, https_port))
    return found


def _problems(app: dict, found: dict[str, t.Any], https_port: int | None) -> t.Iterator[str]:
    name, slot, path = app["name"], found["slot"], Health.of(app).path
    if slot is None:
        yield "no slot is live: nothing answers"
        return
    if found["maintenance"]:
        yield f"closed for maintenance since {in_words(found['maintenance'])}: visitors get the maintenance page"
    if found["state"] != "active":
        yield f"{name}-{slot}.service should be active, but is {found['state']}"
    elif not found["healthy"]:
        yield f"GET {path} on the socket of {slot} gave {found['health']}"
    if https_port and not os.path.exists(app["paths"]["site"]):
        yield "nginx has no site for it: run site"
    elif https_port and not found["reachable"] and found["healthy"]:
        yield f"nginx does not answer for it: GET {path} gave {found['nginx']}"
    running = units(f"{name}-*.service")
    for unit in running:
        if unit["User"] == name and not unit["Id"].startswith(
            tuple(f"{name}-{idle}." for idle in {"blue", "green"} - {slot})
        ):
            yield from _unit_problems(unit)
    live = next((unit for unit in running if unit["Id"] == f"{name}-{slot}.service"), {})
    serves = re.search(r"FLASK_OPS_RELEASE=(\S+)", live.get("Environment", ""))
    if serves and serves.group(1) != found["release"]:
        yield f"{app['paths']['current']} names release {found['release']}, but {slot} serves {serves.group(1)}: run site"
    release = os.path.realpath(app["paths"]["current"])
    if not os.path.exists(f"{release}/.complete"):
        yield f"the live release {release} is not there, or not complete"
    elif edited := edited_files(release):
        more = f" and {len(edited) - 3} more" if len(edited) > 3 else ""
        yield f"files of the live release were changed by hand: {', '.join(edited[:3])}{more}"
    if groups := extra_groups(name):
        yield f"its user is also in {', '.join(groups)}, and may do what these groups may"
    if soon := found["certificate"]:
        if soon["days_left"] < 0:
            yield f"its certificate has expired on {in_words(soon['expires'])}"
        elif soon["days_left"] < EXPIRES_SOON and not soon["self_signed"]:
            yield f"its certificate expires in {soon['days_left']} days, and should have been renewed"


def _unit_problems(unit: dict[str, str]) -> t.Iterator[str]:
    name = unit["Id"]
    if unit["ActiveState"] == "failed":
        yield f"{name} has failed: see journalctl --unit {name}"
    started = timestamp(unit["ActiveEnterTimestamp"]) or 0
    if int(unit["NRestarts"] or 0) and time.time() - started < RECENT:
        yield f"{name} was restarted {times(unit['NRestarts'])} after it had ended, last at {in_words(started)}"
    if died := worker_deaths(unit):
        yield f"{name}: workers died {times(len(died))} in the last hour, last: {died[-1]}"
    elif replaced := workers_replaced(unit):
        yield f"{name}: {replaced} of its workers were replaced in the last hour, without a word in the journal"
    # What a distribution ships below /usr is not a change.
    for path in unit["DropInPaths"].split():
        if not path.startswith("/usr/"):
            yield f"{name} is changed by {path}" + directives_of(path)
    if unit["FragmentPath"] and not unit["FragmentPath"].startswith("/etc/systemd/system/"):
        yield f"{name} is replaced by {unit['FragmentPath']}"
    if unit["NeedDaemonReload"] == "yes":
        yield f"{name} was changed on disk, and systemd has not read it: run systemctl daemon-reload"


def host_problems(roots: t.Iterable[str], listed: t.Iterable[str] = (), nginx: bool = True) -> list[str]:
    """What is wrong with the host, for all its apps.

    :param roots: the directories of the apps, to look at the file systems they are on.
    :param listed: the names of all apps of the inventory; others that are live are reported. None: not looked for.
    """
    problems = nginx_problems() if nginx else []
    for path, device in file_systems(["/", "/run", "/tmp", "/var/log", *roots]).items():
        for left, what in ((device.f_bavail / max(device.f_blocks, 1), "space"), (inodes_left(device), "inodes")):
            if left < FULL:
                problems.append(f"the file system of {path} has {left:.0%} of its {what} left")
    if known := set(listed):
        for link in sorted(glob.glob("/run/flask-ops/*/current")):
            name = os.path.basename(os.path.dirname(link))
            if slot_named(os.path.basename(os.path.realpath(link))) and name not in known:
                problems.append(
                    f"{name} is live on this host, but not in flask_apps: list it with state: absent to remove it"
                )
    return problems


def nginx_problems() -> list[str]:
    if not os.path.exists("/usr/sbin/nginx"):
        return ["nginx is not installed: no app can be reached"]
    problems = []
    unit = units("nginx.service")[0]
    if unit["ActiveState"] != "active":
        problems.append(f"nginx.service is {unit['ActiveState']}: no app can be reached")
    try:
        run(["nginx", "-t", "-q"], timeout=30)
    except CommandError as error:
        reason = re.search(r"\[(?:emerg|crit|alert|error)\] (?:\d+#\d+: )?(.*)", str(error))
        problems.append(
            f"nginx refuses its configuration, so the next restart will fail: {reason.group(1) if reason else error}"
        )
    return problems


# --- what is there -------------------------------------------------------------------------------------------------


def units(pattern: str) -> list[dict[str, str]]:
    """The properties of the units that a name or a pattern stands for."""
    shown = systemctl("show", "--all", "--timestamp=unix", "--property", UNIT_PROPERTIES, pattern)
    names = dict.fromkeys(UNIT_PROPERTIES.split(","), "")
    return [
        names | dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for block in shown.split("\n\n")
        if block.strip()
    ]


def worker_deaths(unit: dict[str, str]) -> list[str]:
    """What gunicorn's master, and nobody else, has logged of workers that died in the last hour."""
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


def edited_files(release: str) -> list[str]:
    """The files of a release that were changed after it was complete, or are not root's. Bytecode does not count."""
    done, edited = os.stat(f"{release}/.complete"), []
    for top in ("app", "static"):
        for folder, _folders, names in os.walk(os.path.join(release, top)):
            for name in names:
                path = os.path.join(folder, name)
                seen = os.lstat(path)
                # An archive may hold times of the future; a restored backup has new times of inodes.
                newer = seen.st_mtime > done.st_mtime and seen.st_ctime > done.st_ctime
                if (newer or seen.st_uid) and not name.endswith(".pyc"):
                    edited.append(os.path.relpath(path, release))
    return sorted(edited)


def extra_groups(user: str) -> list[str]:
    """The groups of an app's user but for its own."""
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        return []
    groups = os.getgrouplist(user, account.pw_gid)
    return sorted(grp.getgrgid(number).gr_name for number in groups if number != account.pw_gid)


def served_certificate(port: int, domain: str, timeout: float) -> bytes:
    """The certificate that nginx serves for a domain, as visitors get it."""
    # Whether browsers trust it is not asked: a self-signed one is served until there is a better one.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=timeout) as plain,
        context.wrap_socket(plain, server_hostname=domain) as connection,
    ):
        return connection.getpeercert(binary_form=True) or b""


def certificate(served: bytes) -> dict[str, t.Any] | None:
    """Who issued a certificate, and until when it is valid."""
    with tempfile.TemporaryFile() as stream:
        stream.write(served)
        stream.seek(0)
        try:
            told = run(
                [
                    "openssl",
                    "x509",
                    "-inform",
                    "DER",
                    "-noout",
                    "-enddate",
                    "-issuer",
                    "-subject",
                    "-nameopt",
                    "RFC2253",
                ],
                stdin=stream,
            )
        except CommandError:
            return None
    lines = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    ends = datetime.datetime.strptime(lines["notAfter"], "%b %d %H:%M:%S %Y %Z")
    expires = float(calendar.timegm(ends.timetuple()))
    issuer = re.search(r"O=([^,]+)", lines["issuer"]) or re.search(r"CN=([^,]+)", lines["issuer"])
    return {
        "issuer": issuer.group(1) if issuer else lines["issuer"],
        "self_signed": lines["issuer"] == lines["subject"],
        "expires": expires,
        "days_left": int((expires - time.time()) // 86400),
    }


def directives_of(path: str) -> str:
    """Which directives a drop-in sets, in brackets."""
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
        if names := sorted(set(re.findall(r"(?m)^\s*(\w+)\s*=", stream.read()))):
            return f" ({', '.join(names)})"
    return ""


def file_systems(paths: t.Iterable[str]) -> dict[str, os.statvfs_result]:
    """Each file system once, by the first of the paths that is on it."""
    found: dict[int, tuple[str, os.statvfs_result]] = {}
    for path in paths:
        with contextlib.suppress(OSError):
            found.setdefault(os.stat(path).st_dev, (path, os.statvfs(path)))
    return dict(found.values())


def inodes_left(device: os.statvfs_result) -> float:
    """btrfs has no fixed number of inodes, and says 0."""
    return device.f_favail / device.f_files if device.f_files else 1


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


# --- in words ------------------------------------------------------------------------------------------------------


def timestamp(shown: str) -> float | None:
    """Seconds of the epoch, of what ``systemctl show --timestamp=unix`` shows."""
    return float(shown[1:]) if shown.startswith("@") else None


def in_words(seconds: float) -> str:
    """The one form of time in the status.

    >>> in_words(1764000000)
    '2025-11-24 16:00 UTC'
    """
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def times(count: int | str) -> str:
    return "once" if int(count) == 1 else f"{count} times"


def summary(found: dict[str, t.Any]) -> str:
    """One line about an app."""
    if found["slot"] is None:
        return f"{found['name']}: nothing is live"
    live = f"{found['slot']} serves {found['version'] or 'release'}, release {found['release']}"
    if not found["version"]:
        live = f"{found['slot']} serves release {found['release']}"
    since = f", since {in_words(found['since'])}" if found["since"] else ""
    closed = ", CLOSED for maintenance" if found["maintenance"] else ""
    return f"{found['name']}: {live}{since}{closed}"


def lines_of(found: dict[str, t.Any], app: dict, deploys: t.Sequence[str]) -> list[str]:
    """The status of an app on the screen."""
    lines = [summary(found)]
    path = Health.of(app).path
    if found["health"]:
        through = f", through nginx: {found['nginx']}" if found["nginx"] else ""
        lines.append(f"  GET {path}: {found['health']} in {found['seconds']:g} s{through}")
    if known := found["certificate"]:
        kind = "self-signed" if known["self_signed"] else f"by {known['issuer']}"
        lines.append(f"  certificate: {kind}, until {in_words(known['expires'])}, {known['days_left']} days left")
    lines += [f"  deploy: {deploy}" for deploy in deploys]
    lines += [f"  PROBLEM: {problem}" for problem in found["problems"]]
    return lines
