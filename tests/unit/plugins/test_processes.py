"""Processes against a host in memory: what runs after each run, after a failure, and after an interruption anywhere."""

from __future__ import annotations

import contextlib
import copy
import shlex
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.outcome import DeployError, Outcome
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.processes import (
    Process,
    ProcessApp,
    Processes,
)
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._host.ownership import MARKER
from ansible_collections.flask_ops.production.plugins.module_utils._host.systemd import UNITS
from ansible_collections.flask_ops.production.plugins.module_utils._host.transaction import Change, Entry, State
from ansible_collections.flask_ops.production.plugins.plugin_utils._deploy.processes import command_line, on_host, units
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.plugins.memory_host import InterruptedRun, MemoryHost
from tests.unit.systemd_syntax import command_read_by_systemd


class FakeTransaction:
    """Files in memory, written together or not at all."""

    def __init__(self, host: FakeHost, entries: list[Entry]) -> None:
        self.host, self.entries = host, entries

    def plan(self) -> list[Change]:
        states = [(entry, self.host.read(entry.dest)) for entry in self.entries]
        return [Change(entry, state) for entry, state in states if not state.satisfies(entry)]

    def clean(self) -> None:
        self.host.clean(self.entries)

    def apply(self) -> None:
        self.before = dict(self.host.files)
        for change in self.plan():
            self.host.change(f"write {change.entry.dest}")
            self.host.write_in_memory(change.entry)

    def revert(self) -> None:
        self.host.change("revert")
        self.host.files = self.before

    def commit(self) -> None:
        self.host.change("commit")


class FakeHost(MemoryHost):
    """A host on which processes run, end and are started again."""

    def __init__(self) -> None:
        super().__init__()
        # By unit: the release that it was started with, and which start it was.
        self.runs: dict[str, tuple[str, int]] = {}
        self.marked: set[str] = set()
        self.since: dict[str, float] = {}
        self.starts = 0
        self.ends_at_once: set[str] = set()  # units, or releases
        self.does_not_start: set[str] = set()

    def change(self, words: str) -> None:
        super().change(words)
        assert self.locked, "a change without the app's lock"

    def running(self, unit: str) -> bool:
        return unit in self.runs

    # --- asking ----------------------------------------------------------------------------------------------------

    def invocation(self, unit: str) -> str:
        return str(self.runs.get(unit, ""))

    def age(self, unit: str) -> float:
        return self.seconds - self.since[unit]

    def description(self, unit: str) -> str:
        return f"release {self.release_in(template_of(unit))}"

    def directories(self, directory: str) -> list[str]:
        return sorted(PurePath(path).name for path in self.files if str(PurePath(path).parent) == directory)

    def instances(self, base: str) -> list[str]:
        known = {*self.runs, *self.enabled_units, *self.failed}
        return sorted(unit for unit in known if unit.startswith(f"{base}@"))

    def outdated(self, unit: str) -> bool:
        path = template_of(unit)
        return path in self.files and self.loaded.get(path) != self.files.get(path)

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        for unit, (release, _) in list(self.runs.items()):
            if {unit, release} & self.ends_at_once:
                self._begin(unit, release)  # Restart=always

    # --- changing --------------------------------------------------------------------------------------------------

    def transaction(self, entries: list[Entry]) -> Any:
        return FakeTransaction(self, entries)

    def enable(self, *units: str) -> None:
        for unit in units:
            self.change(f"enable {unit}")
            assert template_of(unit) in self.files
            self.enabled_units.add(unit)

    def disable(self, *units: str) -> None:
        for unit in filter(self.enabled, units):
            self.change(f"disable {unit}")
            self.enabled_units.discard(unit)

    def start(self, *units: str) -> None:
        for unit in units:
            self.change(f"start {unit}")
            if unit in self.does_not_start:
                self.failed.add(unit)
                raise CommandError("Job failed")
            assert self.loaded[template_of(unit)] == self.files[template_of(unit)], (
                "started before systemd read its file"
            )
            assert not self.twice(unit), f"a second {unit} beside {self.runs}"
            self.failed.discard(unit)
            self._begin(unit, self.release_in(template_of(unit)))

    def _begin(self, unit: str, release: str) -> None:
        self.starts += 1
        self.runs[unit], self.since[unit] = (release, self.starts), self.seconds

    def stop(self, *units: str) -> None:
        for unit in units:
            if unit in self.runs or unit in self.failed:
                self.change(f"stop {unit}")
                self.runs.pop(unit, None)
                self.failed.discard(unit)

    def mark_pending(self, unit: str) -> None:
        self.change(f"remember {unit}")
        self.marked.add(unit)

    def is_pending(self, unit: str) -> bool:
        return unit in self.marked

    def clear_pending(self, unit: str) -> None:
        self.marked.discard(unit)

    # --- what the tests ask ------------------------------------------------------------------------------------------

    def release_in(self, path: str) -> str:
        return self.files[path].content.decode().split()[-1]

    def release(self, unit: str) -> str:
        return self.runs[unit][0]

    def twice(self, unit: str) -> bool:
        """Whether a scheduler of the app runs already."""
        return unit in self.runs or (is_scheduler(unit) and any(map(is_scheduler, self.runs)))

    def reboot(self) -> None:
        self.marked = set()
        self.load()
        self.runs = {}
        for unit in self.enabled_units:
            self._begin(unit, self.release_in(template_of(unit)))


