"""The load client against a server with faults: each failure counts, and nothing hides one."""

import hashlib
import json
import re
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.load import Plan, background_load, run_load


class Server(ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.requests = 0
        self.faults: dict[int, str] = {}
        self.release = "r1"

    def handle_error(self, request, client_address):
        """Print nothing about connections that the client has closed."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        """Print nothing."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({"length": len(body), "sha256": hashlib.sha256(body).hexdigest()})

    def do_GET(self):
        if self.path == "/slow":
            time.sleep(0.1)
        self.answer({"release": self.server.release})

    def answer(self, facts):
        with self.server.lock:
            self.server.requests += 1
            fault = self.server.faults.get(self.server.requests)
        body = json.dumps({"sha256": "0"} if fault == "wrong echo" else facts).encode()
        if fault == "hang":
            time.sleep(1)
        if fault in ("drop", "hang"):
            self.close_connection = True
            return
        self.send_response(503 if fault == "status" else 200)
        self.send_header("Content-Length", str(len(body) + 10 * (fault == "short")))
        if fault == "announce":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        if fault in ("short", "close idle"):
            self.close_connection = True


@contextmanager
def serving(certificate=None):
    server = Server()
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for demo.test, with its key in the same file."""
    path = tmp_path_factory.mktemp("certificate") / "both.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=demo.test"
    command += f" -addext subjectAltName=DNS:demo.test -keyout {path} -out {path}.crt"
    subprocess.run(command.split(), check=True, capture_output=True)
    path.write_text(path.read_text() + path.with_name("both.pem.crt").read_text())
    return path


def plan(server, url="http://demo.test", **options):
    defaults: dict[str, Any] = {"clients": 4, "requests": 200, "long_path": "", "max_seconds": 20}
    return Plan(url, f"127.0.0.1:{server.server_port}", **defaults | options)


def test_without_faults_nothing_fails_and_all_kinds_of_requests_are_sent(server):
    report = run_load(plan(server, long_path="/slow"))
    assert (report["failed"], report["total"], report["releases"]) == (0, server.requests, ["r1"])
    assert report["total"] == 200 + report["long"]
    assert report["long"] >= 1
    assert 0 < report["p99"] <= report["max"]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("drop", "no status.*RemoteDisconnected"),
        ("short", "200 after.*IncompleteRead"),
        ("status", "503 after"),
        ("hang", "no status.*TimeoutError"),
        ("wrong echo", "POST /echo, 200.*wrong response"),
    ],
)
def test_each_failure_is_counted_and_no_request_is_sent_twice(server, fault, says):
    server.faults = dict.fromkeys((8, 50, 52), fault)  # the even ones of one client are POST
    report = run_load(plan(server, clients=1, timeout=0.3))
    assert (report["failed"], report["total"], server.requests) == (3, 200, 200)
    assert [line for line in report["failures"] if not re.search(says, line)] == []


def test_a_server_that_does_not_listen():
    with serving() as server:
        closed = plan(server, clients=2, requests=20)
    assert run_load(closed)["failed"] == 20


@pytest.mark.parametrize("tls", [True, False])
def test_a_connection_that_the_server_closes_while_idle_is_no_failure(certificate, tls):
    options = {"url": "https://demo.test", "cafile": str(certificate)} if tls else {}
    with serving(certificate if tls else None) as server:
        server.faults = {2: "close idle", 4: "announce"}
        report = run_load(plan(server, clients=1, requests=6, pause=0.1, **options))
    assert (report["failed"], report["total"]) == (0, 6)


def test_a_request_on_a_closed_connection_is_sent_again_only_if_asked(server):
    server.faults = {2: "drop"}
    report = run_load(plan(server, clients=1, requests=4, retry=True))
    assert (report["failed"], report["total"], server.requests) == (0, 4, 5)


def test_tls_is_verified_by_the_name_in_the_url(certificate):
    with serving(certificate) as server:
        for url, cafile, failed in (
            ("https://demo.test", str(certificate), 0),
            ("https://other.test", str(certificate), 4),
            ("https://other.test", "", 0),
        ):
            assert run_load(plan(server, url, cafile=cafile, requests=4))["failed"] == failed


def test_background_load_continues_until_it_is_finished_and_reports_each_release(server):
    with background_load(plan(server, requests=50)) as load:
        time.sleep(0.2)
        server.release = "r2"
        time.sleep(0.2)
        report = load.finish()
    assert (report["failed"], report["releases"]) == (0, ["r1", "r2"])
    assert report["total"] > 50


def test_a_server_that_takes_too_long_is_a_failure_in_time(server):
    server.faults = {3: "hang"}
    began = time.monotonic()
    report = run_load(plan(server, clients=1, max_seconds=0.3))
    assert time.monotonic() - began < 0.9
    assert report["failures"] == ["not finished after 0.3 s"]


def test_an_exception_in_the_test_stops_the_load(server):
    with pytest.raises(ZeroDivisionError), background_load(plan(server)):
        raise ZeroDivisionError
    time.sleep(0.1)
    before = server.requests
    time.sleep(0.1)
    assert server.requests == before


def test_public_addresses_are_refused():
    with pytest.raises(ValueError, match="not a private address"):
        Plan("https://demo.test", "1.1.1.1:443")
