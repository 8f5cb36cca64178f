"""The units, the gunicorn configuration and the environment of an app."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import logging.config
import os
import re
import socket
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._host.sandbox import SANDBOX, STRICT
from gunicorn.config import Config  # type: ignore[import-untyped]
from gunicorn.workers.gthread import TConn  # type: ignore[import-untyped]

from tests.unit.systemd_syntax import read_by_systemd
from tests.unit.templates.rendering import lines, published, render


def directives(text: str) -> dict[str, list[tuple[str, str]]]:
    """A unit's directives by section."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for line in lines(text):
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), [])
        else:
            name, _, value = line.partition("=")
            section.append((name, value))
    return sections


def service(debian: str = "13", **overrides: Any) -> list[tuple[str, str]]:
    return directives(render("slot.service.j2", debian, **overrides))["Service"]


def gunicorn(**overrides: Any) -> dict[str, Any]:
    """gunicorn's settings, read as gunicorn reads them."""
    settings: dict[str, Any] = {}
    exec(render("server.conf.py.j2", **overrides), settings)  # noqa: S102  (it is Python, and gunicorn does the same)
    return settings


# --- the units ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "directive",
    [
        ("Type", "notify"),
        ("User", "shop"),
        ("Group", "shop"),
        ("WorkingDirectory", "/srv/shop/r1/app"),
        ("ExecStart", "/srv/shop/r1/venv/bin/gunicorn --config /etc/flask-ops/shop/green/gunicorn.conf.py"),
        ("EnvironmentFile", "/etc/flask-ops/shop/green/environment"),
        ("Environment", "PATH=/srv/shop/r1/venv/bin:/usr/bin:/bin"),
        ("Environment", "FLASK_OPS_RELEASE=r1"),
        ("Environment", "FLASK_OPS_VERSION=v1.4.2"),
        ("Environment", "FLASK_OPS_SLOT=green"),
        ("Environment", "FLASK_OPS_WORKERS=3"),
        ("KillMode", "mixed"),
        ("Restart", "always"),
        ("TimeoutStopSec", "35"),
    ],
)
def test_the_service_says(directive: tuple[str, str]):
    assert directive in service()


async def served_by(wrap: Any, scope: dict[str, Any]) -> dict[str, Any]:
    """What an ASGI app sees of a scope."""
    seen: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], _receive: Any, _send: Any) -> None:
        seen.append(scope)

    await wrap(app)(scope, None, None)
    return seen[0]


@pytest.mark.parametrize(
    ("kind", "headers", "client", "server"),
    [
        ("http", {"host": "a.example", "x-forwarded-for": "192.0.2.7", "x-forwarded-port": "443"}, "192.0.2.7", ("a.example", 443)),
        ("websocket", {"host": "a.example:8443", "x-forwarded-for": "2001:db8::1", "x-forwarded-port": "8443"}, "2001:db8::1", ("a.example", 8443)),
        ("http", {"host": "[2001:db8::2]:80"}, "127.0.0.1", ("2001:db8::2", 80)),
        ("http", {}, "127.0.0.1", ("", 80)),
        ("http", {"host": "a.example", "x-forwarded-port": "x"}, "127.0.0.1", ("a.example", 80)),
    ],
)  # fmt: skip
def test_an_asgi_app_knows_its_client_and_its_name(
    kind: str, headers: dict[str, str], client: str, server: tuple[str, int]
):
    scheme = {"http": "http", "websocket": "wss"}[kind]
    scope: dict[str, Any] = {"type": kind, "scheme": scheme, "client": None, "server": ("/", "r")}
    scope["headers"] = [(name.encode(), value.encode()) for name, value in headers.items()]
    seen = asyncio.run(served_by(gunicorn(worker_class="asgi")["behind_nginx"], scope))
    assert (seen["client"], seen["server"], seen["scheme"]) == ((client, 0), server, scheme)
    assert scope["client"] is None