def template_of(unit: str) -> str:
    name, at, _ = unit.partition("@")
    return f"{UNITS}/{name}@.service" if at else f"{UNITS}/{unit}"


def is_scheduler(unit: str) -> bool:
    return "beat" in unit


WORKER = {"name": "worker", "kind": "worker", "instances": 2}
BEAT = {"name": "beat", "kind": "scheduler", "instances": 1}
DIGEST = {"name": "digest", "kind": "timer", "instances": 1}
ALL = (WORKER, BEAT, DIGEST)
RUNNING = ["shop-worker@1.service", "shop-worker@2.service", "shop-beat.service", "shop-digest.timer"]


def shop(
    release: str = "r1", *processes: dict[str, Any], value: str = "1", secret: str = "{}", schedule: str = "daily"
) -> ProcessApp:
    """An app with the files that the role gives its processes, as far as the logic cares."""

    def described(process: dict[str, Any]) -> Process:
        name = process["name"]
        suffix = "@" if process["kind"] == "worker" else ""
        unit = f"{UNITS}/shop-{name}{suffix}"
        files = [
            Entry("/etc/flask-ops/shop/processes", "directory", mode=0o755),
            Entry(f"/etc/flask-ops/shop/processes/{name}", "directory", mode=0o755),
            Entry(f"/etc/flask-ops/shop/processes/{name}/environment", content=value.encode(), mode=0o600, secret=True),
            Entry(f"/etc/flask-ops/shop/processes/{name}/credentials", "files", content=secret.encode(), secret=True),
            Entry(f"{unit}.service", content=f"{MARKER} {name} of {release}".encode()),
        ]
        if process["kind"] == "timer":
            files.append(Entry(f"{unit}.timer", content=f"{MARKER} {schedule}".encode()))
        return Process(name, tuple(units({"name": "shop"}, process)), files, start_seconds=2)

    return ProcessApp("shop", release, [described(process) for process in processes])


def deploy(
    host: FakeHost, release: str = "r1", *processes: dict[str, Any], check_mode: bool = False, **k: Any
) -> Outcome:
    host.log.clear()
    return Processes(shop(release, *processes, **k), host).run(check_mode)


def assert_runs(host: FakeHost, release: str, units_: list[str] = RUNNING) -> None:
    """These units and no others run, from this release, and will after a reboot."""
    assert sorted(host.runs) == sorted(units_)
    assert {host.release(unit) for unit in units_ if not unit.endswith(".timer")} <= {release}
    assert host.enabled_units == set(units_)
    assert not host.marked
    assert not host.outdated("shop-digest.timer")


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def running(host: FakeHost) -> FakeHost:
    deploy(host, "r1", *ALL)
    assert_runs(host, "r1")
    return host


