"""One deploy at a time per app, from its first step to its last one; a second run names the first."""

from __future__ import annotations

import dataclasses
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._host import lock as _lock
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import host_lock
from ansible_collections.flask_ops.production.plugins.module_utils._host.lock import LockedError, Run
from ansible_collections.flask_ops.production.plugins.plugin_utils._task import run as _run

ANN = Run("ann@laptop 1", "ann@laptop", 11, idle=30, last=False)
BOB = Run("bob@ci 2", "bob@ci", 22, idle=30, last=False)


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_lock, "LOCKS", str(tmp_path / "locks"))
    return tmp_path / "locks"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_lock.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(_lock.time, "sleep", clock.pass_by)
    return clock


class Clock:
    """Time that passes when somebody waits."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


def step(run: Run, last: bool = False, timeout: float = 0, app: str = "shop") -> None:
    with dataclasses.replace(run, last=last).lock(app, timeout):
        pass


def text(locks: Path) -> dict[str, Any]:
    return json.loads((locks / "shop.lock").read_text())


def test_the_file_is_for_root_alone(locks: Path):
    locks.mkdir(0o755)
    (locks / "shop.lock").touch(0o644)
    step(ANN)
    assert stat.S_IMODE((locks / "shop.lock").stat().st_mode) == 0o600
    with host_lock(str(locks / ".letsencrypt.lock")):
        assert stat.S_IMODE((locks / ".letsencrypt.lock").stat().st_mode) == 0o600


def test_while_one_run_works_a_second_one_gives_up_and_names_it(locks: Path):
    refusal = r"^shop: ann@laptop \(ansible-playbook, process 11, since 20.*\) works on this app\. Waited 0.3 s"
    with ANN.lock("shop", 0):
        with pytest.raises(LockedError, match=refusal):
            step(BOB, timeout=0.3)
        step(BOB, app="blog")
        assert text(locks)["finished"] is False


def test_between_two_steps_of_a_run_the_app_is_still_its_own(clock: Clock):
    step(ANN)
    with pytest.raises(LockedError, match="ann@laptop"):
        step(BOB, timeout=20)
    step(ANN)
    with pytest.raises(LockedError, match="ann@laptop"):
        step(BOB, timeout=20)


def test_after_the_last_step_the_next_run_starts_at_once(clock: Clock):
    step(ANN, last=True)
    step(BOB)
    assert clock.now == 1_000


def test_a_step_that_failed_was_the_last_one(clock: Clock):
    with pytest.raises(KeyError), ANN.lock("shop", 0):
        raise KeyError
    step(BOB)
    assert clock.now == 1_000


def test_a_step_may_be_the_last_one_after_all(clock: Clock):
    with ANN.lock("shop", 0) as one:
        one.last = True
    step(BOB)
    assert clock.now == 1_000


def test_a_run_whose_controller_is_dead_is_taken_over_from(clock: Clock):
    step(ANN)
    step(BOB, timeout=300)
    assert 1_030 <= clock.now < 1_031


def test_the_holder_says_how_long_it_may_be_idle(clock: Clock):
    step(dataclasses.replace(ANN, idle=240))
    with pytest.raises(LockedError, match="ann@laptop"):
        step(BOB, timeout=200)
    step(BOB, timeout=300)


@pytest.mark.parametrize("finished", [False, True])
def test_a_run_that_was_taken_over_from_changes_nothing_more(clock: Clock, finished: bool):
    step(ANN)
    clock.pass_by(31)
    step(BOB, last=finished)
    for _attempt in range(2):
        with pytest.raises(LockedError, match=r"^shop: bob@ci \(.*\) has taken over this app"):
            step(ANN, last=True)
    step(BOB)


def test_all_runs_that_were_taken_over_from_learn_it(clock: Clock):
    runs = [dataclasses.replace(ANN, id=f"run {number}") for number in range(4)]
    for run in runs:
        step(run)
        clock.pass_by(31)
    for run in runs[:-1]:
        with pytest.raises(LockedError, match="has taken over"):
            step(run)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"run": 1}', "ann@laptop, process 7 on this host\n"])
def test_a_file_that_says_nothing_holds_nobody_up(locks: Path, content: str):
    locks.mkdir()
    (locks / "shop.lock").write_text(content)
    step(ANN)


def test_all_tasks_of_a_run_have_the_same_id_and_other_runs_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    variables = {"ansible_play_hosts": ["web1"]}
    ids = set()
    for folder in ("ansible-local-1abc", "ansible-local-2def"):
        monkeypatch.setattr(_run.constants, "DEFAULT_LOCAL_TMP", str(tmp_path / folder))
        ids |= {_run.this_run(variables)["id"], _run.this_run(variables | {"x": 1}, last=True)["id"]}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("variables", "ends", "last"),
    [
        ({}, False, True),
        ({"flask_ops_several_roles": True}, False, False),
        ({"flask_ops_several_roles": True}, True, True),
    ],
)
def test_a_role_used_alone_finishes_the_app(variables: dict[str, Any], ends: bool, last: bool):
    assert _run.this_run({"ansible_play_hosts": ["web1"]} | variables, last=ends)["last"] is last


def test_a_run_that_waits_for_other_hosts_may_be_idle_for_longer():
    idle = [_run.this_run({"ansible_play_hosts": hosts})["idle"] for hosts in (["web1"], ["web1", "web2"])]
    assert idle == [30, 240]
