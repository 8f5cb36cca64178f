"""What nginx does when clients are slow, the app is stuck, or it is itself taken down. Bounded load, on one host."""

import contextlib
import http.client
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.waiting import eventually

SLOW = 150


@pytest.fixture
def echo(site):
    return site("echo", "echo.test.example")


@pytest.fixture
def maintenance(host, play):
    """`maintenance("on")`, for the site echo."""
    apps = [app for app in host.ansible.get_variables()["nginx_proxy_apps"] if app["name"] == "echo"]
    playbook = str(Path(__file__).parents[1] / "maintenance.yml")
    return lambda state: play(playbook, nginx_proxy_apps=apps, nginx_proxy_maintenance=state)


def workers(host):
    return host.check_output("pgrep --parent $(cat /run/nginx.pid)").split()


def test_maintenance_is_switched_without_a_reload_and_loopback_is_no_way_past_it(host, echo, site, maintenance):
    before = workers(host)
    switched = maintenance("on")
    assert (switched.status, switched.changed) == (0, True), switched.output
    again = maintenance("on")
    assert (again.status, again.changed) == (0, False), again.output
    eventually(lambda: echo.ask("/").status == 503, seconds=2)  # nginx looks for it once a second
    for path, method in (("/", "GET"), ("/assets/style.css", "GET"), ("/ws/", "GET"), ("/", "POST")):
        answer = echo.ask(path, method)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "60")
        assert "is being worked on" in answer.body
        assert "nginx" not in answer.body
        assert answer.headers["Strict-Transport-Security"]
    by_loopback = "curl --silent --insecure --resolve echo.test.example:443:127.0.0.1 https://echo.test.example/a"
    assert "is being worked on" in host.check_output(by_loopback)
    with host.sudo():
        past_it = "curl --silent --unix-socket /run/flask-ops/nginx/echo.sock http://echo.test.example/a"
        assert '"/a"' in host.check_output(past_it)
    assert site("bystander", "bystander.test.example").ask("/").status == 401
    back = maintenance("off")
    assert (back.status, back.changed) == (0, True), back.output
    eventually(lambda: echo.ask("/").status == 200, seconds=2)
    assert workers(host) == before


def dribble(echo, port, started, deadline):
    """Send a header one byte at a time. Return after how many seconds nginx has closed the connection, or None."""
    with echo.connect(port=port) as connection:
        connection.settimeout(1)
        began = time.monotonic()
        started.release()
        connection.sendall(b"GET / HTTP/1.1\r\nHost: echo.test.example\r\nX-A: ")
        while time.monotonic() < began + deadline:
            try:
                connection.sendall(b"a")
                if not connection.recv(1024):
                    return time.monotonic() - began
            except TimeoutError:
                continue
            except OSError:
                return time.monotonic() - began
    return None


def test_slow_clients_are_closed_and_normal_ones_are_answered_meanwhile(echo):
    started = threading.Semaphore(0)
    with ThreadPoolExecutor(SLOW) as pool:
        slow = [pool.submit(dribble, echo, (80, 443)[number % 2], started, 60) for number in range(SLOW)]
        for _ in range(SLOW // 2):
            assert started.acquire(timeout=60)
        statuses = [echo.ask("/").status for _ in range(20)]
        closed = [future.result() for future in slow]
    assert statuses == [200] * 20
    assert None not in closed
    # client_header_timeout is 10 s; the rest is for a busy machine.
    assert max(closed) < 40


def test_a_body_that_does_not_come_is_not_waited_for(echo):
    with echo.connect() as connection:
        connection.settimeout(60)
        connection.sendall(b"POST / HTTP/1.1\r\nHost: echo.test.example\r\nContent-Length: 100\r\n\r\nabc")
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1024).startswith((b"HTTP/1.1 408", b""))


def test_an_app_that_is_stuck_gives_errors_within_the_timeout_and_then_serves_again(host, echo):
    """More requests than the app's backlog of 64 holds: none hangs."""
    with host.sudo():
        host.check_output("systemctl kill --signal=STOP probe-app.service")
    try:
        with ThreadPoolExecutor(100) as pool:
            answers = [answer.result() for answer in [pool.submit(ask_slowly, echo) for _ in range(100)]]
    finally:
        with host.sudo():
            host.check_output("systemctl kill --signal=CONT probe-app.service")
    assert {status for status, _ in answers} <= {502, 504}
    # timeout is 2, and nginx waits 5 longer; the rest is for a busy machine.
    assert max(seconds for _, seconds in answers) < 40
    assert echo.ask("/").status == 200


def ask_slowly(echo):
    began = time.monotonic()
    connection = http.client.HTTPConnection(echo.name, timeout=60)
    connection.sock = echo.connect()
    connection.request("GET", "/")
    status = connection.getresponse().status
    connection.close()
    return status, time.monotonic() - began


def test_twenty_reloads_lose_no_request(host, echo):
    statuses, done = [], threading.Event()

    def ask():
        while not done.is_set():
            statuses.append(echo.ask("/", headers={"Connection": "close"}).status)

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        with host.sudo():
            host.check_output("sh -c 'for i in $(seq 20); do systemctl reload nginx.service; sleep 0.2; done'")
        done.set()
        for future in asking:
            future.result()
    assert set(statuses) == {200}
    assert len(statuses) > 20


def wait_for(echo, seconds=60):
    deadline = time.monotonic() + seconds
    while True:
        try:
            return echo.ask("/").status
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def test_nginx_comes_back_when_it_is_killed_also_without_a_name_server(host, echo):
    with host.sudo():
        host.check_output("sh -c 'cp /etc/resolv.conf /run/resolv.conf && echo > /etc/resolv.conf'")
        host.check_output("sh -c 'kill -9 $(cat /run/nginx.pid)'")
        assert wait_for(echo) == 200
        assert host.run("curl --fail --unix-socket /run/flask-ops/nginx/echo.sock http://echo.test.example/").succeeded
        host.check_output("sh -c 'cat /run/resolv.conf > /etc/resolv.conf && rm /run/resolv.conf'")