# --- what a run does ---------------------------------------------------------------------------------------------------


def test_an_app_without_processes_is_nothing_to_do(host: FakeHost):
    result = deploy(host)
    assert (result.changed, result.summary, host.log) == (False, "", [])


def test_without_a_change_nothing_is_done(running: FakeHost):
    result = deploy(running, "r1", *ALL)
    assert (result.changed, result.steps, result.diff, running.log) == (False, [], [], [])
    assert result.summary == "shop: worker@1, worker@2, beat, digest.timer at release r1"


def test_a_new_release_restarts_workers_and_schedulers_and_leaves_timers(running: FakeHost):
    timer = running.invocation("shop-digest.timer")
    result = deploy(running, "r2", *ALL)
    assert_runs(running, "r2")
    assert result.steps == ["restart worker@1", "restart beat", "restart worker@2"]
    assert running.invocation("shop-digest.timer") == timer
    assert running.release_in(f"{UNITS}/shop-digest.service") == "r2"
    assert not deploy(running, "r2", *ALL).changed


def test_a_second_instance_waits_until_the_first_has_run_for_a_while(running: FakeHost):
    began = running.seconds
    deploy(running, "r2", *ALL)
    assert running.seconds - began >= 4


def test_a_job_that_a_timer_has_started_is_left_to_end(running: FakeHost):
    running.runs["shop-digest.service"] = ("r1", 99)
    deploy(running, "r2", *ALL)
    assert running.runs["shop-digest.service"] == ("r1", 99)


def test_another_schedule_restarts_the_timer_alone(running: FakeHost):
    assert deploy(running, "r1", *ALL, schedule="hourly").steps == ["restart digest.timer"]


def test_another_environment_restarts_what_was_started_with_the_old_one(running: FakeHost):
    assert deploy(running, "r1", *ALL, value="2").steps == ["restart worker@1", "restart beat", "restart worker@2"]


def test_another_secret_file_restarts_what_was_started_with_the_old_one(running: FakeHost):
    restarted = ["restart worker@1", "restart beat", "restart worker@2"]
    assert deploy(running, "r1", *ALL, secret='{"client.pem": "1"}').steps == restarted
    assert deploy(running, "r1", *ALL, secret='{"client.pem": "1"}').steps == []
    assert deploy(running, "r1", *ALL).steps == restarted


def test_more_and_fewer_instances_leave_the_others_alone(running: FakeHost):
    assert deploy(running, "r1", WORKER | {"instances": 3}, BEAT, DIGEST).steps == ["start worker@3"]
    assert deploy(running, "r1", WORKER | {"instances": 1}, BEAT, DIGEST).steps == ["stop worker@2", "stop worker@3"]
    assert running.enabled_units == set(RUNNING) - {"shop-worker@2.service"}


@pytest.mark.parametrize("gone", ALL, ids=["worker", "beat", "digest"])
def test_a_process_that_is_not_listed_any_more_is_removed(running: FakeHost, gone: dict[str, Any]):
    kept = [process for process in ALL if process is not gone]
    deploy(running, "r1", *kept)
    assert_runs(running, "r1", [unit for unit in RUNNING if gone["name"] not in unit])
    assert not [path for path in running.files if gone["name"] in path]
    assert not deploy(running, "r1", *kept).changed


def test_a_running_job_of_a_timer_that_is_removed_is_stopped(running: FakeHost):
    running.runs["shop-digest.service"] = ("r1", 99)
    assert deploy(running, "r1", WORKER, BEAT).steps == ["stop digest.timer", "stop digest"]


