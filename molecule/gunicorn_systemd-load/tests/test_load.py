"""Switches under load: each server and worker class, GET and POST on kept connections, requests of three seconds.

Two switches each here, and on Debian 12 of the default class only; fifty of all on both with `FLASK_OPS_SWITCHES=50` in
the environment, as docs/faults.md describes.
"""

import concurrent.futures
import os

import pytest

SWITCHES = int(os.environ.get("FLASK_OPS_SWITCHES", "2"))


# Two at a time, since a switch mostly waits; the default class is measured alone.
@pytest.mark.parametrize("names", [["of-gthread"], ["of-sync", "of-gevent"], ["of-asgi", "of-waitress"]], ids=" ".join)
def test_no_request_fails_however_often_an_app_is_switched(
    host, switch, load, names, record_testsuite_property, request
):
    if names != ["of-gthread"]:
        request.getfixturevalue("once")
    loads = {name: load(name, requests=300) for name in names}

    def switch_under_load(name):
        with loads[name] as clients:
            switched = switch(name, *(["r2", "r1"] * SWITCHES)[:SWITCHES])
            return switched, clients.finish()

    with concurrent.futures.ThreadPoolExecutor() as pool:
        outcomes = dict(zip(names, pool.map(switch_under_load, names), strict=True))
    for name, (switched, report) in outcomes.items():
        figures = {
            "switches": switched.output.count(f"{name}: traffic went from"),
            "requests": report["total"],
            "failed": report["failed"],
            "long": report["long"],
            "worst": report["max"],
            "p99": report["p99"],
        }
        record_testsuite_property(f"{name} on {host.backend.host}", figures)
        assert switched.status == 0, switched.output
        assert figures["switches"] == SWITCHES, switched.output
        assert report["failed"] == 0, report["failures"]
        assert report["long"] >= 2
        assert set(report["releases"]) == {"r1", "r2"}


def test_websockets_before_a_switch_cost_no_post(switch, load, web, once):
    """gunicorn 27.0.1 counted each of their connections as gone twice, and so dropped others when a worker stopped."""
    name = "of-gthread"
    with load(name, requests=300, clients=12, pause=0) as clients:
        for release in ("r2", "r1"):
            for _ in range(30):
                open_and_close_a_websocket(web(name))
            switched = switch(name, release)
            assert switched.status == 0, switched.output
        report = clients.finish()
    assert report["failed"] == 0, report["failures"]


def open_and_close_a_websocket(app):
    """As a browser does: the handshake of RFC 6455, then a closing frame, which the server answers."""
    with app.connect() as connection:
        connection.sendall(
            f"GET /websocket HTTP/1.1\r\nHost: {app.name}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(4096)
        assert b" 101 " in answer.split(b"\r\n")[0]
        connection.sendall(bytes([0x88, 0x82, 0, 0, 0, 0]) + (1000).to_bytes(2, "big"))
        while connection.recv(4096):
            pass
