# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The units of the host: their properties, their journal, and what starts and stops them."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import time
import typing as t

from ansible_collections.flask_ops.production.plugins.module_utils._host.advice import with_advice
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import (
    CommandError,
    last_exception,
    last_occurrences,
    run,
)

UNITS = "/etc/systemd/system"

NO_TIMEOUT = 100_000
"""Seconds to wait for a start or a stop, more than any ``TimeoutStartSec`` or ``TimeoutStopSec``: systemd decides."""

INACTIVE = ("inactive", "failed", "")
"""The states of a unit without a process. Empty: systemd does not know the unit."""

SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def systemctl(*arguments: str, timeout: float = 600) -> str:
    """Run ``systemctl`` without a pager and without waiting for a password."""
    return run(["systemctl", "--no-pager", "--no-ask-password", *arguments], timeout=timeout)


def unit_properties(unit: str, *names: str) -> dict[str, str]:
    """The properties of a unit by name (``systemctl show``)."""
    return units_properties([unit], *names)[0]


def units_properties(units: t.Sequence[str], *names: str) -> list[dict[str, str]]:
    """The properties of several units, in the order of the units."""
    shown = systemctl("show", "--property", ",".join(names), *units)
    return [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in shown.split("\n\n")]


def transient_unit(
    argv: t.Sequence[str],
    unit: str,
    description: str,
    user: str,
    group: str,
    properties: t.Iterable[tuple[str, str]],
) -> list[str]:
    """The command that runs another one in a unit of its own, waits for its end and passes its output on."""
    return [
        *("systemd-run", "--quiet", "--wait", "--pipe", "--collect"),
        *(f"--unit={unit}", f"--description={description}", f"--uid={user}", f"--gid={group}"),
        *(f"--property={name}={value}" for name, value in properties),
        "--",
        *(word.replace("$", "$$") for word in argv),
    ]


def seconds_of(time_span: str) -> float:
    """The seconds of a time span as systemd prints it.

    >>> seconds_of("1min 35s"), seconds_of("1h"), seconds_of("500ms"), seconds_of("infinity")
    (95.0, 3600.0, 0.5, inf)
    """
    if time_span == "infinity":
        return float("inf")
    return float(sum(int(number) * SECONDS[unit] for number, unit in re.findall(r"(\d+)([a-z]+)", time_span)))


def journal(unit: str, since: float) -> str:
    """The lines of a unit's journal that explain why it ended, with advice where there is some.

    :param since: seconds of the epoch; what the unit logged before an earlier start would mislead.
    """
    shown = ["journalctl", "--no-pager", "--quiet", "--output=cat", "--lines=400", f"--unit={unit}"]
    try:
        return with_advice(last_exception(last_occurrences(run([*shown, f"--since=@{int(since)}"]))))
    except CommandError as error:
        return f"(no journal: {error})"


class Systemd:
    """The units of the host, for code that the unit tests run against a host in memory."""

    def __init__(self) -> None:
        self._began = time.time()
        self._started: dict[str, float] = {}

    def _property(self, unit: str, name: str) -> str:
        return unit_properties(unit, name).get(name, "")

    def state(self, unit: str) -> str:
        return self._property(unit, "ActiveState")

    def restarts(self, unit: str) -> int:
        return int(self._property(unit, "NRestarts") or 0)

    def enabled(self, unit: str) -> bool:
        return self._property(unit, "UnitFileState") == "enabled"

    def description(self, unit: str) -> str:
        return self._property(unit, "Description")

    def invocation(self, unit: str) -> str:
        """The id of the unit's current run; each start gives a new one."""
        return self._property(unit, "InvocationID")

    def age(self, unit: str) -> float:
        """For how many seconds a unit has been active."""
        return time.monotonic() - int(self._property(unit, "ActiveEnterTimestampMonotonic") or 0) / 1_000_000

    def stop_timeout(self, unit: str) -> float:
        """Seconds after which systemd kills the unit's processes when it stops the unit."""
        return seconds_of(self._property(unit, "TimeoutStopUSec"))

    def outdated(self, unit: str) -> bool:
        """Whether the unit's file was changed since systemd read it."""
        return self._property(unit, "NeedDaemonReload") == "yes"

    def any_in_use(self, *units: str) -> bool:
        """Whether one of these units is active, has failed, or would start at boot."""
        found = units_properties(units, "ActiveState", "UnitFileState")
        return any(
            unit.get("ActiveState") not in ("inactive", "") or unit.get("UnitFileState") == "enabled" for unit in found
        )

    def instances(self, base: str) -> list[str]:
        """The instances of a template unit that systemd knows, or would start at boot."""
        listed = systemctl("list-units", "--all", "--plain", "--no-legend", f"{base}@*.service")
        enabled = glob.glob(f"{UNITS}/*.wants/{base}@*.service")
        return sorted({line.split()[0] for line in listed.splitlines()} | set(map(os.path.basename, enabled)))

    def enable(self, *units: str) -> None:
        systemctl("enable", "--quiet", *units)

    def disable(self, *units: str) -> None:
        # systemctl refuses a unit whose file was deleted; one that is not enabled needs nothing.
        found = units_properties(units, "UnitFileState")
        enabled = [unit for unit, shown in zip(units, found, strict=True) if shown.get("UnitFileState") == "enabled"]
        if enabled:
            systemctl("disable", "--quiet", *enabled)

    def start(self, *units: str) -> None:
        self._started |= dict.fromkeys(units, time.time())
        self._reset_failed(*units)
        systemctl("start", *units, timeout=NO_TIMEOUT)

    def stop(self, *units: str) -> None:
        """Stop units, however long that takes."""
        systemctl("stop", *units, timeout=NO_TIMEOUT)
        self._reset_failed(*units)

    def _reset_failed(self, *units: str) -> None:
        # A process that ends with an error while it is being stopped leaves a failed unit, which is no failure.
        with contextlib.suppress(CommandError):
            systemctl("reset-failed", *units)

    def reload_units(self) -> None:
        systemctl("daemon-reload")

    def journal(self, unit: str) -> str:
        """What the unit has logged since it was started, or since this run began."""
        return journal(unit, since=self._started.get(unit, self._began))