def test_a_renamed_scheduler_does_not_run_beside_its_old_self(running: FakeHost):
    deploy(running, "r1", WORKER, BEAT | {"name": "heartbeat"}, DIGEST)
    assert running.log.index("stop shop-beat.service") < running.log.index("start shop-heartbeat.service")


def test_another_kind_takes_the_place_of_the_first(running: FakeHost):
    deploy(running, "r1", WORKER | {"kind": "scheduler", "instances": 1}, DIGEST)
    assert sorted(running.runs) == ["shop-digest.timer", "shop-worker.service"]
    assert f"{UNITS}/shop-worker@.service" not in running.files


def test_an_absent_app_leaves_nothing(running: FakeHost):
    result = deploy(running)
    assert (running.runs, running.enabled_units, running.files) == ({}, set(), {})
    assert result.summary.startswith("shop: no processes any more; stop ")
    assert not deploy(running).changed


def test_a_unit_file_that_somebody_else_wrote_stays(running: FakeHost):
    path = f"{UNITS}/shop-worker.service"
    running.files[path] = State("file", b"[Service]\nExecStart=/bin/true\n", "", 0o644, "root", "root")
    assert not deploy(running, "r1", *ALL).changed
    deploy(running)
    assert list(running.files) == [path]


@pytest.mark.parametrize("unit", RUNNING)
def test_what_somebody_stopped_or_disabled_comes_back(running: FakeHost, unit: str):
    del running.runs[unit]
    running.failed.add(unit)
    assert deploy(running, "r1", *ALL).changed
    assert_runs(running, "r1")
    running.enabled_units.remove(unit)
    assert deploy(running, "r1", *ALL).changed
    assert_runs(running, "r1")


def test_what_a_killed_run_left_goes_in_every_run_and_stays_in_check_mode(running: FakeHost):
    running.leftovers = {f"{UNITS}/shop-beat.service"}
    deploy(running, "r1", *ALL, check_mode=True)
    assert running.leftovers
    assert not deploy(running, "r1", *ALL).changed
    assert not running.leftovers


def test_check_mode_tells_what_would_happen_and_does_nothing(running: FakeHost):
    before = copy.deepcopy(vars(running))
    result = deploy(running, "r2", WORKER | {"instances": 3}, DIGEST, check_mode=True)
    assert result.changed
    assert result.steps == ["stop beat", "restart worker@1", "restart worker@2", "start worker@3"]
    assert any("of r2" in shown["after"] for shown in result.diff)
    assert vars(running) == before | {"log": []}


# --- failures ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken", ["shop-worker@1.service", "shop-worker@2.service", "shop-beat.service", "shop-new.service"]
)
@pytest.mark.parametrize("how", ["ends_at_once", "does_not_start"])
def test_a_failure_takes_everything_back_and_says_why(
    running: FakeHost, broken: str, how: str, monkeypatch: pytest.MonkeyPatch
):
    before = copy.deepcopy(vars(running))
    processes = (*ALL, {"name": "new", "kind": "scheduler", "instances": 1})

    def revert_to_what_works(self: FakeTransaction) -> None:
        getattr(self.host, how).clear()
        revert(self)

    revert = FakeTransaction.revert
    monkeypatch.setattr(FakeTransaction, "revert", revert_to_what_works)
    getattr(running, how).add(broken)
    with pytest.raises(DeployError) as error:
        deploy(running, "r2", *processes, value="2", schedule="hourly")
    assert f"shop: {broken} did not " in str(error.value)
    assert f"last words of {broken}" in str(error.value)
    assert "Everything is as it was before: shop-worker@1.service is active (release r1);" in str(error.value)
    assert_runs(running, "r1")
    assert running.files == before["files"]
    assert not running.failed


