"""Jobs are done once, whatever happens to the workers. Later tests build on earlier ones."""

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.unit.systemd_syntax import SCHEDULES
from tests.waiting import eventually

SCENARIO = Path(__file__).parents[1]
CONVERGE = SCENARIO.parent / "shared" / "converge.yml"
WORKERS = ["jobs-rq@1.service", "jobs-rq@2.service", "jobs-celery@1.service"]
SERVICES = [*WORKERS, "jobs-beat.service"]
UNITS = [*SERVICES, "jobs-digest.timer"]
APP = "/srv/jobs/releases/r1/app"
PYTHON = "/srv/jobs/venv/bin/python -B"
TEXT = '50% of $HOME ${HOME} "quoted" \\ %i {instance} ü ;'


@pytest.fixture
def ask(host):
    """`ask("get ticks")`: what Redis says."""
    return lambda command: host.check_output(f"redis-cli {command}")


@pytest.fixture
def counts(ask):
    """`counts("rq:ended")`: how often each job did."""

    def read(key):
        flat = ask(f"hgetall {key}").split()
        return {job: int(count) for job, count in zip(flat[::2], flat[1::2], strict=True)}

    return read


@pytest.fixture
def property_of(host):
    return lambda unit, name: host.check_output(f"systemctl show --value --property {name} {unit}")


@pytest.fixture
def pids(property_of):
    return lambda: {unit: property_of(unit, "MainPID") for unit in SERVICES}


@pytest.fixture
def apply(host, play):
    """Apply the role, with changes to single processes, by name: other options, or None to leave it out."""

    def run(*arguments, **changes):
        given = copy.deepcopy(host.ansible.get_variables()["app_processes_apps"][0])
        processes = [
            {**process, "only_on": host.backend.host, **changes.get(process["name"], {})}
            for process in given["processes"]
            if changes.get(process["name"], {}) is not None
        ]
        return play(str(CONVERGE), *arguments, app_processes_apps=[{**given, "processes": processes}])

    return run


@pytest.fixture
def long_job(host, counts):
    """`long_job("1")`: a job of six seconds has begun."""

    def begin(number):
        with host.sudo():
            host.check_output(f"{PYTHON} {APP}/client.py long {number}")
        eventually(lambda: number in counts("long:began"))

    return begin


DEPLOYED: list[Any] = []


def test_no_job_is_lost_and_none_is_done_twice_over_ten_deploys(play, counts, ask):
    if not DEPLOYED:  # on both hosts at once
        DEPLOYED.append(play(str(SCENARIO / "deploys.yml"), "--limit", "all"))
    assert DEPLOYED[0].status == 0, DEPLOYED[0].output
    enqueued = int(ask("get enqueued"))
    assert enqueued >= 30
    for kind in ("rq", "celery"):
        expected = dict.fromkeys(map(str, range(1, enqueued + 1)), 1)
        assert counts(f"{kind}:began") == expected
        assert counts(f"{kind}:ended") == expected
        assert counts(f"{kind}:releases").keys() == {"r1", "r2"}
    assert ask("llen rq:queue:default") == "0"


def test_there_was_one_scheduler_at_any_time_and_eleven_in_all(ask):
    assert (ask("get beats"), ask("get 'second beats'")) == ("11", "")


def test_the_scheduler_schedules(ask):
    before = int(ask("get ticks"))
    eventually(lambda: int(ask("get ticks")) >= before + 2)


def test_a_timer_runs_from_the_release_of_its_time_and_is_left_to_end(counts):
    eventually(lambda: counts("digest:began") == counts("digest:ended"))
    assert counts("digest:ended").keys() == {"r1", "r2"}


def test_a_command_arrives_as_it_was_written(ask):
    assert ask("get digest:text") == TEXT


def test_systemd_takes_the_schedules_that_the_check_of_the_input_takes(host):
    asked = host.run("systemd-analyze calendar " + " ".join(f"'{schedule}'" for schedule in SCHEDULES))
    assert (asked.rc, asked.stderr) == (0, "")
    assert asked.stdout.count("Normalized form:") == len(SCHEDULES)


def test_all_units_run_and_will_after_a_reboot(unit):
    for name in UNITS:
        assert unit(name).is_running, name
        assert unit(name).is_enabled, name


@pytest.mark.parametrize("name", [*SERVICES, "jobs-digest.service"])
def test_a_process_has_the_apps_user_environment_and_sandbox(host, property_of, name):
    with host.sudo():
        rated = host.check_output(f"systemd-analyze security --no-pager {name}")
        checked = host.run(f"systemd-analyze verify --recursive-errors=no {name}")
    assert float(rated.split("Overall exposure level")[1].split(":")[1].split()[0]) <= 1.5
    assert (checked.rc, checked.stderr) == (0, "")
    assert (property_of(name, "User"), property_of(name, "ReadWritePaths")) == ("jobs", "-/srv/jobs/shared")