def test_the_life_of_an_asgi_app_is_not_touched_and_gunicorn_serves_what_is_wrapped():
    scope = {"type": "lifespan", "asgi": {}}
    settings = gunicorn(worker_class="asgi")
    assert asyncio.run(served_by(settings["behind_nginx"], scope)) is scope
    worker = SimpleNamespace(asgi=print)
    settings["post_worker_init"](worker)
    assert worker.asgi is not print
    assert "post_worker_init" not in gunicorn()


@pytest.mark.parametrize(
    ("block", "section"), [("unit", "Unit"), ("service", "Service"), ("sandbox", "Service"), ("install", "Install")]
)
def test_a_template_of_the_user_overrides_blocks_of_a_service(block: str, section: str, tmp_path: Path):
    mine = tmp_path / "mine.service.j2"
    added = f"{{% block {block} %}}\n{{{{ super() }}}}X-Mine={{{{ slot.name }}}}\n{{% endblock %}}\n"
    mine.write_text("{% extends 'slot.service.j2' %}\n" + added)
    text = render("slot.service.j2", extended_by=str(mine))
    assert directives(text)[section].count(("X-Mine", "green")) == 1
    assert text.replace("X-Mine=green\n", "") == render("slot.service.j2")


def test_code_is_never_changed_by_a_reload():
    assert "ExecReload" not in dict(service())


def test_systemd_waits_longer_than_gunicorn():
    assert ("TimeoutStopSec", "65") in service(graceful_timeout=60)
    assert gunicorn(graceful_timeout=60)["graceful_timeout"] == 60


@pytest.mark.parametrize(("deadline", "seconds"), [(5, "90"), (300, "300")])
def test_a_start_may_take_as_long_as_the_health_check_waits(deadline: int, seconds: str):
    assert ("TimeoutStartSec", seconds) in service(health={"path": "/", "deadline": deadline})


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """How each connection of gthread's was closed; every time, somebody else has closed its socket already."""
    calls: list[bool] = []

    def close(connection: TConn, graceful: bool = False) -> None:
        calls.append(graceful)
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(TConn, "close", close)
    return calls


def test_a_socket_that_a_websocket_library_has_closed_is_no_error_in_gthread(closed: list[bool]):
    gunicorn()
    connection = TConn.__new__(TConn)
    connection.close(graceful=True)
    connection.close()
    assert closed == [True, False]


def test_other_worker_classes_are_left_as_they_are(closed: list[bool]):
    gunicorn(worker_class="sync")
    with pytest.raises(OSError, match="Bad file descriptor"):
        TConn.__new__(TConn).close()


def test_the_whole_sandbox_is_in_the_service_and_nothing_takes_it_back():
    found = service()
    start = found.index(SANDBOX[0])
    assert found[start : start + len(SANDBOX)] == list(SANDBOX)
    assert found[start + len(SANDBOX) :] == [("LimitNOFILE", "8192"), ("ReadWritePaths", "-/srv/shop/shared")]
    names = [name for name, _ in found[:start]]
    assert not set(names) & dict(SANDBOX).keys()


def test_a_strict_sandbox_has_more_and_each_directive_can_be_left_out():
    strict = service(sandbox={"strict": True})
    assert set(STRICT) <= set(strict)
    assert [value for name, value in strict if name == "RestrictAddressFamilies"] == ["AF_UNIX"]
    without = ["MemoryDenyWriteExecute", "ProcSubset"]
    left = dict(service(sandbox={"strict": True, "without": without}))
    assert set(dict(strict)) - set(left) == set(without)
    assert not set(STRICT) & set(service())


def test_a_bad_hour_locks_no_app_out():
    assert ("StartLimitIntervalSec", "0") in directives(render("slot.service.j2"))["Unit"]


