"""The status of an app: what is reported of a host that is sound, and of each thing that may be wrong with it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.x509 import X509
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._metrics import problems, report, status

APP: dict[str, Any] = {
    "name": "shop",
    "domains": ["shop.example.com"],
    "health": {"path": "/healthz", "status": None, "timeout": 5, "interval": 1, "deadline": 60},
}
NOW = time.time()
LIVE = {
    "Id": "shop-green.service",
    "User": "shop",
    "ActiveState": "active",
    "ActiveEnterTimestamp": f"@{int(NOW - 86400)}",
    "MainPID": "0",
    "NRestarts": "0",
    "Environment": "FLASK_OPS_RELEASE=r2 FLASK_OPS_SLOT=green",
    "FragmentPath": "/etc/systemd/system/shop-green.service",
    "DropInPaths": "",
    "NeedDaemonReload": "no",
}


class FakeHost:
    """A host on which one slot is live, and answers."""

    slot: str | None = "green"
    on_socket: int | Exception = 200
    tls: Exception | None = None
    through_nginx: int | Exception | None = 200

    def __init__(self, root: Path) -> None:
        self.root = root
        self.units: list[dict[str, str]] = [LIVE]
        self.logged = ""
        self.asked: list[tuple] = []

    def link_target(self, path: str) -> str | None:
        if path == "/run/flask-ops/shop/current":
            return self.slot
        return str(Path(path).readlink())

    def ask_socket(self, *asked: Any) -> int:
        self.asked.append(asked)
        if isinstance(self.on_socket, Exception):
            raise self.on_socket
        return self.on_socket

    def ask_nginx(self, *asked: Any) -> int | None:
        self.asked.append(asked)
        if isinstance(self.through_nginx, Exception):
            raise self.through_nginx
        return self.through_nginx

    def served_certificate(self, *asked: Any) -> bytes:
        assert asked == (443, "shop.example.com", 5)
        if self.tls:
            raise self.tls
        return b"x"

    @property
    def app(self) -> dict[str, Any]:
        paths = {"live": "/run/flask-ops/shop/current", "current": "current", "releases": "releases"}
        paths |= {key: key for key in ("maintenance", "probe_socket", "site")}
        return APP | {"paths": {key: str(self.root / path) for key, path in paths.items()}}

    @property
    def release(self) -> Path:
        return self.root / "releases/r2"

    def problems(self, **changes: Any) -> list[str]:
        return problems.inspect(self.app | changes)["problems"]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    fake = FakeHost(tmp_path)
    for path in ("app/shop.py", "static/a.css", "REVISION", ".complete"):
        place = fake.release / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("source.git: https://git\nsource.version: v1.5.0\nrevision: 3f2c9a1b7d20aa11\n")
    (tmp_path / "current").symlink_to("releases/r2")
    (tmp_path / "site").write_text("")
    monkeypatch.setattr(status, "Host", lambda: fake)
    monkeypatch.setattr(status, "served_certificate", fake.served_certificate)
    monkeypatch.setattr(problems, "certificate", lambda served: None)
    monkeypatch.setattr(status, "units", lambda pattern: fake.units)
    monkeypatch.setattr(problems, "extra_groups", lambda user: [])
    monkeypatch.setattr(status, "workers_replaced", lambda unit: 0)
    monkeypatch.setattr(status, "worker_deaths", lambda unit: status.WORKER_DIED.findall(fake.logged))
    return fake


def test_a_sound_app_has_no_problems(host: FakeHost):
    found = problems.inspect(host.app)
    assert found["problems"] == []
    assert (found["slot"], found["release"], found["state"]) == ("green", "r2", "active")
    assert (found["health"], found["healthy"], found["nginx"], found["reachable"]) == ("200", True, "200", True)
    assert report.summary(found).startswith("shop: green serves v1.5.0 (3f2c9a1b7d20), release r2, since 20")
    assert [asked[1:3] for asked in host.asked] == [("/healthz", "shop.example.com")] * 2


def test_without_nginx_nobody_asks_it(host: FakeHost):
    host.through_nginx = RuntimeError("asked")
    found = problems.inspect(host.app, None)
    assert (found["problems"], found["nginx"], found["reachable"]) == ([], None, None)


def test_an_app_without_a_live_slot_has_one_problem(host: FakeHost):
    host.slot = None
    found = problems.inspect(host.app)
    assert found["problems"] == ["no slot is live: nothing answers"]
    assert report.summary(found) == "shop: nothing is live"
    assert (found["healthy"], found["reachable"]) == (False, False)


@pytest.mark.parametrize(
    ("answer", "words"),
    [(None, "nothing listens"), (502, "502"), (OSError("unrecognized name"), "unrecognized name"), (301, "301")],
)
def test_an_app_that_nginx_does_not_answer_for(host: FakeHost, answer: Any, words: str):
    host.through_nginx = answer
    assert host.problems() == [f"nginx does not answer for it: GET /healthz gave {words}"]


def test_a_port_without_tls_for_the_domain_is_no_way_in_though_nginx_runs(host: FakeHost):
    host.tls = ConnectionRefusedError("Connection refused")
    found = problems.inspect(host.app)
    assert (found["healthy"], found["reachable"]) == (True, False)
    assert found["problems"] == [
        "nginx does not answer for it: GET /healthz gave no TLS for shop.example.com on port 443: Connection refused"
    ]


def test_an_app_without_a_site_of_nginx(host: FakeHost):
    (host.root / "site").unlink()
    host.through_nginx = 421
    assert host.problems() == ["nginx has no site for it: run site"]


@pytest.mark.parametrize(
    ("answer", "words"), [(500, "500"), (TimeoutError("timed out"), "timed out"), (OSError(), "OSError")]
)
def test_a_slot_that_is_sick_is_not_blamed_on_nginx(host: FakeHost, answer: Any, words: str):
    host.on_socket, host.through_nginx = answer, 502
    assert host.problems() == [f"GET /healthz on the socket of green gave {words}"]


@pytest.mark.parametrize("state", ["failed", "inactive", "activating"])
def test_a_slot_that_does_not_run(host: FakeHost, state: str):
    host.on_socket = ConnectionRefusedError("refused")
    host.units = [LIVE | {"ActiveState": state}]
    assert host.problems()[0] == f"shop-green.service should be active, but is {state}"


def test_an_app_that_is_closed_for_maintenance(host: FakeHost):
    (host.root / "maintenance").write_text("")
    os.utime(host.root / "maintenance", (1764000000, 1764000000))
    assert host.problems() == ["closed for maintenance since 2025-11-24 16:00 UTC: visitors get the maintenance page"]
    assert report.summary(problems.inspect(host.app)).endswith(", CLOSED for maintenance")


@pytest.mark.parametrize(
    ("line", "reported"),
    [
        ("Worker (pid:7) was sent SIGKILL! Perhaps out of memory?", "Worker (pid:7) was sent SIGKILL"),
        ('{"message": "Worker (pid:7) exited with code 1."}', "Worker (pid:7) exited with code 1"),
        ("Worker (pid:7) was sent SIGSEGV!", "Worker (pid:7) was sent SIGSEGV"),
        ("Worker (pid:7) was sent SIGTERM!", None),
        ("Worker (pid:7) exited with code 0.", None),
        ("Worker exiting (pid: 7)", None),
    ],
)
def test_workers_that_die_are_counted_and_those_that_are_stopped_are_not(
    host: FakeHost, line: str, reported: str | None
):
    host.logged = f"{line}\nBooting worker with pid: 8\n"
    found = problems.inspect(host.app)
    assert found["worker_deaths"] == (reported is not None)
    assert found["problems"] == (
        [f"shop-green.service: workers died once in the last hour, last: {reported}"] if reported else []
    )


def test_a_master_that_is_restarted_again_and_again(host: FakeHost):
    host.units = [LIVE | {"NRestarts": "12", "ActiveEnterTimestamp": f"@{int(NOW - 60)}"}]
    assert host.problems()[0].startswith("shop-green.service was restarted 12 times after it had ended, last at 20")
    # A restart of long ago is in the returned values, and no problem.
    host.units = [LIVE | {"NRestarts": "1"}]
    assert host.problems() == []
    assert status.app_status(host.app)["restarts"] == 1


def test_units_that_are_not_as_they_were_written(host: FakeHost, tmp_path: Path):
    drop_in = tmp_path / "override.conf"
    drop_in.write_text("[Service]\n# A comment=\nProtectSystem=no\nNoNewPrivileges = no\n")
    shipped = "/usr/lib/systemd/system/service.d/10-timeout.conf"
    host.units = [LIVE | {"DropInPaths": f"{shipped} {drop_in}", "NeedDaemonReload": "yes"}]
    assert host.problems() == [
        f"shop-green.service is changed by {drop_in} (NoNewPrivileges, ProtectSystem)",
        "shop-green.service was changed on disk, and systemd has not read it: run systemctl daemon-reload",
    ]
    host.units = [LIVE | {"FragmentPath": "/run/systemd/transient/shop-green.service"}]
    assert host.problems() == ["shop-green.service is replaced by /run/systemd/transient/shop-green.service"]


def test_processes_of_the_app_count_and_those_of_others_do_not(host: FakeHost):
    sick = {"ActiveState": "failed"}
    host.units = [
        LIVE,
        LIVE | sick | {"Id": "shop-worker@1.service"},
        LIVE | sick | {"Id": "shop-blue.service"},
        LIVE | sick | {"Id": "shop-admin-green.service", "User": "shop-admin"},
    ]
    assert host.problems() == ["shop-worker@1.service has failed: see journalctl --unit shop-worker@1.service"]


def test_a_link_that_names_another_release_than_the_one_that_serves(host: FakeHost):
    host.units = [LIVE | {"Environment": "FLASK_OPS_RELEASE=r1 FLASK_OPS_SLOT=green"}]
    assert host.problems() == [f"{host.app['paths']['current']} names release r2, but green serves r1: run site"]


def test_a_release_that_is_gone(host: FakeHost):
    (host.release / ".complete").unlink()
    assert host.problems() == [f"the live release {host.release} is not there, or not complete"]


def test_files_of_the_live_release_that_somebody_edited(host: FakeHost):
    before = NOW - 1000
    os.utime(host.release / ".complete", (before, before))
    assert problems.edited_files(str(host.release)) == []  # an archive may hold times of the future
    time.sleep(0.02)
    for name in ("app/b.py", "app/a.py", "app/c.pyc", "static/a.css", "app/d.py"):
        (host.release / name).write_text("changed")
    assert host.problems() == [
        "files of the live release were changed by hand: app/a.py, app/b.py, app/d.py and 1 more"
    ]


def test_a_user_with_more_groups_than_its_own(host: FakeHost, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(problems, "extra_groups", lambda user: ["docker", "sudo"])
    assert host.problems() == ["its user is also in docker, sudo, and may do what these groups may"]


@pytest.mark.parametrize(
    ("days", "self_signed", "problem"),
    [
        (52, False, None),
        (13, False, "its certificate expires in 13 days, and should have been renewed"),
        (13, True, None),
        (-1, True, "its certificate has expired on 2025-11-24 16:00 UTC"),
    ],
)
def test_a_certificate_that_ends_soon(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch, days: int, self_signed: bool, problem: str | None
):
    known = {"issuer": "CA", "self_signed": self_signed, "expires": 1764000000, "days_left": days}
    monkeypatch.setattr(problems, "certificate", lambda served: known)
    assert host.problems() == ([problem] if problem else [])


def test_a_certificate_is_described(monkeypatch: pytest.MonkeyPatch):
    known = X509("0A", NOW + 2.5 * 86400, "CA", self_signed=True)
    monkeypatch.setattr(problems.X509, "read", lambda _served: known)
    assert problems.certificate(b"x") == {"issuer": "CA", "self_signed": True, "expires": known.expires, "days_left": 2}


def test_what_is_no_certificate_is_none():
    assert problems.certificate(b"x") is None


# --- the host ------------------------------------------------------------------------------------------------------


@pytest.fixture
def nginx(monkeypatch: pytest.MonkeyPatch):
    def given(state: str = "active", refusal: str = "") -> list[str]:
        def run(argv: list[str], timeout: int) -> str:
            if refusal:
                raise CommandError(refusal)
            return ""

        monkeypatch.setattr(problems.os.path, "exists", lambda path: True)
        monkeypatch.setattr(status, "units", lambda name: [LIVE | {"Id": name, "ActiveState": state}])
        monkeypatch.setattr(problems, "run", run)
        return problems.nginx_problems()

    return given


def test_an_nginx_that_runs_with_what_is_on_disk_is_no_problem(nginx):
    assert nginx() == []


def test_an_nginx_that_does_not_run(nginx):
    assert nginx(state="inactive") == ["nginx.service is inactive: no app can be reached"]


def test_a_broken_file_of_somebody_else_is_named_while_nginx_still_serves(nginx):
    said = (
        "'nginx -t -q' exited with status 1:\n2026/11/29 13:50:03 [emerg] 71#71: unknown directive "
        '"lisen" in /etc/nginx/conf.d/mine.conf:3\nnginx: configuration file /etc/nginx/nginx.conf test failed'
    )
    (problem,) = nginx(refusal=said)
    assert problem.endswith(' fail: unknown directive "lisen" in /etc/nginx/conf.d/mine.conf:3')


def device(**changes: int) -> os.statvfs_result:
    names = "f_bsize f_frsize f_blocks f_bfree f_bavail f_files f_ffree f_favail f_flag f_namemax".split()
    values = dict.fromkeys(names, 0) | {"f_blocks": 100, "f_bavail": 50, "f_files": 100, "f_favail": 50} | changes
    return os.statvfs_result([values[name] for name in names])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"f_bavail": 10}, None),
        ({"f_bavail": 9}, "the file system of /srv/shop has 9% of its space left"),
        ({"f_bavail": 0}, "the file system of /srv/shop has 0% of its space left"),
        ({"f_favail": 1}, "the file system of /srv/shop has 1% of its inodes left"),
        ({"f_files": 0, "f_favail": 0}, None),  # btrfs
    ],
)
def test_a_file_system_that_is_nearly_full(monkeypatch: pytest.MonkeyPatch, changes: dict, problem: str | None):
    monkeypatch.setattr(problems, "file_systems", lambda paths: {"/srv/shop": device(**changes)})
    assert problems.host_problems([], nginx=False) == ([problem] if problem else [])


def test_each_file_system_counts_once(tmp_path: Path):
    assert list(problems.file_systems([str(tmp_path), str(tmp_path), "/no/such/path"])) == [str(tmp_path)]


def test_an_app_that_is_live_and_in_no_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("shop", "gone", "idle"):
        (tmp_path / name / "green").mkdir(parents=True)
        if name != "idle":
            (tmp_path / name / "current").symlink_to("green")
    links = sorted(map(str, tmp_path.glob("*/current")))
    monkeypatch.setattr(problems.glob, "glob", lambda pattern: links)
    monkeypatch.setattr(problems, "file_systems", lambda paths: {})
    assert problems.host_problems([], ["shop"], nginx=False) == [
        "gone is live on this host, but not in flask_apps: list it with state: absent to remove it"
    ]
    assert problems.host_problems([], [], nginx=False) == []


# --- what is read --------------------------------------------------------------------------------------------------


def test_units_are_read_also_where_a_property_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        status, "systemctl", lambda *words: "Id=a.service\nEnvironment=A=1 B=2\n\nId=b.service\nMainPID=7\n"
    )
    first, second = status.units("x")
    assert (first["Id"], first["Environment"], first["MainPID"]) == ("a.service", "A=1 B=2", "")
    assert (second["Id"], second["MainPID"]) == ("b.service", "7")


def test_only_the_masters_own_lines_count(monkeypatch: pytest.MonkeyPatch):
    """A worker, which is the app, could write the same words."""
    ran: list[list[str]] = []

    def run(argv: list[str], timeout: int) -> str:
        ran.append(argv)
        return "Worker (pid:7) exited with code 3.\n"

    monkeypatch.setattr(status, "run", run)
    assert status.worker_deaths(LIVE | {"MainPID": "71"}) == ["Worker (pid:7) exited with code 3"]
    assert ran[0][-2:] == ["_SYSTEMD_UNIT=shop-green.service", "_PID=71"]
    assert status.worker_deaths(LIVE) == []
    assert len(ran) == 1


@pytest.mark.parametrize(
    ("lines", "version"),
    [
        ("source.git: https://git\nsource.version: v1.5.0\nrevision: 3f2c9a1b7d20aa\n", "v1.5.0 (3f2c9a1b7d20)"),
        ("source.pypi: httpbin==0.10.2\nrevision: 0.10.2\n", "httpbin==0.10.2"),
        ("source.path: /home/me/shop\nrevision: 3f2c9a1b7d20aa\n", "/home/me/shop (3f2c9a1b7d20)"),
        ("source.git: https://git\nrevision: 3f2c9a1b7d20aa\n", "3f2c9a1b7d20"),
        ("", None),
    ],
)
def test_the_version_is_the_one_that_people_know(tmp_path: Path, lines: str, version: str | None):
    (tmp_path / "REVISION").write_text(lines)
    assert status.version_of(str(tmp_path)) == version


def test_a_release_without_its_revision_has_no_version(tmp_path: Path):
    assert status.version_of(str(tmp_path)) is None


def test_the_screen_has_a_line_for_each_fact_and_problem(host: FakeHost):
    host.through_nginx = None
    found = problems.inspect(host.app) | {"seconds": 0.012}
    found["certificate"] = {"issuer": "CA", "self_signed": False, "expires": 1764000000, "days_left": 52}
    assert report.lines_of(found, APP, ["2026-11-23 18:36 UTC ok: r1 to r2"])[1:] == [
        "  GET /healthz: 200 in 0.012 s, through nginx: nothing listens",
        "  certificate: by CA, until 2025-11-24 16:00 UTC, 52 days left",
        "  deploy: 2026-11-23 18:36 UTC ok: r1 to r2",
        "  PROBLEM: nginx does not answer for it: GET /healthz gave nothing listens",
    ]


def test_processes_that_are_much_younger_than_their_service_were_replaced():
    with subprocess.Popen(["sleep", "60"]) as child:
        unit = LIVE | {"MainPID": str(os.getpid()), "ActiveEnterTimestamp": f"@{time.time() - 1000}"}
        count = status.workers_replaced(unit)
        assert status.workers_replaced(unit | {"ActiveEnterTimestamp": f"@{time.time()}"}) == 0
        assert status.workers_replaced(unit | {"Id": "shop-digest.service"}) == 0
        child.kill()
        child.wait()
        assert status.workers_replaced(unit) == count - 1