def test_a_process_gets_the_environment(host, pids):
    with host.sudo():
        for unit, pid in pids().items():
            environment = host.check_output(f"cat /proc/{pid}/environ | tr '\\0' '\\n'").splitlines()
            name = unit.split("@")[0].split(".")[0].removeprefix("jobs-")
            wanted = {"TOKEN=canary-7c31aa", "FLASK_OPS_RELEASE=r1", f"FLASK_OPS_PROCESS={name}"}
            assert wanted <= set(environment)


def test_check_mode_announces_a_restart_and_does_not_do_it(host, apply, pids):
    before = pids()
    checked = apply("--check", "--diff", celery={"stop_timeout": 60})
    assert checked.status == 0, checked.output
    assert checked.changed
    assert "-TimeoutStopSec=300 +TimeoutStopSec=60" in checked.output
    assert "restart celery@1" in checked.output
    assert "canary" not in checked.output
    assert pids() == before
    assert "TimeoutStopSec=300" in host.file("/etc/systemd/system/jobs-celery@.service").content_string


def test_another_value_in_the_environment_restarts_what_was_started_with_the_old_one(host, apply, pids):
    with host.sudo():
        host.check_output("sed -i s/canary-7c31aa/canary-11d0e4/ /etc/flask-ops/jobs/environment")
    before = pids()
    changed = apply()
    assert (changed.status, changed.changed) == (0, True), changed.output
    assert "canary" not in changed.output
    after = pids()
    assert not set(before.values()) & set(after.values())
    with host.sudo():
        assert "TOKEN=canary-11d0e4" in host.check_output(f"cat /proc/{after[WORKERS[0]]}/environ | tr '\\0' '\\n'")


def test_a_worker_that_exits_is_rolled_back_and_the_reason_is_reported(apply, pids, unit):
    before = pids()
    refused = apply(celery={"command": "celery --app nowhere worker", "start_seconds": 60}, rq={"stop_timeout": 60})
    assert refused.status != 0
    assert "jobs: jobs-celery@1.service did not run for 60 s. Its last lines:" in refused.output
    assert "The module nowhere was not found" in refused.output
    assert "Everything is as it was before: jobs-rq@1.service is active (jobs: rq 1, release r1)" in refused.output
    after = pids()
    assert after["jobs-rq@2.service"] == before["jobs-rq@2.service"], "it had no part in this"
    assert after["jobs-beat.service"] == before["jobs-beat.service"]
    assert after["jobs-celery@1.service"] not in ("0", before["jobs-celery@1.service"])
    assert all(unit(name).is_running for name in UNITS)


def test_applied_again_nothing_changes(apply, pids):
    before = pids()
    again = apply()
    assert (again.status, again.changed) == (0, False), again.output
    assert pids() == before


def test_a_worker_that_is_killed_comes_back(host, pids, property_of):
    killed = pids()["jobs-celery@1.service"]
    with host.sudo():
        host.check_output(f"kill -9 {killed}")
    eventually(lambda: pids()["jobs-celery@1.service"] not in ("0", killed))
    eventually(lambda: property_of("jobs-celery@1.service", "ActiveState") == "active")


def test_instances_come_and_go_without_the_others(host, apply, pids):
    before = pids()
    more = apply(rq={"instances": 3})
    assert more.status == 0, more.output
    assert host.service("jobs-rq@3.service").is_running
    assert pids() == before
    assert apply(rq={"instances": 2}).status == 0
    assert not host.service("jobs-rq@3.service").is_running
    assert not host.service("jobs-rq@3.service").is_enabled
    assert pids() == before


def test_a_process_that_is_not_listed_any_more_is_gone_after_its_job(host, apply, counts, long_job):
    long_job("1")
    assert apply(celery=None).status == 0
    assert counts("long:ended") == {"1": 1}
    assert not host.service("jobs-celery@1.service").is_running
    for path in ("/etc/systemd/system/jobs-celery@.service", "/etc/flask-ops/jobs/processes/celery"):
        assert not host.file(path).exists
    assert apply().status == 0


def test_after_a_reboot_everything_runs_and_no_job_is_lost(reboot, unit, counts, ask, long_job):
    long_job("2")
    reboot()
    eventually(lambda: all(unit(name).is_running for name in UNITS))
    assert counts("long:ended") == {"1": 1, "2": 1}
    before = int(ask("get ticks"))
    eventually(lambda: int(ask("get ticks")) > before)
    assert ask("get 'second beats'") == ""


def test_an_absent_app_leaves_no_process_and_no_file(host, play):
    gone = play(str(CONVERGE), app_processes_apps=[{"name": "jobs", "state": "absent"}])
    assert gone.status == 0, gone.output
    assert host.check_output("systemctl list-units --all --plain --no-legend 'jobs-*'") == ""
    assert host.check_output("find /etc/systemd /etc/flask-ops/jobs -name 'jobs-*' -o -name processes") == ""
    again = play(str(CONVERGE), app_processes_apps=[{"name": "jobs", "state": "absent"}])
    assert (again.status, again.changed) == (0, False), again.output
