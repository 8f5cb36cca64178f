"""The load client against small servers on loopback that behave, and that misbehave in known ways."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.load import Plan, RefusedError, background_load, run_load
from tests.load.client import Client

TOOL = Path(__file__).parents[2] / "load"


class Server(ThreadingHTTPServer):
    """Answers like the demo app, unless `fault` says otherwise for a request (they are numbered)."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fault: dict[int, str] = {}
        self.every_fault = ""
        self.release = "r1"
        self.lock = threading.Lock()
        self.requests = self.connections = self.slow_now = self.slow_most = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about connections that the client has cut."""

    def next_fault(self) -> str:
        with self.lock:
            self.requests += 1
            return self.fault.get(self.requests, self.every_fault)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def log_message(self, *args: object) -> None:
        """Keep quiet."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({"length": len(body), "sha256": hashlib.sha256(body).hexdigest()})

    def do_GET(self) -> None:
        if not self.path.startswith("/slow"):
            self.answer({"release": self.server.release, "slot": "blue"})
            return
        with self.server.lock:
            self.server.slow_now += 1
            self.server.slow_most = max(self.server.slow_most, self.server.slow_now)
        time.sleep(0.2)
        with self.server.lock:
            self.server.slow_now -= 1
        self.answer({})

    def answer(self, facts: dict[str, Any]) -> None:
        fault = self.server.next_fault()
        body = json.dumps({"sha256": "0"} if fault == "wrong echo" else facts).encode()
        if fault == "hang":
            time.sleep(5)
        if fault in ("drop", "hang"):
            self.close_connection = True
            return
        if fault == "nonsense":
            self.wfile.write(b"SSH-2.0-nonsense\r\n\r\n")
            self.close_connection = True
            return
        self.send_response(503 if fault == "status" else 200)
        self.send_header("Content-Length", str(len(body) + (fault in ("short", "drip")) * 1000))
        if fault == "announce":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        if fault == "drip":
            for _ in range(50):
                time.sleep(0.1)
                self.wfile.write(b" ")
        if fault in ("short", "close idle", "drip"):
            self.close_connection = True


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server()) as server:
        yield server


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a self-signed certificate for demo.test, with its key in the same file."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is missing, which makes the certificate")
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=demo.test"
    command += f" -addext subjectAltName=DNS:demo.test -keyout {folder}/key.pem -out {folder}/cert.pem"
    subprocess.run(command.split(), check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return both


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[Server]:
    server = Server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with serving(server):
        yield server


def plan(server: Server, **changes: Any) -> Plan:
    options: dict[str, Any] = {"clients": 4, "requests": 200, "long_path": "", "max_seconds": 20.0}
    return Plan(**{"url": server.url} | options | changes)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_all_is_well(server: Server) -> None:
    report = run_load(plan(server, long_path="/slow"))
    assert report["ok"]
    assert report["ended_by"] == "requests"
    assert report["ordinary"]["total"] == 200
    assert report["total"] == 200 + report["long"]["total"] == server.requests
    assert 98 <= report["by_method"]["POST"] <= 100  # every client begins with a GET
    assert report["by_status"] == {"200": report["total"]}
    assert sum(report["by_second"]["good"]) == report["total"]
    assert report["connections"] == {"opened": 5}
    assert server.connections == 5
    assert 0 < report["ordinary"]["p50"] <= report["ordinary"]["p99"] <= report["ordinary"]["max"]
    assert 100 <= report["seen"]["release"]["r1"]["count"] <= 102
    json.dumps(report)


def test_one_long_request_is_under_way_all_the_time(server: Server) -> None:
    with background_load(plan(server, long_path="/slow", requests=10)) as load:
        time.sleep(1)
        report = load.finish()
    assert report["ok"]
    assert report["long"]["total"] >= 4
    assert report["long"]["max"] >= 0.2
    assert server.slow_most == 1


@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [
        ("drop", "no answer", None),
        ("short", "short body", 200),
        ("status", "status", 503),
        ("nonsense", "not HTTP", None),
        ("hang", "timeout", None),
    ],
)
def test_each_failure_is_counted_and_nothing_is_tried_twice(
    server: Server, fault: str, kind: str, status: int | None
) -> None:
    server.fault = dict.fromkeys((7, 50, 51), fault)
    report = run_load(plan(server, timeout=0.5))
    assert not report["ok"]
    assert report["failed"] == 3
    assert report["failed_by_kind"] == {kind: 3}
    assert report["ordinary"]["total"] == server.requests == 200
    assert sum(report["by_second"]["failed"]) == 3
    for failure in report["failures"]:
        assert (failure["kind"], failure["status"]) == (kind, status)
        assert failure["detail"]
        assert 0 <= failure["at"] <= report["seconds"]