@pytest.mark.parametrize("broken", ["shop-beat.service", "shop-worker@1.service"])
def test_the_way_back_goes_past_what_does_not_start_again(running: FakeHost, broken: str):
    """A process is removed, the new release does not run, and one unit cannot even be started as before."""
    running.ends_at_once.add("r2")
    running.does_not_start.add("shop-beat.service")
    running.does_not_start.add(broken)
    with pytest.raises(DeployError) as error:
        deploy(running, "r2", WORKER, DIGEST)
    reason, *rest = str(error.value).splitlines()
    assert reason.startswith("shop: shop-worker@1.service did not ")
    told = "\n".join(rest)
    assert f"Rollback: shop: {broken} did not start again: Job failed" in told
    assert f"last words of {broken}" in told
    assert "Not everything is as it was before:" in told
    assert f"{broken} is failed" in told
    assert "shop-worker@2.service is active (release r1)" in told
    works = [unit for unit in RUNNING if unit not in running.does_not_start and not unit.endswith(".timer")]
    assert {unit: running.release(unit) for unit in works} == dict.fromkeys(works, "r1")


@pytest.mark.parametrize("step", ["start", "clear_pending"])
def test_no_step_of_the_way_back_hides_the_reason(running: FakeHost, step: str, monkeypatch: pytest.MonkeyPatch):
    running.ends_at_once.add("r2")
    revert = FakeTransaction.revert

    def revert_and_break(self: FakeTransaction) -> None:
        revert(self)
        monkeypatch.setattr(running, step, broken)

    def broken(*units: str) -> None:
        raise CommandError("systemd has gone away")

    monkeypatch.setattr(FakeTransaction, "revert", revert_and_break)
    with pytest.raises(DeployError, match=r"^shop: shop-worker@1.service did not run for "):
        deploy(running, "r2", *ALL)


def test_a_broken_release_gets_one_instance_of_each_process_only(running: FakeHost):
    second = running.invocation("shop-worker@2.service")
    running.ends_at_once.add("r2")
    with pytest.raises(DeployError):
        deploy(running, "r2", *ALL)
    assert running.invocation("shop-worker@2.service") == second


def test_a_first_release_that_is_broken_leaves_nothing(host: FakeHost):
    host.ends_at_once.add("r1")
    with pytest.raises(DeployError, match="Everything is as it was before: no process of shop runs"):
        deploy(host, "r1", *ALL)
    assert (host.runs, host.enabled_units, host.files) == ({}, set(), {})


def test_a_worker_that_has_ended_again_and_again_for_long_is_a_failure_too(running: FakeHost):
    running.ends_at_once.add("shop-worker@2.service")
    running.failed.add("shop-worker@2.service")
    del running.runs["shop-worker@2.service"]
    with pytest.raises(DeployError, match=r"shop-worker@2.service did not run for 2 s"):
        deploy(running, "r1", *ALL)


def test_what_ends_again_and_again_is_a_failure_also_when_nothing_is_to_be_done(running: FakeHost):
    running.sleep(10)
    running.ends_at_once.add("shop-beat.service")
    running.sleep(1)
    with pytest.raises(DeployError, match=r"shop: shop-beat.service did not run for 2 s"):
        deploy(running, "r1", *ALL)


def test_a_first_instance_that_ends_while_the_others_are_renewed_is_a_failure(
    running: FakeHost, monkeypatch: pytest.MonkeyPatch
):
    start = FakeHost.start

    def and_the_first_ends(self: FakeHost, *units: str) -> None:
        start(self, *units)
        if units == ("shop-worker@2.service",) and self.release(*units) == "r2":
            self._begin("shop-worker@1.service", "r2")

    monkeypatch.setattr(FakeHost, "start", and_the_first_ends)
    with pytest.raises(DeployError, match=r"worker@1.service did not run"):
        deploy(running, "r2", *ALL)
    assert_runs(running, "r1")


# --- interruptions -------------------------------------------------------------------------------------------------------


def changes_of(host: FakeHost, *arguments: Any, **options: Any) -> int:
    copied = copy.deepcopy(host)
    deploy(copied, *arguments, **options)
    return len(copied.log)