@pytest.mark.parametrize(
    ("debian", "expected"),
    [
        ("12", {"RestartSec": "500ms"}),
        ("13", {"RestartSec": "100ms", "RestartSteps": "6", "RestartMaxDelaySec": "5s"}),
    ],
)
def test_restarts_back_off_where_systemd_can(debian: str, expected: dict[str, str]):
    found = {name: value for name, value in service(debian=debian) if name.startswith("Restart") and name != "Restart"}
    found.pop("RestrictAddressFamilies", None)
    assert found == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"TasksMax": "512", "LimitNOFILE": "8192"}),
        ({"workers": 8, "threads": 63}, {"TasksMax": "1024"}),
        ({"workers": 64, "worker_class": "sync"}, {"TasksMax": "512"}),
        ({"limits": {"tasks": 100, "open_files": 1024}}, {"TasksMax": "100", "LimitNOFILE": "1024"}),
        ({"limits": {"memory_high": 400, "memory_max": 500}}, {"MemoryHigh": "400M", "MemoryMax": "500M"}),
        ({"limits": {"cpu_quota": 150, "cpu_weight": 50}}, {"CPUQuota": "150%", "CPUWeight": "50"}),
        ({"limits": {"memory_high": 400}}, {"MemoryHigh": "400M", "MemoryMax": "infinity"}),
        ({}, {"OOMPolicy": "continue", "OOMScoreAdjust": "500", "MemoryMax": "50%"}),
    ],
)
def test_the_limits_of_a_slot(options: dict[str, Any], expected: dict[str, str]):
    directives = service(**options)
    assert {name: value for name, value in directives if name in expected} == expected
    for name in expected:
        assert [key for key, _ in directives].count(name) == 1


def test_what_is_not_limited_is_not_mentioned():
    assert not {"MemoryHigh", "CPUQuota", "CPUWeight"} & dict(service()).keys()


def test_shared_memory_is_bounded_and_the_apps_own():
    assert ("TemporaryFileSystem", "/dev/shm:size=25%,mode=1777") in service()


def test_temporary_files_are_on_the_disk():
    assert ("Environment", "TMPDIR=/var/tmp") in service()


def test_log_files_have_a_directory_of_the_apps_own():
    assert ("LogsDirectory", "flask-ops/shop") in service(logs={"to": "files"})
    assert "LogsDirectory" not in dict(service())


def test_what_prometheus_measured_is_gone_whenever_a_slot_stops():
    measured = service(metrics={"prometheus": True})
    assert ("TemporaryFileSystem", "/run/flask-ops-metrics:size=10%,mode=1777") in measured
    assert ("Environment", "PROMETHEUS_MULTIPROC_DIR=/run/flask-ops-metrics") in measured
    assert "RuntimeDirectory" not in dict(measured)
    assert "flask-ops-metrics" not in str(service())


def test_waitress_is_started_by_the_environments_python():
    found = service(server="waitress")
    assert ("ExecStart", "/srv/shop/r1/venv/bin/python /etc/flask-ops/shop/green/waitress.conf.py") in found
    assert ("Type", "exec") in found


def test_the_service_needs_its_own_slots_socket():
    unit = dict(directives(render("slot.service.j2"))["Unit"])
    assert unit["Requires"] == "shop-green.socket"
    assert "shop-green.socket" in unit["After"].split()


def test_only_nginx_reaches_the_socket():
    socket = dict(directives(render("slot.socket.j2"))["Socket"])
    assert socket["ListenStream"] == "/run/flask-ops/shop/green/1.sock"
    assert socket["Backlog"] == "1024"
    assert (socket["SocketUser"], socket["SocketGroup"], socket["SocketMode"]) == ("root", "www-data", "0660")