def test_a_wrong_echo_is_a_failure(server: Server) -> None:
    server.every_fault = "wrong echo"
    report = run_load(plan(server))
    assert 98 <= report["failed_by_kind"].pop("wrong echo") <= 100
    assert not report["failed_by_kind"]
    assert len(report["failures"]) == 50
    assert report["by_status"] == {"200": 200}


def test_nobody_listens() -> None:
    report = run_load(Plan(url=f"http://127.0.0.1:{free_port()}", clients=2, requests=20, long_path=""))
    assert report["failed_by_kind"] == {"refused": 20}
    assert report["by_status"] == {"none": 20}
    assert report["ordinary"]["p50"] is None


def test_an_announced_close_is_no_failure(server: Server) -> None:
    server.every_fault = "announce"
    report = run_load(plan(server))
    assert report["ok"]
    assert report["connections"] == {"opened": 200, "closed as announced": 200}


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_closed_while_idle_is_opened_again(
    request: pytest.FixtureRequest, certificate: Path, scheme: str
) -> None:
    server: Server = request.getfixturevalue("tls_server" if scheme == "https" else "server")
    server.fault = {2: "close idle"}
    target = plan(server, **over_tls(server, certificate) if scheme == "https" else {}).target()
    client = Client(target, time.monotonic(), lambda: False)
    for _ in range(4):
        client.get("/")
        time.sleep(0.1)
    client.connection.close()
    assert not client.tally.failures
    assert client.tally.connections == {"opened": 2, "closed while idle": 1}


def test_a_close_that_races_with_a_request_is_a_failure(server: Server) -> None:
    client = Client(plan(server).target(), time.monotonic(), lambda: False)
    client.get("/")
    server.fault = {2: "drop"}
    client.get("/")
    (failure,) = client.tally.failures
    assert (failure.kind, failure.reused) == ("no answer", True)


def over_tls(server: Server, certificate: Path) -> dict[str, Any]:
    return {"url": "https://demo.test", "connect": f"127.0.0.1:{server.server_port}", "cafile": str(certificate)}


def test_tls_is_verified_by_the_name_in_the_url(tls_server: Server, certificate: Path) -> None:
    good = over_tls(tls_server, certificate)
    assert run_load(plan(tls_server, **good, long_path="/slow"))["ok"]
    bad = good | {"url": "https://other.test", "requests": 4}
    assert run_load(plan(tls_server, **bad))["failed_by_kind"] == {"TLS": 4}
    assert run_load(plan(tls_server, **bad, insecure=True))["ok"]


def test_the_background_load_lasts_until_told_and_shows_the_move(server: Server) -> None:
    with background_load(plan(server, requests=50)) as load:
        time.sleep(0.5)
        assert load.report()["ended_by"] is None
        assert "r1" in load.report()["seen"]["release"]
        server.release = "r2"
        time.sleep(0.3)
        report = load.finish()
    assert report["ok"]
    assert report["ended_by"] == "until"
    assert report["ordinary"]["total"] > 50
    releases = report["seen"]["release"]
    assert list(releases) == ["r1", "r2"]
    assert 0.4 < releases["r2"]["first"] <= releases["r2"]["last"] <= report["seconds"]
    assert releases["r1"]["last"] < releases["r2"]["first"] + 0.2


def test_the_least_number_is_reached_even_when_told_at_once(server: Server) -> None:
    with background_load(plan(server, requests=300)) as load:
        report = load.finish()
    assert report["ok"]
    assert report["ordinary"]["total"] >= 300


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_time_is_bounded_whatever_the_server_does(server: Server, fault: str) -> None:
    server.every_fault = fault
    began = time.monotonic()
    report = run_load(plan(server, max_seconds=0.7))
    assert time.monotonic() - began < 1.2
    assert not report["ok"]
    assert report["ended_by"] == "max_seconds"
    assert (report["unfinished"], report["failed"]) == (4, 0)


