"""Whether a unit that was reloaded runs with its new configuration."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._host import reload as _reload
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._host.reload import reload_unit

TAKEN = "bind() to 0.0.0.0:8443 failed (98: Address already in use)"


class Nginx:
    """A unit with a master process and workers, and what comes of a reload."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, log: Path) -> None:
        self.properties = {"MainPID": "10", "ActiveState": "active", "NeedDaemonReload": "no"}
        self.workers = {11, 12}
        self.takes_after: float | None = 0.0
        self.log, self.says = log, ""
        self.now = self.reloaded = 0.0
        self.asked: list[tuple[str, ...]] = []
        log.write_text("2026/11/30 05:00:00 [emerg] 10#10: of yesterday\n")
        monkeypatch.setattr(_reload, "unit_properties", lambda _unit, *_names: dict(self.properties))
        monkeypatch.setattr(_reload, "systemctl", self.systemctl)
        monkeypatch.setattr(_reload, "journal", lambda _unit, _since: "(journal)")
        monkeypatch.setattr(_reload, "_children", lambda _process: self.children())
        monkeypatch.setattr(_reload.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(_reload.time, "sleep", self.sleep)

    def systemctl(self, *words: str) -> None:
        self.asked.append(words)
        if words[0] == "reload-or-restart":
            self.reloaded = self.now
            with self.log.open("a") as log:
                for second in range(5 if self.says else 0):
                    log.write(f"2026/11/30 05:00:0{second} [emerg] 10#10: {self.says}\n")

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def children(self) -> set[int]:
        took = self.takes_after is not None and self.asked and self.now >= self.reloaded + self.takes_after
        return {*self.workers, 21} if took else set(self.workers)

    def reload(self) -> None:
        reload_unit("nginx.service", str(self.log))


@pytest.fixture
def nginx(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Nginx:
    return Nginx(monkeypatch, tmp_path / "error.log")


@pytest.mark.parametrize("seconds", [0, 1, 30])
def test_new_workers_are_waited_for(nginx: Nginx, seconds: float):
    nginx.takes_after = seconds
    nginx.reload()
    assert nginx.now == pytest.approx(seconds, abs=0.2)


def test_a_master_without_new_workers_kept_its_old_configuration_and_the_log_has_the_reason(nginx: Nginx):
    nginx.takes_after, nginx.says = None, TAKEN
    with pytest.raises(CommandError) as error:
        nginx.reload()
    assert str(error.value) == f"nginx.service kept its old configuration after the reload:\n[emerg] {TAKEN}"
    assert nginx.now < 10


def test_a_port_that_becomes_free_while_nginx_tries_again_is_no_failure(nginx: Nginx):
    nginx.takes_after, nginx.says = 2, TAKEN
    nginx.reload()


def test_without_a_reason_in_the_log_the_journal_is_quoted(nginx: Nginx):
    nginx.takes_after = None
    with pytest.raises(CommandError, match=r"after the reload:\n\(journal\)$"):
        nginx.reload()
    assert nginx.now > 50


def test_a_log_that_was_rotated_meanwhile_is_read_from_its_begin(nginx: Nginx, monkeypatch: pytest.MonkeyPatch):
    nginx.takes_after, nginx.says = None, TAKEN
    nginx.log.write_text("x" * 10_000)

    def rotate(*words: str) -> None:
        nginx.log.write_text("")
        nginx.systemctl(*words)

    monkeypatch.setattr(_reload, "systemctl", rotate)
    with pytest.raises(CommandError, match="Address already in use"):
        nginx.reload()


def test_a_unit_that_was_started_or_restarted_has_read_its_files(nginx: Nginx, monkeypatch: pytest.MonkeyPatch):
    nginx.takes_after = None
    pids = iter(["10", "99"])
    monkeypatch.setattr(
        _reload, "unit_properties", lambda _unit, *_names: {"ActiveState": "active", "MainPID": next(pids)}
    )
    nginx.reload()


def test_a_unit_without_such_a_master_is_judged_by_its_state(nginx: Nginx):
    nginx.takes_after = None
    reload_unit("logrotate.timer")
    nginx.properties["ActiveState"] = "failed"
    with pytest.raises(CommandError, match=r"logrotate.timer is not active after its reload:\n\(journal\)"):
        reload_unit("logrotate.timer")


def test_systemd_reads_the_unit_first_where_it_has_changed(nginx: Nginx):
    nginx.properties["NeedDaemonReload"] = "yes"
    nginx.reload()
    assert nginx.asked == [("daemon-reload",), ("reload-or-restart", "nginx.service")]


def test_the_children_of_a_process_are_known():
    with subprocess.Popen(["sleep", "60"]) as child:
        assert child.pid in _reload._children(os.getpid())
        child.kill()
    assert _reload._children(2**22 + 1) == set()