def test_each_instance_has_a_socket_and_a_worker_of_its_own():
    sockets = directives(render("slot.socket.j2", instances=3))["Socket"]
    paths = [f"/run/flask-ops/shop/green/{instance}.sock" for instance in (1, 2, 3)]
    assert [value for key, value in sockets if key == "ListenStream"] == paths
    conf = gunicorn(instances=3)
    assert conf["workers"] == 3
    server = SimpleNamespace(LISTENERS=["a", "b", "c"], WORKERS={})
    for process in range(3):
        worker = SimpleNamespace(sockets=server.LISTENERS)
        conf["pre_fork"](server, worker)
        server.WORKERS[process] = worker
    assert [worker.sockets for worker in server.WORKERS.values()] == [["a"], ["b"], ["c"]]
    # The one that comes for a dead one takes the place of that one; a fourth, by SIGTTIN, helps the first.
    del server.WORKERS[1]
    for process, expected in ((3, ["b"]), (4, ["a"])):
        worker = SimpleNamespace(sockets=server.LISTENERS)
        conf["pre_fork"](server, worker)
        server.WORKERS[process] = worker
        assert worker.sockets == expected


def test_workers_of_one_instance_share_its_socket():
    assert "pre_fork" not in gunicorn(workers=3)


def test_both_units_start_at_boot_once_they_are_enabled():
    assert directives(render("slot.service.j2"))["Install"] == [("WantedBy", "multi-user.target")]
    assert directives(render("slot.socket.j2"))["Install"] == [("WantedBy", "sockets.target")]


def test_after_a_reboot_the_link_comes_back_to_this_slot():
    assert lines(render("tmpfiles.conf.j2")) == [
        "d /run/flask-ops 0755 root root",
        "d /run/flask-ops/shop 0750 root www-data",
        "d /run/flask-ops/shop/blue 0750 root www-data",
        "d /run/flask-ops/shop/green 0750 root www-data",
        "L+ /run/flask-ops/shop/current - - - - green",
    ]


# --- what others get -----------------------------------------------------------------------------------------------------


def test_each_apps_environment_gets_what_its_server_needs_with_hashes():
    needed = published(
        "gunicorn_systemd",
        "gunicorn_systemd_requirements",
        {"name": "shop"},
        {"name": "chat", "worker_class": "gevent"},
        {"name": "tool", "server": "waitress"},
        {"name": "old", "state": "absent"},
    )
    names = {app: [line.split("==")[0] for line in lines] for app, lines in needed.items()}
    gevent = ["greenlet", "zope-event", "zope-interface", "packaging", "gevent"]
    assert names == {"shop": ["gunicorn"], "chat": ["gunicorn", *gevent], "tool": ["waitress"]}
    assert all(
        re.fullmatch(r"\S+==\S+( --hash=sha256:[0-9a-f]{64})+", line) for lines in needed.values() for line in lines
    )


def test_the_log_files_of_the_switch_and_of_apps_that_chose_files_are_rotated():
    deploys, shop, *gone = published(
        "gunicorn_systemd",
        "gunicorn_systemd_log_rotation",
        {"name": "shop", "logs": {"to": "files"}},
        {"name": "chat"},
        {"name": "old", "state": "absent", "logs": {"to": "files"}},
    )
    assert deploys == {
        "name": "flask-ops-deploys", "paths": ["/var/log/flask-ops/deploys.jsonl"], "owner": "root", "group": "adm",
        "mode": "0640",
    }  # fmt: skip
    assert shop == {
        "name": "shop", "state": "present", "paths": ["/var/log/flask-ops/shop/access.log", "/var/log/flask-ops/shop/error.log"],
        "owner": "shop", "group": "shop", "mode": "0640", "su": True, "unit": "shop-blue.service shop-green.service",
        "signal": "USR1",
    }  # fmt: skip
    assert [(log["name"], log["state"]) for log in gone] == [("chat", "absent"), ("old", "absent")]


