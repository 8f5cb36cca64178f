# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app's background processes: workers, schedulers and timers, with their files and the release that they run.

    unwanted processes stopped -> files written -> one instance of each process restarted and watched
    -> the other instances restarted, one after the other, and watched

A process is restarted by a stop, for which it may take its time, and a start: no two of one instance ever run. A job
that a timer has started is left to end; the next one reads the new files. A process that does not keep running rolls
all of it back: the files of before, and the processes that ran with them.

An interrupted run leaves a state that the next run recognises. The processes that an app has are listed in
``/etc/flask-ops/<app>/processes``, by a directory for each, made before its units and removed after them. The units
that still run with files of before are marked as pending in ``/run``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ansible_collections.flask_ops.production.plugins.module_utils._deploy.host import Host
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.outcome import (
    EXPECTED,
    DeployError,
    Outcome,
    Rollback,
)
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._host.ownership import MARKER
from ansible_collections.flask_ops.production.plugins.module_utils._host.systemd import INACTIVE, UNITS
from ansible_collections.flask_ops.production.plugins.module_utils._host.transaction import Entry, Transaction


@dataclass(frozen=True)
class Process:
    """One process as the app has it on this host."""

    name: str
    units: tuple[str, ...]
    """The units that have to run: a service, each instance of one, or a timer."""
    files: list[Entry]
    start_seconds: float
    """How long it must have run before it counts as started."""

    def read_by(self, unit: str) -> set[str]:
        """The files that a unit reads when it is started. The service of a timer reads its own at its next start."""
        if unit.endswith(".timer"):
            return {f"{UNITS}/{unit}"}
        return {entry.dest for entry in self.files if entry.kind in ("file", "files")}


@dataclass(frozen=True)
class ProcessApp:
    """An app with all processes that it should have on this host; any other of its processes is removed."""

    name: str
    release: str = ""
    processes: list[Process] = field(default_factory=list)

    @property
    def registry(self) -> str:
        return f"/etc/flask-ops/{self.name}/processes"

    def base(self, process: str) -> str:
        return f"{self.name}-{process}"


@dataclass
class Plan:
    """The differences between what is and what should be."""

    files: set[str]
    strays: list[str]
    """Units that run or would run, and should not."""
    outdated: list[str] = field(default_factory=list)
    """Units that run, but with other files."""
    idle: list[str] = field(default_factory=list)
    """Units that should run, and do not."""
    disabled: list[str] = field(default_factory=list)
    """Units that should come back after a reboot, and would not."""
    unread: list[str] = field(default_factory=list)
    """Units whose files systemd has not read since they were changed."""

    @property
    def units(self) -> list[str]:
        """Every unit that the plan changes, once."""
        return list(dict.fromkeys([*self.strays, *self.outdated, *self.idle, *self.disabled]))

    def __bool__(self) -> bool:
        return bool(self.files or self.units or self.unread)


@dataclass(frozen=True)
class Before:
    """The units of a plan before anything was changed."""

    ran: list[str]
    enabled: list[str]
    pending: list[str]


