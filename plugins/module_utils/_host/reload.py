# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reloading a unit, and making sure that it runs with the new configuration afterwards.

A change that a unit has not read yet is marked on the host: a handler is lost when a run is interrupted between the
change and the handler, and this mark is not.
"""

from __future__ import annotations

import contextlib
import os
import re
import time

from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError, head_and_tail
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import ensure_directory, lock_file
from ansible_collections.flask_ops.production.plugins.module_utils._host.systemd import (
    journal,
    systemctl,
    unit_properties,
)

DIRECTORY = "/run/flask-ops"
"""Empty after a reboot, when every unit starts afresh and has read everything."""


def mark_pending(unit: str) -> None:
    ensure_directory(DIRECTORY)
    with lock_file(_marker(unit)):
        pass


def is_pending(unit: str | None) -> bool:
    return bool(unit) and os.path.exists(_marker(str(unit)))


def clear_pending(unit: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_marker(unit))


def _marker(unit: str) -> str:
    return os.path.join(DIRECTORY, f"{unit}.pending")


LONGEST = 60.0
"""Seconds to wait for the new workers of a reloaded unit. A busy nginx with a hundred certificates needs a few."""

RETRIES = 4.0
"""Seconds for which nginx tries a port that is taken, five times, before it keeps its old configuration."""

REFUSAL = re.compile(r"\[emerg\] \S+ (.+)")
"""A line of nginx's error log that gives the reason, after the time and the level."""


def is_active(unit: str) -> bool:
    return unit_properties(unit, "ActiveState").get("ActiveState") in ("active", "reloading")


def reload_unit(unit: str, log: str | None = None) -> None:
    """Reload a unit, or start it, or restart it where it cannot be reloaded.

    A reload reports success when the signal is sent. A master process as nginx's, which cannot use its new configuration
    because a port is taken for instance, keeps its workers and serves as before. If it took it, it starts new workers.

    :param log: the log file of a unit with such a master.
    :raises CommandError: when it does not run, or runs with its old configuration, with the reason.
    """
    began, end = time.time(), _size(log)
    before = unit_properties(unit, "MainPID", "ActiveState", "NeedDaemonReload")
    master = int(before.get("MainPID") or 0)
    workers = _children(master) if log and master else set()
    try:
        if before.get("NeedDaemonReload") == "yes":
            systemctl("daemon-reload")
        systemctl("reload-or-restart", unit)
    except CommandError as error:
        raise CommandError(f"{error}\n{journal(unit, began)}") from error
    after = unit_properties(unit, "MainPID", "ActiveState")
    if after.get("ActiveState") not in ("active", "reloading"):
        raise CommandError(f"{unit} is not active after its reload:\n{journal(unit, began)}")
    if log and workers and after.get("MainPID") == str(master):
        deadline = time.monotonic() + LONGEST
        while not _children(master) - workers:
            if _refusals(log, end):
                deadline = min(deadline, time.monotonic() + RETRIES)
            if time.monotonic() > deadline:
                reason = _refusals(log, end) or journal(unit, began)
                raise CommandError(f"{unit} kept its old configuration after the reload:\n{reason}")
            time.sleep(0.1)


def _children(process: int) -> set[int]:
    with contextlib.suppress(OSError), open(f"/proc/{process}/task/{process}/children", encoding="ascii") as stream:
        return {int(child) for child in stream.read().split()}
    return set()


def _size(log: str | None) -> int:
    try:
        return os.stat(log).st_size if log else 0
    except OSError:
        return 0


def _refusals(log: str, start: int) -> str:
    """The reasons that a log gives from a position on, each once."""
    try:
        with open(log, encoding="utf-8", errors="replace") as stream:
            stream.seek(start if _size(log) >= start else 0)
            found = [f"[emerg] {match[1]}" for match in map(REFUSAL.search, stream) if match]
    except OSError:
        return ""
    return head_and_tail("\n".join(dict.fromkeys(found)))