# --- gunicorn ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"worker_class": "gthread", "threads": 8, "workers": 3, "timeout": 30, "graceful_timeout": 30}),
        ({"threads": 4}, {"threads": 4, "worker_connections": 64}),
        ({}, {"worker_connections": 96}),
        ({"worker_class": "gevent"}, {"worker_class": "gevent", "threads": 1, "workers": 3}),
        ({"worker_class": "asgi", "preload": True}, {"worker_class": "asgi", "workers": 3, "preload_app": True}),
        ({"limits": {"memory_max": 256}}, {"workers": 2}),
        ({"metrics": {"statsd": "127.0.0.1:8125"}}, {"statsd_host": "127.0.0.1:8125", "statsd_prefix": "shop"}),
        ({}, {"preload_app": False}),
        ({"worker_class": "sync"}, {"worker_class": "sync", "threads": 1, "workers": 5}),
        ({"workers": 3, "timeout": 90}, {"workers": 3, "timeout": 90}),
        ({}, {"control_socket_disable": True, "worker_tmp_dir": "/dev/shm", "proc_name": "shop-green"}),
    ],
)
def test_the_settings_of_gunicorn(options: dict[str, Any], expected: dict[str, Any]):
    settings = gunicorn(**options)
    assert {name: settings[name] for name in expected} == expected


def test_nginx_closes_idle_connections_long_before_gunicorn_does():
    seconds = re.search(r"upstream shop \{[^}]*\n    keepalive_timeout (\d+)s;", render("site.conf.j2"))
    assert seconds
    assert int(seconds.group(1)) * 2 < gunicorn()["keepalive"]


def test_a_worker_has_room_for_all_that_nginx_may_keep_and_for_what_its_threads_do():
    kept = re.search(r"upstream shop \{[^}]*\n    keepalive (\d+);", render("site.conf.j2"))
    settings, processors = gunicorn(), 2
    assert kept
    assert settings["worker_connections"] >= int(kept[1]) * processors + settings["threads"]


def test_only_threads_have_a_queue_in_their_worker():
    assert all("worker_connections" not in gunicorn(worker_class=other) for other in ("sync", "gevent", "asgi"))


def test_gunicorn_binds_nothing_because_systemd_hands_it_the_socket():
    assert "bind" not in gunicorn()


@pytest.mark.parametrize("wsgi", ["shop:app", "shop:create_app('x', \"y\\z\")", 'a.zün:app("""%s)', "a:b(%s, {0})"])
def test_what_gunicorn_serves_arrives_as_it_is(wsgi: str):
    assert gunicorn(wsgi=wsgi)["wsgi_app"] == wsgi


# --- the logs ----------------------------------------------------------------------------------------------------------------

ATOMS = {
    "{x-forwarded-for}i": "192.0.2.7", "m": "GET", "{raw_uri}e": "/a%0ab?token=canary", "s": "200", "B": 12, "D": 34_000,
    "a": 'a \\"browser\\"\n', "f": "https://x/?token=canary", "{cookie}i": "canary",
}  # fmt: skip


def logged(name: str, message: str, arguments: Any, error: Exception | None = None, **logs: Any) -> str:
    """A line as the handler of gunicorn's configuration writes it."""
    settings = gunicorn(logs=logs)
    settings["request_id"].set("0123abcd")
    formatter = settings["LOGGING"]["formatters"]["access" if name == "gunicorn.access" else "line"]["()"]()
    trace = (type(error), error, None) if error else None
    return formatter.format(logging.LogRecord(name, logging.INFO, "x.py", 1, message, arguments, trace))


def test_a_line_of_the_access_log_is_one_line_with_the_requests_id_and_no_secret():
    line = logged("gunicorn.access", "%(r)s", (ATOMS,))
    assert re.fullmatch(
        r"\S+\+00:00 \[\d+\] \[INFO\] 0123abcd 192\.0\.2\.7 GET /a%0ab 200 12 0\.034 a%20\"browser\"%20", line
    )
    entry = json.loads(logged("gunicorn.access", "%(r)s", (ATOMS,), format="json"))
    assert entry.pop("process")
    assert entry.pop("time").endswith("+00:00")
    assert entry == {
        "level": "INFO", "logger": "gunicorn.access", "request_id": "0123abcd", "client": "192.0.2.7", "method": "GET",
        "path": "/a%0ab", "status": "200", "bytes": 12, "seconds": 0.034, "agent": 'a "browser"\n',
    }  # fmt: skip