@pytest.mark.parametrize("phase", ["connect", "handshake"])
def test_time_is_bounded_before_the_first_request(phase: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0 if phase == "connect" else 8) as silent:
        address = silent.getsockname()
        first = socket.create_connection(address)  # fills the queue of one that nobody empties
        began = time.monotonic()
        url = f"https://127.0.0.1:{address[1]}"
        report = run_load(Plan(url, clients=2, long_path="", max_seconds=0.5, insecure=True))
        first.close()
    assert time.monotonic() - began < 1
    assert (report["ended_by"], report["unfinished"], report["failed"]) == ("max_seconds", 2, 0)


def test_never_told_is_not_well(server: Server) -> None:
    report = run_load(plan(server, requests=10, max_seconds=0.5), until=lambda: False)
    assert (report["ok"], report["ended_by"], report["failed"]) == (False, "max_seconds", 0)
    assert report["ordinary"]["total"] > 10


def test_an_exception_in_the_test_cuts_the_load_off(server: Server) -> None:
    def broken_deploy() -> None:
        with background_load(plan(server)) as load:
            loads.append(load)
            raise ZeroDivisionError

    loads: list[Any] = []
    with pytest.raises(ZeroDivisionError):
        broken_deploy()
    assert loads[0].report()["ended_by"] == "abort"
    before = server.requests
    time.sleep(0.1)
    assert server.requests == before


@pytest.mark.parametrize(
    "address",
    ["203.0.113.5", "8.8.8.8", "169.254.169.254", "0.0.0.0", "[2001:db8::1]", "[::ffff:8.8.8.8]", "172.32.0.1"],
)
def test_others_addresses_are_refused_by_name(address: str) -> None:
    for plan in (Plan(f"https://{address}"), Plan("https://demo.test", connect=f"{address}:443")):
        with pytest.raises(RefusedError, match="only loopback and private addresses"):
            plan.target()


def test_a_name_with_one_address_of_others_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, 443)) for text in ("10.0.0.1", "203.0.113.5")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
    with pytest.raises(RefusedError, match=r"demo\.test is 203\.0\.113\.5"):
        Plan(url="https://demo.test").target()


@pytest.mark.parametrize("address", ["10.89.0.5:443", "127.0.0.1", "[::1]:8443", "192.168.1.2:80", "[fd00::1]:443"])
def test_own_addresses_are_taken(address: str) -> None:
    assert Plan(url="https://demo.test", connect=address).target().host == "demo.test"


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://127.0.0.1"},
        {"url": "http://127.0.0.1/path"},
        {"url": "http://127.0.0.1:x"},
        {"clients": 0},
        {"clients": 65},
        {"requests": 1_000_001},
        {"max_seconds": 1801.0},
        {"max_seconds": float("nan")},
        {"pause": -1.0},
        {"get_path": "x"},
        {"long_path": "slow"},
        {"url": "https://127.0.0.1", "cafile": "/nonexistent.pem"},
    ],
)
def test_a_plan_out_of_bounds_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RefusedError):
        Plan(**{"url": "http://127.0.0.1"} | wrong).target()


def run_command(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(TOOL), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_command_line(tls_server: Server, certificate: Path, tmp_path: Path) -> None:
    until = tmp_path / "done"
    address = f"127.0.0.1:{tls_server.server_port}"
    options = {"--url": "https://demo.test", "--connect": address, "--cafile": certificate, "--until-file": until}
    limits = "--clients 3 --requests 20 --long-path /slow?seconds=0.2 --post-path /echo --get-path / --max-seconds 20"
    process = run_command(*(word for option in options.items() for word in option), *limits.split())
    time.sleep(1.5)
    assert process.poll() is None
    until.touch()
    output, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")
    report = json.loads(output)
    assert report["ok"]
    assert report["long"]["total"] >= 1


def test_command_line_fails_as_it_should(server: Server) -> None:
    server.every_fault = "status"
    process = run_command("--url", server.url, "--requests", 4, "--long-path", "")
    output, _ = process.communicate(timeout=10)
    assert process.returncode == 1
    assert json.loads(output)["failed"] == 4
    process = run_command("--url", "http://203.0.113.5")
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 2
    assert errors.startswith("load: 203.0.113.5 is 203.0.113.5: only loopback")