def interrupted(host: FakeHost, *arguments: Any, **options: Any) -> Iterator[FakeHost]:
    for number in range(changes_of(host, *arguments, **options)):
        copied = copy.deepcopy(host)
        copied.changes_left = number
        with pytest.raises(InterruptedRun):
            deploy(copied, *arguments, **options)
        copied.changes_left = float("inf")
        yield copied


@pytest.mark.parametrize("reboot", [False, True], ids=["", "reboot"])
@pytest.mark.parametrize(
    ("wanted", "units_"),
    [
        (ALL, RUNNING),
        (
            (WORKER | {"instances": 1}, BEAT | {"name": "heartbeat"}),
            ["shop-worker@1.service", "shop-heartbeat.service"],
        ),
        ((), []),
    ],
    ids=["release", "other processes", "absent"],
)
def test_after_an_interruption_anywhere_the_next_run_gets_there(
    running: FakeHost, wanted: Any, units_: Any, reboot: bool
):
    for host in interrupted(running, "r2", *wanted, value="2", schedule="hourly"):
        if reboot:
            host.reboot()
        deploy(host, "r2", *wanted, value="2", schedule="hourly")
        assert_runs(host, "r2", units_)
        assert not deploy(host, "r2", *wanted, value="2", schedule="hourly").changed


def test_an_interruption_of_the_way_back_is_repaired_too(running: FakeHost):
    running.ends_at_once.add("r2")
    for number in range(100):
        host = copy.deepcopy(running)
        host.changes_left = number
        try:
            deploy(host, "r2", *ALL)
        except DeployError:
            assert number > 10
            return
        except InterruptedRun:
            host.changes_left = float("inf")
            deploy(host, "r1", *ALL)
            assert_runs(host, "r1")


def test_what_a_timer_starts_is_of_the_new_release_also_after_an_interruption(host: FakeHost):
    deploy(host, "r1", DIGEST)
    for interrupted_host in interrupted(host, "r2", DIGEST):
        deploy(interrupted_host, "r2", DIGEST)
        assert interrupted_host.loaded[f"{UNITS}/shop-digest.service"].content.endswith(b"r2")


def test_after_an_interruption_and_a_failure_it_is_still_known_who_runs_with_files_of_before(running: FakeHost):
    for host in interrupted(running, "r2", *ALL):
        host.ends_at_once.add("r2")
        with contextlib.suppress(DeployError):
            deploy(host, "r2", *ALL)
        host.ends_at_once.clear()
        deploy(host, "r2", *ALL)
        assert_runs(host, "r2")


# --- what systemd is told ----------------------------------------------------------------------------------------------------


def test_units():
    app = {"name": "shop"}
    assert units(app, WORKER) == ["shop-worker@1.service", "shop-worker@2.service"]
    assert units(app, BEAT) == ["shop-beat.service"]
    assert units(app, DIGEST) == ["shop-digest.timer"]


def test_a_host_runs_what_is_meant_for_it():
    processes = [{"name": "a", "only_on": None}, {"name": "b", "only_on": "web1"}, {"name": "c", "only_on": "web2"}]
    app = {"state": "present", "processes": processes}
    assert [process["name"] for process in on_host(app, "web1")] == ["a", "b"]
    assert on_host(app | {"state": "absent"}, "web1") == []


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=8), min_size=1, max_size=4))
def test_a_command_arrives_word_by_word_as_it_was_written(words: list[str]):
    line = command_line({"command": shlex.join(words), "kind": "scheduler"})
    assert command_read_by_systemd(line) == ["/usr/bin/env", *words]


def test_a_worker_may_name_its_instance():
    process = {"command": "celery worker -n 'w {instance}' '{{instance}}' %i", "kind": "worker"}
    line = command_line(process)
    assert command_read_by_systemd(line, instance="7") == ["/usr/bin/env", "celery", "worker", "-n", "w 7", "{7}", "%i"]
    line = command_line(process | {"kind": "timer"})
    assert command_read_by_systemd(line)[-3:] == ["w {instance}", "{{instance}}", "%i"]