def test_an_error_bears_the_requests_id_and_its_trace():
    assert re.fullmatch(
        r"\S+ \[\d+\] \[INFO\] 0123abcd broke at 7\nValueError: bad",
        logged("gunicorn.error", "broke at %s", (7,), ValueError("bad")),
    )
    assert "canary" not in logged("gunicorn.error", "Error handling request GET %s", ("/a?token=canary",))
    entry = json.loads(logged("shop", "broke at %s", (7,), ValueError("bad"), format="json"))
    assert (entry["message"], entry["exception"], entry["request_id"]) == (
        "broke at 7",
        "ValueError: bad",
        "0123abcd",
    )


@pytest.mark.parametrize(
    ("logs", "root", "access"),
    [
        ({"access": True}, ["journal"], "logging.StreamHandler"),
        ({"to": "files", "access": True}, ["journal", "error_file"], "/var/log/flask-ops/shop/access.log"),
        ({}, ["journal"], "logging.NullHandler"),
        ({"to": "files"}, ["journal", "error_file"], "logging.NullHandler"),
    ],
)
def test_errors_are_in_the_journal_in_any_case(logs: dict[str, Any], root: list[str], access: str):
    settings = gunicorn(logs=logs)["logconfig_dict"]
    assert settings["root"]["handlers"] == root
    assert settings["loggers"]["gunicorn.error"]["propagate"]
    handler = settings["handlers"]["access"]
    assert handler.get("filename", handler.get("class")) == access


@pytest.mark.parametrize(
    "place", ["nothing", "dangling link", "link", "loop", "fifo", "socket", "directory", "no directory"]
)
@pytest.mark.parametrize("access", [True, False])
def test_whatever_an_app_puts_in_place_of_its_log_files_its_slots_start(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], place: str, access: bool
):
    """Nor is a link followed: the lines go to the journal."""
    other = tmp_path / "other"
    logs = tmp_path / "logs"
    logs.mkdir()
    paths = [logs / "access.log", logs / "error.log"]
    for path in paths:
        if place == "link":
            other.write_text("")
            path.symlink_to(other)
        elif place == "dangling link":
            path.symlink_to("/nowhere/at/all")
        elif place == "loop":
            path.symlink_to(path)
        elif place == "fifo":
            os.mkfifo(path)
        elif place == "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(path))
        elif place == "directory":
            path.mkdir()
    if place == "no directory":
        logs.rmdir()
    text = render("server.conf.py.j2", logs={"to": "files", "access": access})
    settings: dict[str, Any] = {}
    exec(text.replace("/var/log/flask-ops/shop", str(logs)), settings)  # noqa: S102
    handlers = dict(vars(logging.root))
    try:
        logging.config.dictConfig(settings["LOGGING"])
        logging.getLogger("gunicorn.access").info("%(r)s", ATOMS)
        logging.getLogger("gunicorn.error").error("broke")
        for handler in [*logging.root.handlers, *logging.getLogger("gunicorn.access").handlers]:
            handler.close()
    finally:
        logging.root.handlers = handlers["handlers"]
    errors = capfd.readouterr().err
    assert errors.count("broke") == 1
    if place == "nothing":
        assert "broke" in paths[1].read_text()
        assert not access or "/a%0ab" in paths[0].read_text()
        assert paths[1].stat().st_mode & 0o7137 == 0
        return
    assert errors.count("/a%0ab") == access
    assert errors.count("Its lines go to the journal") == 1 + access
    assert not other.exists() or other.read_text() == ""


@pytest.mark.parametrize(
    ("options", "gathered"),
    [({}, False), ({"logs": {"access": True}}, True), ({"metrics": {"statsd": "127.0.0.1:8125"}}, True)],
)
def test_facts_of_a_request_are_gathered_only_if_something_is_to_be_said(options: dict[str, Any], gathered: bool):
    config = Config()
    for name, value in gunicorn(**options).items():
        if name in config.settings:
            config.set(name, value)
    config.set("errorlog", os.devnull)
    log, response = config.logger_class(config), Asked()
    with contextlib.suppress(AttributeError):  # what is asked of it first
        log.access(response, response, {}, timedelta(0))
    assert response.asked is gathered


