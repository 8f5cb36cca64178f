# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app's processes beside the web: workers, schedulers and timers, brought to their files and to a release.

    what is not wanted any more stopped -> files written -> one instance of each process renewed and watched
    -> the other instances renewed, one after the other, and watched

A process is renewed by a stop, for which it may take its time, and a start: no two of one instance ever run. What a
timer started is left to end; its next run finds the new files. A process that does not keep running takes all of it
back: the files of before, and the processes that ran with them.

An interrupted run leaves a state that the next run recognises. Which processes an app has is in ``/etc/flask-ops/<app>/processes``,
a directory for each, made before its units and removed after them. Which units still run with files of before is
remembered in ``/run``.

This module util is private to the collection. :class:`Host` is all that it asks of the host; the unit tests give
it another one.
"""

from __future__ import annotations

import contextlib
import glob
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ansible_collections.flask_ops.production.plugins.module_utils._deploy.switch import Host as SwitchHost
from ansible_collections.flask_ops.production.plugins.module_utils._host import pending as _pending
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import (
    CommandError,
    journal,
    systemctl,
    unit_properties,
)
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import Entry, State, Transaction
from ansible_collections.flask_ops.production.plugins.module_utils._host.lock import Run

UNITS = "/etc/systemd/system"

MARKER = b"Managed by Ansible (flask_ops.production)"
"""In every unit file of ours: a file that does not say so is somebody else's, and stays."""

LONGEST_STOP = 100_000
"""Seconds to wait for a stop, more than any ``stop_timeout``: it is systemd that knows when to kill."""


class ProcessError(Exception):
    """A process does not run as it should. The message says which, why, and what runs now."""


@dataclass(frozen=True)
class Process:
    """One process as the app has it on this host."""

    name: str
    units: tuple[str, ...]
    """What has to run: a service, each instance of one, or a timer."""
    files: list[Entry]
    start_seconds: float
    """How long it must have run before it counts as started."""

    def read_by(self, unit: str) -> set[str]:
        """The files that a unit reads when it is started. What a timer starts reads its own, at its next run."""
        if unit.endswith(".timer"):
            return {f"{UNITS}/{unit}"}
        return {entry.dest for entry in self.files if entry.kind in ("file", "files")}


@dataclass(frozen=True)
class App:
    """One app with all processes that it should have on this host; with none, those that are there go."""

    name: str
    release: str = ""
    processes: list[Process] = field(default_factory=list)

    @property
    def registry(self) -> str:
        return f"/etc/flask-ops/{self.name}/processes"

    def base(self, process: str) -> str:
        return f"{self.name}-{process}"


@dataclass
class Result:
    """What happened, in words that a person can read."""

    changed: bool = False
    summary: str = ""
    steps: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)


