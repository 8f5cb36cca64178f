"""The units of an app's workers, schedulers and timers."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._host.ownership import MARKER
from ansible_collections.flask_ops.production.plugins.module_utils._host.sandbox import SANDBOX

from tests.unit.templates.rendering import render
from tests.unit.templates.test_app import directives

WORKER = {"name": "worker", "command": "celery worker -n w{instance}@%h"}
BEAT = {"name": "beat", "command": "celery beat", "kind": "scheduler"}
DIGEST = {"name": "digest", "command": "flask digest", "kind": "timer", "schedule": "Mon 06:00"}
KINDS = [WORKER, BEAT, DIGEST]


def unit(process: dict[str, Any], **options: Any) -> dict[str, list[tuple[str, str]]]:
    return directives(render("process.service.j2", processes=[process | options]))


@pytest.mark.parametrize("process", KINDS)
@pytest.mark.parametrize(
    "directive",
    [
        ("User", "shop"),
        ("Group", "shop"),
        ("WorkingDirectory", "/srv/shop/r1/app"),
        ("Environment", "PATH=/srv/shop/r1/venv/bin:/usr/bin:/bin"),
        ("Environment", "FLASK_OPS_RELEASE=r1"),
        ("Environment", "FLASK_OPS_VERSION=v1.4.2"),
        ("KillMode", "mixed"),
        ("KillSignal", "SIGTERM"),
        ("TimeoutStopSec", "300"),
    ],
)
def test_the_directives_of_every_process(process: dict[str, Any], directive: tuple[str, str]):
    assert directive in unit(process)["Service"]


@pytest.mark.parametrize("process", KINDS)
def test_the_environment_is_a_copy_of_its_own(process: dict[str, Any]):
    name = process["name"]
    assert ("EnvironmentFile", f"/etc/flask-ops/shop/processes/{name}/environment") in unit(process)["Service"]
    assert ("Environment", f"FLASK_OPS_PROCESS={name}") in unit(process)["Service"]


@pytest.mark.parametrize(
    ("process", "command"),
    [
        (WORKER, "/usr/bin/env celery worker -n w%i@%%h"),
        (BEAT, "/usr/bin/env celery beat"),
        (DIGEST, "/usr/bin/env flask digest"),
    ],
)
def test_the_command(process: dict[str, Any], command: str):
    assert ("ExecStart", command) in unit(process)["Service"]


def test_a_job_has_the_time_and_the_signal_that_it_was_given():
    service = unit(WORKER, stop_timeout=900, stop_signal="SIGINT")["Service"]
    assert {("TimeoutStopSec", "900"), ("KillSignal", "SIGINT")} <= set(service)


@pytest.mark.parametrize("process", KINDS)
def test_what_a_job_needs_on_the_host_is_stopped_after_it(process: dict[str, Any]):
    assert {"redis-server.service", "postgresql.service"} <= set(dict(unit(process)["Unit"])["After"].split())


@pytest.mark.parametrize("process", [WORKER, BEAT])
def test_what_should_run_always_does(process: dict[str, Any]):
    found = unit(process)
    assert {("Type", "exec"), ("Restart", "always")} <= set(found["Service"])
    assert ("StartLimitIntervalSec", "0") in found["Unit"]
    assert found["Install"] == [("WantedBy", "multi-user.target")]


def test_what_a_timer_starts_ends_and_does_not_start_by_itself():
    found = unit(DIGEST)
    assert ("Type", "oneshot") in found["Service"]
    assert "Restart" not in dict(found["Service"])
    assert "Install" not in found


def test_a_timer_has_its_schedule():
    timer = directives(render("process.timer.j2", processes=[DIGEST]))
    assert ("OnCalendar", "Mon 06:00") in timer["Timer"]
    assert timer["Install"] == [("WantedBy", "timers.target")]


@pytest.mark.parametrize("process", KINDS)
def test_a_process_has_the_limits_of_its_app(process: dict[str, Any]):
    limits = {
        "memory_high": 400,
        "memory_max": 500,
        "cpu_quota": 150,
        "cpu_weight": 50,
        "tasks": 100,
        "open_files": 1024,
    }
    found = directives(render("process.service.j2", processes=[process], limits=limits))["Service"]
    expected = {"MemoryHigh": "400M", "MemoryMax": "500M", "CPUQuota": "150%", "CPUWeight": "50", "TasksMax": "100"}
    assert {name: value for name, value in found if name in expected} == expected
    assert ("LimitNOFILE", "1024") in found
    assert len([name for name, _ in found if name in expected]) == len(expected), "none is there twice"


@pytest.mark.parametrize("process", KINDS)
def test_without_limits_a_process_has_half_of_the_memory_and_512_tasks(process: dict[str, Any]):
    assert {("MemoryMax", "50%"), ("TasksMax", "512"), ("LimitNOFILE", "8192")} <= set(unit(process)["Service"])


@pytest.mark.parametrize("process", KINDS)
def test_the_whole_sandbox_is_in_the_service_and_nothing_takes_it_back(process: dict[str, Any]):
    found = unit(process)["Service"]
    start = found.index(SANDBOX[0])
    assert found[start:] == [*SANDBOX, ("LimitNOFILE", "8192"), ("ReadWritePaths", "-/srv/shop/shared")]
    assert not {name for name, _ in found[:start]} & dict(SANDBOX).keys()


@pytest.mark.parametrize("template", ["process.service.j2", "process.timer.j2"])
def test_a_unit_file_is_known_as_ours(template: str):
    assert MARKER in render(template)