class Asked:
    """Knows whether it was asked anything."""

    asked = False

    def __getattr__(self, name: str) -> Any:
        self.asked = True
        raise AttributeError(name)


def test_waitress_logs_in_the_same_way():
    text = render("server.conf.py.j2", server="waitress", logs={"format": "json"})
    compile(text, "waitress.conf.py", "exec")
    assert "json.dumps(" in text


# --- the environment ------------------------------------------------------------------------------------------------------------


def test_the_environment_holds_variables_and_secrets_as_they_were_given():
    awkward = "a 'b' \"c\" \\ $d `e` %h #f;"
    text = render("environment.j2", env={"B": 1, "A": True, "TEXT": awkward}, secrets={"KEY": awkward})
    given = {name: value for name, value in read_by_systemd(text).items() if not name.startswith("FLASK_")}
    assert given == {"A": "true", "B": "1", "KEY": awkward, "TEXT": awkward}


def test_flask_gets_what_production_needs_as_it_reads_it():
    """As from_prefixed_env reads it: JSON where it is JSON, else a text."""
    read = read_by_systemd(render("environment.j2"))
    assert json.loads(read["FLASK_SESSION_COOKIE_SECURE"]) is True
    assert json.loads(read["FLASK_SESSION_COOKIE_HTTPONLY"]) is True
    assert json.loads(read["FLASK_DEBUG"]) == 0
    assert read["FLASK_SESSION_COOKIE_SAMESITE"] == "Lax"
    assert read["FLASK_PREFERRED_URL_SCHEME"] == "https"


def test_the_apps_variables_override_those_of_production():
    text = render(
        "environment.j2",
        env={"FLASK_SESSION_COOKIE_SAMESITE": "Strict"},
        secrets={"FLASK_TRUSTED_HOSTS": '["x.example.com"]'},
    )
    read = read_by_systemd(text)
    assert (read["FLASK_SESSION_COOKIE_SAMESITE"], read["FLASK_TRUSTED_HOSTS"]) == ("Strict", '["x.example.com"]')


def test_an_app_at_a_path_gets_it_for_its_urls_and_its_cookies():
    read = read_by_systemd(render("environment.j2", path="/admin"))
    assert (read["SCRIPT_NAME"], read["FLASK_APPLICATION_ROOT"]) == ("/admin", "/admin")
    assert read_by_systemd(render("environment.j2", path="/admin", env={"SCRIPT_NAME": ""}))["SCRIPT_NAME"] == ""
    assert not {"SCRIPT_NAME", "FLASK_APPLICATION_ROOT"} & read_by_systemd(render("environment.j2")).keys()


@pytest.mark.parametrize(
    ("template", "server", "line"),
    [
        ("server.conf.py.j2", {"worker_class": "asgi"}, 'root_path = os.environ.get("SCRIPT_NAME", "")'),
        ("server.conf.py.j2", {"server": "waitress"}, 'url_prefix=os.environ.get("SCRIPT_NAME", ""),'),
    ],
)
def test_servers_that_do_not_read_the_path_themselves_are_given_it(template: str, server: dict[str, Any], line: str):
    text = render(template, **server)
    assert line in lines(text)
    assert "import os" in lines(text)


def test_secrets_are_in_the_environment_or_in_the_credentials():
    secrets = {"TOKEN": "canary", "N": 1}
    for where, others in (("environment", {}), ("credentials", {"secrets.json": secrets})):
        environment = render("environment.j2", secrets=secrets, secrets_in=where)
        assert ("TOKEN" in environment) == (where == "environment")
        files = json.loads(render("credentials.json.j2", secrets=secrets, secrets_in=where))
        assert {name: json.loads(text) for name, text in files.items()} == others
        unit = lines(render("slot.service.j2", secrets_in=where))
        loaded = "LoadCredential=secrets.json:/etc/flask-ops/shop/green/credentials/secrets.json"
        assert (loaded in unit) == (where == "credentials")