class Host(SwitchHost):
    """The host's side: what the switch asks of systemd and of the file system, and what only processes need."""

    def __init__(self, run: Run | None = None) -> None:
        super().__init__(run)
        self._started: dict[str, float] = {}

    def start(self, *units: str) -> None:
        self._started |= dict.fromkeys(units, time.time())
        super().start(*units)

    def end(self, unit: str) -> None:
        """Stop a unit, however long that takes, and forget how it ended."""
        systemctl("stop", unit, timeout=LONGEST_STOP)
        with contextlib.suppress(CommandError):
            systemctl("reset-failed", unit)

    def journal(self, unit: str) -> str:
        return journal(unit, since=self._started.get(unit, time.time()))

    def names(self, directory: str) -> list[str]:
        """The directories that are in one; none where it is not there."""
        return sorted(os.path.basename(path[:-1]) for path in glob.glob(f"{directory}/*/"))

    def instances(self, base: str) -> list[str]:
        """The instances of a template unit that systemd knows, or would start at boot."""
        listed = systemctl("list-units", "--all", "--plain", "--no-legend", f"{base}@*.service")
        enabled = glob.glob(f"{UNITS}/*.wants/{base}@*.service")
        return sorted({line.split()[0] for line in listed.splitlines()} | set(map(os.path.basename, enabled)))

    def invocation(self, unit: str) -> str:
        """What systemd calls this very run of a unit; another one after each start."""
        return unit_properties(unit, "InvocationID").get("InvocationID", "")

    def age(self, unit: str) -> float:
        """For how many seconds a unit has been active."""
        since = unit_properties(unit, "ActiveEnterTimestampMonotonic").get("ActiveEnterTimestampMonotonic")
        return time.monotonic() - int(since or 0) / 1_000_000

    def description(self, unit: str) -> str:
        return unit_properties(unit, "Description").get("Description", "")

    def unread(self, unit: str) -> bool:
        """Whether systemd has not read the unit's file since it was changed."""
        return unit_properties(unit, "NeedDaemonReload").get("NeedDaemonReload") == "yes"

    def transaction(self, entries: list[Entry]) -> Transaction:
        return Transaction(entries)

    def remember(self, unit: str) -> None:
        _pending.remember(unit)

    def remembered(self, unit: str) -> bool:
        return _pending.remembered(unit)

    def forget(self, unit: str) -> None:
        _pending.forget(unit)


@dataclass
class Plan:
    """What differs from what should be."""

    files: set[str]
    strays: list[str]
    """Units that run or would run, and should not."""
    stale: list[str] = field(default_factory=list)
    """Units that run, but with other files."""
    idle: list[str] = field(default_factory=list)
    """Units that should run, and do not."""
    disabled: list[str] = field(default_factory=list)
    """Units that should come back after a reboot, and would not."""
    unread: list[str] = field(default_factory=list)
    """Units whose files systemd has not read since they were changed."""

    @property
    def units(self) -> list[str]:
        """Every unit that something is to be done with, once."""
        return list(dict.fromkeys([*self.strays, *self.stale, *self.idle, *self.disabled]))

    def __bool__(self) -> bool:
        return bool(self.files or self.units or self.unread)


@dataclass(frozen=True)
class Before:
    """How the units of a plan were before anything was done."""

    ran: list[str]
    enabled: list[str]
    remembered: list[str]


