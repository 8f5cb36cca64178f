# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The problems of apps and of their host, a sentence each, for people. It also looks at files, certificates and drop-ins.

This module util is private to the collection.
"""

from __future__ import annotations

import contextlib
import glob
import grp
import os
import pwd
import re
import time
import typing as t

from ansible_collections.flask_ops.production.plugins.module_utils._certificates.x509 import X509
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.health import Health
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.slots import slot_named
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._metrics import status
from ansible_collections.flask_ops.production.plugins.module_utils._metrics.report import in_words, times

FULL = 0.1
"""The part of a file system, in bytes or in inodes, below which it is nearly full: that of the alert DiskAlmostFull."""

EXPIRES_SOON = 14
"""Days. One of 90 days is renewed when 30 are left."""


def inspect(app: dict, https_port: int | None = 443) -> dict[str, t.Any]:
    """The same with the certificate, and with a sentence for each problem that a person should know of."""
    found = status.app_status(app, https_port)
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
    running = status.units(f"{name}-*.service")
    for unit in running:
        if unit["User"] == name and not unit["Id"].startswith(
            tuple(f"{name}-{idle}." for idle in {"blue", "green"} - {slot})
        ):
            yield from _unit_problems(unit)
    live = next((unit for unit in running if unit["Id"] == f"{name}-{slot}.service"), {})
    serves = status.environment_of(live).get("FLASK_OPS_RELEASE") if live else None
    if serves and serves != found["release"]:
        yield f"{app['paths']['current']} names release {found['release']}, but {slot} serves {serves}: run site"
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
    started = status.timestamp(unit["ActiveEnterTimestamp"]) or 0
    if int(unit["NRestarts"] or 0) and time.time() - started < status.RECENT:
        yield f"{name} was restarted {times(unit['NRestarts'])} after it had ended, last at {in_words(started)}"
    if died := status.worker_deaths(unit):
        yield f"{name}: workers died {times(len(died))} in the last hour, last: {died[-1]}"
    elif replaced := status.workers_replaced(unit):
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
    unit = status.unit_named("nginx.service")
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


def certificate(served: bytes) -> dict[str, t.Any] | None:
    """Who issued a certificate, and until when it is valid."""
    try:
        found = X509.read(served)
    except (CommandError, ValueError):
        return None
    return {
        "issuer": found.issuer,
        "self_signed": found.self_signed,
        "expires": float(found.expires),
        "days_left": int((found.expires - time.time()) // 86400),
    }


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
    """btrfs has no fixed number of inodes, and reports 0."""
    return device.f_favail / device.f_files if device.f_files else 1