@pytest.mark.parametrize("where", ["environment", "credentials"])
def test_secret_files_are_credentials_wherever_the_secrets_are(where: str):
    given = {"google.json": '{"a": "{{ b }}"}\n', "client.pem": "-----BEGIN KEY-----\r\nä\n"}
    of_secrets = {"secrets.json": '{"TOKEN": "canary"}'} if where == "credentials" else {}
    text = render("credentials.json.j2", secrets={"TOKEN": "canary"}, secret_files=given, secrets_in=where)
    assert json.loads(text) == {**of_secrets, **given}
    assert "BEGIN" not in render("environment.j2", secret_files=given, secrets_in=where)
    # Of the values, units know nothing.
    for template, directory in (
        ("slot.service.j2", "/etc/flask-ops/shop/green/credentials"),
        ("process.service.j2", "/etc/flask-ops/shop/processes/digest/credentials"),
    ):
        unit = lines(render(template, secrets_in=where, secret_files=given))
        assert [line for line in unit if line.startswith("LoadCredential=")] == [
            f"LoadCredential={name}:{directory}/{name}" for name in [*of_secrets, "client.pem", "google.json"]
        ]


def test_the_environment_does_not_depend_on_the_domains_so_that_a_new_one_needs_no_switch():
    assert render("environment.j2", domains=["a.example.com"]) == render("environment.j2", domains=["b.example.com"])


def test_an_app_is_checked_through_nginx_if_its_site_changed_or_its_switch_was_not_checked():
    apps = [{"name": name} for name in ("aa", "bb", "cc", "dd")]
    slots = {
        "apps": {"aa": {"checked": True}, "bb": {"checked": False}, "cc": {"checked": True}},
        "failures": {"dd": "dd: no"},
    }
    known = {"__gunicorn_systemd_slots": slots, "gunicorn_systemd_probed_apps": ["cc", "dd"]}
    unchecked = published("gunicorn_systemd", "__gunicorn_systemd_unchecked", *apps, **known)
    assert [app["name"] for app in unchecked] == ["bb", "cc"]
    probe = {"__gunicorn_systemd_probe": {"failures": {"bb": "bb: no"}}}
    assert published("gunicorn_systemd", "gunicorn_systemd_failures", *apps, **known, **probe) == {
        "bb": "bb: no",
        "dd": "dd: no",
    }
    skipped = {"__gunicorn_systemd_probe": {"skipped": True}}
    assert published("gunicorn_systemd", "gunicorn_systemd_failures", *apps, **known, **skipped) == {"dd": "dd: no"}
    assert published("gunicorn_systemd", "gunicorn_systemd_failures", *apps) == {}


def test_an_app_whose_packages_cannot_be_installed_is_not_built_and_holds_up_its_migration_everywhere():
    apps = [{"name": name, "packages": ["libpq5"], "migrate_on": "first_host"} for name in ("shop", "blog")]
    assert published("python_app", "python_app_packages_of", *apps) == {"shop": ["libpq5"], "blog": ["libpq5"]}
    nothing = {"hostvars": {"web1": {}}, "ansible_play_batch": ["web1", "web2"]}
    assert published("python_app", "python_app_failures", *apps, **nothing) == {}
    here = {"hostvars": {"web1": {}}, "__python_app_installation": {"failures": {"shop": "shop: no"}}}
    assert published("python_app", "python_app_failures", *apps, **nothing | here) == {"shop": "shop: no"}
    assert [app["name"] for app in published("python_app", "__python_app_buildable", *apps, **here)] == ["blog"]
    there = {
        "hostvars": {"web1": {"__python_app_installation": {"failures": {"shop": "shop: no"}}}},
        "__python_app_build": {"unmigrated": ["shop", "blog"], "failures": {}},
    }
    failures = published("python_app", "python_app_failures", *apps, **nothing | there)
    assert list(failures) == ["shop"]
    assert "its migration runs on web1" in failures["shop"]