class Processes:
    """Brings the processes of one app to their state: finds out how they are, and takes only the steps missing."""

    def __init__(self, app: App, host: Host) -> None:
        self.app = app
        self.host = host
        self.result = Result()
        self._touched: set[str] = set()
        self._left_undone: list[str] = []
        self._invocations: dict[str, str] = {}
        self._by_unit = {unit: process for process in app.processes for unit in process.units}

    def run(self, check_mode: bool = False) -> Result:
        with contextlib.nullcontext() if check_mode else self.host.lock(self.app.name):
            self._bring(check_mode)
        return self.result

    def _bring(self, check_mode: bool) -> None:
        transaction = self.host.transaction(self._entries())
        if not check_mode:
            # In every run: what a killed run has left may hold secrets.
            transaction.clean()
        changes = transaction.plan()
        plan = self._plan({change.entry.dest for change in changes})
        self.result.changed = bool(plan)
        self.result.diff = [change.diff() for change in changes]
        began = self.host.now()
        if check_mode:
            self.result.steps = [
                f"{verb} {self._short(unit)}"
                for verb, units in {"stop": plan.strays, "restart": plan.stale, "start": plan.idle}.items()
                for unit in units
            ]
        elif plan:
            self._carry_out(plan, transaction)
        else:
            # What runs only since a moment ago may be one that ends again and again.
            self._watch({unit: self.host.invocation(unit) for unit in self._by_unit})
        self._summarize(self.host.now() - began)

    # --- what is, and what should be ------------------------------------------------------------------------------

    def _plan(self, changed: set[str]) -> Plan:
        host, plan = self.host, Plan(changed, self._strays())
        for unit, process in self._by_unit.items():
            if host.state(unit) != "active":
                plan.idle.append(unit)
            elif host.remembered(unit) or changed & process.read_by(unit):
                plan.stale.append(unit)
            if not host.enabled(unit):
                plan.disabled.append(unit)
        plan.unread = [unit for unit in self._wanted() if host.unread(unit)]
        return plan

    def _wanted(self) -> list[str]:
        """The units of the app's processes, and what its timers start: that is running now, or is not, by itself."""
        return [*self._by_unit, *(f"{unit[: -len('.timer')]}.service" for unit in self._by_unit if _is_timer(unit))]

    def _strays(self) -> list[str]:
        """Units of ours that nobody wants any more, timers first: of processes that are gone, surplus instances."""
        wanted, strays = set(self._wanted()), []
        for name in self._names():
            base = self.app.base(name)
            for unit in (f"{base}.timer", f"{base}.service", *self.host.instances(base)):
                if unit not in wanted and (self._is_there(unit) or self.host.enabled(unit)):
                    strays.append(unit)
        return strays

    def _names(self) -> list[str]:
        """The processes that the app has had, and those that it should have."""
        had = self.host.names(self.app.registry)
        return [*had, *(process.name for process in self.app.processes if process.name not in had)]

    def _is_there(self, unit: str) -> bool:
        return self.host.state(unit) not in ("inactive", "")

    def _entries(self) -> list[Entry]:
        """Every file that should be there, each directory once; then every file of ours that should not."""
        wanted = {entry.dest: entry for process in self.app.processes for entry in process.files}
        doomed = []
        for name in self._names():
            base = f"{UNITS}/{self.app.base(name)}"
            doomed += [path for path in (f"{base}@.service", f"{base}.service", f"{base}.timer") if self._is_ours(path)]
        doomed += [f"{self.app.registry}/{name}" for name in self.host.names(self.app.registry)]
        doomed.append(self.app.registry)
        return [*wanted.values(), *(Entry(path, kind="absent") for path in doomed if path not in wanted)]

    def _is_ours(self, path: str) -> bool:
        found: State = self.host.read(path)
        return found.kind == "file" and MARKER in found.content

    # --- the way there ------------------------------------------------------------------------------------------------

    def _carry_out(self, plan: Plan, transaction: Transaction) -> None:
        host = self.host
        before = Before(
            ran=[unit for unit in plan.units if host.state(unit) not in ("inactive", "failed", "")],
            enabled=[unit for unit in plan.units if host.enabled(unit)],
            remembered=[unit for unit in plan.units if host.remembered(unit)],
        )
        for unit in plan.stale:
            host.remember(unit)
        try:
            for unit in plan.strays:
                self._stop(unit)
            transaction.apply()
            host.reload_units()
            for unit in plan.disabled:
                host.enable(unit)
            renewed = [unit for unit in self._by_unit if unit in plan.stale or unit in plan.idle]
            first = [process.units[0] for process in self.app.processes]
            # One instance of each process tries the new release before the others give up the old one.
            self._renew([unit for unit in renewed if unit in first], plan.stale)
            self._renew([unit for unit in renewed if unit not in first], plan.stale)
        except (ProcessError, CommandError, OSError) as error:
            self._go_back(plan, before, transaction)
            raise ProcessError("\n".join([str(error), *self._left_undone, self._what_runs(plan, before)])) from error
        transaction.commit()

    def _stop(self, unit: str) -> None:
        self._touched.add(unit)
        self.host.disable(unit)
        self.host.end(unit)
        self.result.steps.append(f"stop {self._short(unit)}")

    def _renew(self, units: list[str], running: Iterable[str]) -> None:
        """Restart units one after the other, then wait until all that were restarted so far have run long enough."""
        for unit in units:
            self._touched.add(unit)
            # Stopped for as long as it takes, also one that systemd is about to start again by itself.
            self.host.end(unit)
            try:
                self.host.start(unit)
            except CommandError as error:
                raise ProcessError(self._failure(unit, f"did not start: {error}")) from error
            self.host.forget(unit)
            self.result.steps.append(f"{'restart' if unit in running else 'start'} {self._short(unit)}")
            self._invocations[unit] = self.host.invocation(unit)
        self._watch(self._invocations)

    def _watch(self, invocations: Mapping[str, str]) -> None:
        """Wait until each unit, in the run of it that is meant, has run for its time: what ends at once ends before."""
        left = dict(invocations)
        while left:
            for unit, invocation in list(left.items()):
                # Asked in this order: a unit that ended between two questions has another invocation, or none.
                age, state = self.host.age(unit), self.host.state(unit)
                seconds = self._by_unit[unit].start_seconds
                if state != "active" or self.host.invocation(unit) != invocation:
                    raise ProcessError(self._failure(unit, f"did not run for {seconds:g} s"))
                if age >= seconds or _is_timer(unit):
                    del left[unit]
            if left:
                self.host.sleep(0.2)

    def _failure(self, unit: str, what: str) -> str:
        return f"{self.app.name}: {unit} {what}. Its last lines:\n{self.host.journal(unit)}"

    # --- the way back ---------------------------------------------------------------------------------------------------

    def _go_back(self, plan: Plan, before: Before, transaction: Transaction) -> None:
        """Files as before; and what ran before runs again, with them. What still runs as before is left alone.

        A failure of one step is reported after the reason, and the other steps follow.
        """
        host = self.host
        for unit in plan.units:
            if unit not in before.enabled:
                self._back(host.disable, unit)
            if unit in self._touched:
                self._back(host.end, unit)
        self._back(transaction.revert)
        self._back(host.reload_units)
        for unit in plan.units:
            if unit in before.enabled and not host.enabled(unit):
                self._back(host.enable, unit)
            if unit in self._touched and unit in before.ran:
                self._back(self._start_again, unit)
            if unit in self._touched or unit not in before.remembered:
                self._back(host.forget, unit)

    def _back(self, step: Callable[..., None], *units: str) -> None:
        try:
            step(*units)
        except (ProcessError, CommandError, OSError) as error:
            self._left_undone.append(f"On the way back: {error}")

    def _start_again(self, unit: str) -> None:
        try:
            self.host.start(unit)
        except CommandError as error:
            raise ProcessError(self._failure(unit, f"did not start again: {error}")) from error

    def _what_runs(self, plan: Plan, before: Before) -> str:
        """What runs after the way back, by what systemd says of it."""
        try:
            units = dict.fromkeys([*self._by_unit, *before.ran])
            states = {unit: self.host.state(unit) for unit in units}
            ran = {unit for unit in units if unit in before.ran or unit not in plan.units}
            same = all((state == "active") == (unit in ran) for unit, state in states.items())
            now = [
                f"{unit} is {state or 'inactive'}"
                + (f" ({self.host.description(unit)})" if self._is_there(unit) else "")
                for unit, state in states.items()
                if self._is_there(unit) or unit in before.ran
            ]
        except CommandError as error:
            return f"What runs is not known: {error}"
        verdict = "Everything is" if same and not self._left_undone else "Not everything is"
        return f"{verdict} as it was before: {'; '.join(now) or f'no process of {self.app.name} runs'}."

    # --- words ------------------------------------------------------------------------------------------------------------

    def _short(self, unit: str) -> str:
        return unit.removeprefix(f"{self.app.name}-").removesuffix(".service")

    def _summarize(self, seconds: float) -> None:
        units = ", ".join(map(self._short, self._by_unit))
        if units:
            self.result.summary = f"{self.app.name}: {units} at release {self.app.release}"
        elif self.result.changed:
            self.result.summary = f"{self.app.name}: no processes any more"
        if self.result.steps:
            self.result.summary += f"; {', '.join(self.result.steps)}, in {seconds:.1f} s"


def _is_timer(unit: str) -> bool:
    return unit.endswith(".timer")