class Processes:
    """Deploys the processes of one app: finds out how they are, and takes only the steps that are missing."""

    def __init__(self, app: ProcessApp, host: Host) -> None:
        self.app = app
        self.host = host
        self.outcome = Outcome()
        self._rollback = Rollback()
        self._touched: set[str] = set()
        self._invocations: dict[str, str] = {}
        self._by_unit = {unit: process for process in app.processes for unit in process.units}

    def run(self, check_mode: bool = False) -> Outcome:
        with contextlib.nullcontext() if check_mode else self.host.lock(self.app.name):
            self._run(check_mode)
        return self.outcome

    def _run(self, check_mode: bool) -> None:
        transaction = self.host.transaction(self._entries())
        if not check_mode:
            # In every run: what a killed run left behind may hold secrets.
            transaction.clean()
        changes = transaction.plan()
        plan = self._plan({change.entry.dest for change in changes})
        self.outcome.changed = bool(plan)
        self.outcome.diff = [change.diff() for change in changes]
        began = self.host.now()
        if check_mode:
            self.outcome.steps = [
                f"{verb} {self._short(unit)}"
                for verb, units in {"stop": plan.strays, "restart": plan.outdated, "start": plan.idle}.items()
                for unit in units
            ]
        elif plan:
            self._carry_out(plan, transaction)
        else:
            # A unit that has only just been started may be one that keeps crashing.
            self._watch({unit: self.host.invocation(unit) for unit in self._by_unit})
        self._summarize(self.host.now() - began)

    # --- the plan ----------------------------------------------------------------------------------------------------

    def _plan(self, changed: set[str]) -> Plan:
        host, plan = self.host, Plan(changed, self._strays())
        for unit, process in self._by_unit.items():
            if host.state(unit) != "active":
                plan.idle.append(unit)
            elif host.is_pending(unit) or changed & process.read_by(unit):
                plan.outdated.append(unit)
            if not host.enabled(unit):
                plan.disabled.append(unit)
        plan.unread = [unit for unit in self._wanted() if host.outdated(unit)]
        return plan

    def _wanted(self) -> list[str]:
        """The units of the app's processes, and the services of its timers, which run or not by themselves."""
        return [*self._by_unit, *(f"{unit[: -len('.timer')]}.service" for unit in self._by_unit if _is_timer(unit))]

    def _strays(self) -> list[str]:
        """Units of this app that are not wanted any more, timers first: of removed processes, surplus instances."""
        wanted, strays = set(self._wanted()), []
        for name in self._names():
            base = self.app.base(name)
            for unit in (f"{base}.timer", f"{base}.service", *self.host.instances(base)):
                if unit not in wanted and (self._is_there(unit) or self.host.enabled(unit)):
                    strays.append(unit)
        return strays

    def _names(self) -> list[str]:
        """The processes that the app has had, and those that it should have."""
        had = self.host.directories(self.app.registry)
        return [*had, *(process.name for process in self.app.processes if process.name not in had)]

    def _is_there(self, unit: str) -> bool:
        return self.host.state(unit) not in ("inactive", "")

    def _entries(self) -> list[Entry]:
        """Every file that should be there, each directory once; then every file of this app that should not."""
        wanted = {entry.dest: entry for process in self.app.processes for entry in process.files}
        obsolete = []
        for name in self._names():
            base = f"{UNITS}/{self.app.base(name)}"
            units = (f"{base}@.service", f"{base}.service", f"{base}.timer")
            # A file without the marker belongs to somebody else, and stays.
            obsolete += [path for path in units if MARKER.encode() in self.host.read(path).content]
        obsolete += [f"{self.app.registry}/{name}" for name in self.host.directories(self.app.registry)]
        obsolete.append(self.app.registry)
        return [*wanted.values(), *(Entry(path, kind="absent") for path in obsolete if path not in wanted)]

    # --- the steps ---------------------------------------------------------------------------------------------------

    def _carry_out(self, plan: Plan, transaction: Transaction) -> None:
        host = self.host
        before = Before(
            ran=[unit for unit in plan.units if host.state(unit) not in INACTIVE],
            enabled=[unit for unit in plan.units if host.enabled(unit)],
            pending=[unit for unit in plan.units if host.is_pending(unit)],
        )
        for unit in plan.outdated:
            host.mark_pending(unit)
        try:
            for unit in plan.strays:
                self._stop(unit)
            transaction.apply()
            host.reload_units()
            for unit in plan.disabled:
                host.enable(unit)
            restarted = [unit for unit in self._by_unit if unit in plan.outdated or unit in plan.idle]
            first = [process.units[0] for process in self.app.processes]
            # One instance of each process tries the new release before the others give up the old one.
            self._restart([unit for unit in restarted if unit in first], plan.outdated)
            self._restart([unit for unit in restarted if unit not in first], plan.outdated)
        except EXPECTED as error:
            self._roll_back(plan, before, transaction)
            raise DeployError(self._rollback.report(error, self._current_state(plan, before))) from error
        transaction.commit()

    def _stop(self, unit: str) -> None:
        self._touched.add(unit)
        self.host.disable(unit)
        self.host.stop(unit)
        self.outcome.steps.append(f"stop {self._short(unit)}")

    def _restart(self, units: list[str], running: Iterable[str]) -> None:
        """Restart units one after the other, then wait until all that were restarted so far have run long enough."""
        for unit in units:
            self._touched.add(unit)
            # Stopped for as long as it takes, also one that systemd is about to start again by itself.
            self.host.stop(unit)
            self._start(unit)
            self.host.clear_pending(unit)
            self.outcome.steps.append(f"{'restart' if unit in running else 'start'} {self._short(unit)}")
            self._invocations[unit] = self.host.invocation(unit)
        self._watch(self._invocations)

    def _start(self, unit: str, problem: str = "did not start") -> None:
        try:
            self.host.start(unit)
        except CommandError as error:
            raise DeployError(self._failure(unit, f"{problem}: {error}")) from error

    def _watch(self, invocations: Mapping[str, str]) -> None:
        """Wait until each unit has run for its time without another start: one that keeps crashing ends before."""
        left = dict(invocations)
        while left:
            for unit, invocation in list(left.items()):
                # Asked in this order: a unit that ended between two questions has another invocation, or none.
                age, state = self.host.age(unit), self.host.state(unit)
                seconds = self._by_unit[unit].start_seconds
                if state != "active" or self.host.invocation(unit) != invocation:
                    raise DeployError(self._failure(unit, f"did not run for {seconds:g} s"))
                if age >= seconds or _is_timer(unit):
                    del left[unit]
            if left:
                self.host.sleep(0.2)

    # --- the rollback ------------------------------------------------------------------------------------------------

    def _roll_back(self, plan: Plan, before: Before, transaction: Transaction) -> None:
        """Restore the files, and start what ran before with them. What still runs as before is left alone."""
        host, undo = self.host, self._rollback.step
        for unit in plan.units:
            if unit not in before.enabled:
                undo(host.disable, unit)
            if unit in self._touched:
                undo(host.stop, unit)
        undo(transaction.revert)
        undo(host.reload_units)
        for unit in plan.units:
            if unit in before.enabled and not host.enabled(unit):
                undo(host.enable, unit)
            if unit in self._touched and unit in before.ran:
                undo(self._start, unit, "did not start again")
            if unit in self._touched or unit not in before.pending:
                undo(host.clear_pending, unit)

    # --- reports -----------------------------------------------------------------------------------------------------

    def _failure(self, unit: str, what: str) -> str:
        return f"{self.app.name}: {unit} {what}. Its last lines:\n{self.host.journal(unit)}"

    def _current_state(self, plan: Plan, before: Before) -> str:
        """The units after the rollback, by what systemd reports."""
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
        verdict = "Everything is" if same and not self._rollback.failures else "Not everything is"
        return f"{verdict} as it was before: {'; '.join(now) or f'no process of {self.app.name} runs'}."

    def _short(self, unit: str) -> str:
        return unit.removeprefix(f"{self.app.name}-").removesuffix(".service")

    def _summarize(self, seconds: float) -> None:
        units = ", ".join(map(self._short, self._by_unit))
        if units:
            self.outcome.summary = f"{self.app.name}: {units} at release {self.app.release}"
        elif self.outcome.changed:
            self.outcome.summary = f"{self.app.name}: no processes any more"
        if self.outcome.steps:
            self.outcome.summary += f"; {', '.join(self.outcome.steps)}, in {seconds:.1f} s"


def _is_timer(unit: str) -> bool:
    return unit.endswith(".timer")
