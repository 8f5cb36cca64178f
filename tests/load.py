"""Clients that keep sending requests to a service while it is changed, and report every request that failed.

    with background_load(Plan("https://demo.test", "10.89.0.5:443", cafile="cert.pem", requests=2000)) as load:
        deploy()
        report = load.finish()  # at least 2000 requests, at most `max_seconds`
    assert report["failed"] == 0, report["failures"]

They use private addresses only. No request is sent twice, unless the plan has `retry`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.client
import ipaddress
import itertools
import json
import math
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

BODIES = [os.urandom(size) for size in (0, 200, 2_000, 9_000, 40_000)]  # below and above what proxies buffer
FAILURES_KEPT = 50


@dataclass(frozen=True)
class Plan:
    """What to send, where to, and how long."""

    url: str
    connect: str  # address and port
    cafile: str = ""  # certificates to trust; without any, none is verified
    clients: int = 12  # each with a connection of its own, which sends GET and POST in turn
    requests: int = 12_000  # by all of them together, at least
    get_path: str = "/"  # `release` in a JSON response is reported
    post_path: str = "/echo"  # the response has `length` and `sha256` of the body; empty: no POST
    long_path: str = "/slow?seconds=3"  # requested by one more client without pause; empty: no such client
    max_seconds: float = 120
    timeout: float = 30
    pause: float = 0
    retry: bool = False  # send a request once more if the server closed the idle connection, as browsers do

    def __post_init__(self) -> None:
        address = self.connect.rpartition(":")[0]
        if not ipaddress.ip_address(address).is_private:
            raise ValueError(f"{address} is not a private address")


@functools.cache
def tls_context(cafile: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=cafile or None)
    # A test's certificate may be its own CA, and may lack extensions.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not cafile:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Connection(http.client.HTTPConnection):
    """A connection to the plan's address, under the name in its URL."""

    def __init__(self, plan: Plan) -> None:
        url = urlsplit(plan.url)
        self.tls = url.scheme == "https"
        self.default_port = 443 if self.tls else 80  # left out of the header Host
        super().__init__(url.hostname or "", url.port, timeout=plan.timeout)
        self.plan = plan

    def connect(self) -> None:
        address, _, port = self.plan.connect.rpartition(":")
        self.sock = socket.create_connection((address, int(port)), self.timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls:
            self.sock = tls_context(self.plan.cafile).wrap_socket(self.sock, server_hostname=self.host)

    def drop_if_closed_by_server(self) -> None:
        """A server may close an idle connection at any time; the next request then opens another one."""
        if self.sock is None:
            return
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        if not poll.poll(0):
            return
        self.sock.settimeout(0)
        try:
            self.sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):  # TLS alone, such as a late session ticket
            self.sock.settimeout(self.timeout)
        except OSError:
            self.close()
        else:
            self.close()


class Load:
    """A plan that is being carried out. It ends after `requests` requests, but not before `finish()`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._finish, self._stop = threading.Event(), threading.Event()
        self._numbers = itertools.count()
        self._start = time.monotonic()
        self._failures: list[str] = []
        self._latencies: list[float] = []
        self._long_latencies: list[float] = []
        self._releases: dict[str, None] = {}
        self._threads = [threading.Thread(target=self._alternate, daemon=True) for _ in range(plan.clients)]
        self._long = threading.Thread(target=self._repeat, daemon=True)
        for thread in self._threads:
            thread.start()
        if plan.long_path:
            self._long.start()

    def finish(self) -> dict[str, Any]:
        """Wait for the remaining requests; report what became of all of them."""
        self._finish.set()
        deadline = self._start + self.plan.max_seconds
        threads = [thread for thread in (*self._threads, self._long) if thread.ident]
        for thread in threads:
            thread.join(max(0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            self._failures.append(f"not finished after {self.plan.max_seconds} s")
        self._stop.set()
        good = sorted(self._latencies)
        return {
            "total": len(good) + len(self._long_latencies) + len(self._failures),
            "failed": len(self._failures),
            "failures": self._failures[:FAILURES_KEPT],
            "long": len(self._long_latencies),
            "p99": good[math.ceil(0.99 * len(good)) - 1] if good else None,
            "max": good[-1] if good else None,
            "releases": list(self._releases),
        }

    def abort(self) -> None:
        """Send nothing more."""
        self._stop.set()

    def _another(self) -> bool:
        return not self._stop.is_set() and (next(self._numbers) < self.plan.requests or not self._finish.is_set())

    def _alternate(self) -> None:
        connection = Connection(self.plan)
        for turn in itertools.count():
            if not self._another():
                break
            if turn % 2 and self.plan.post_path:
                body = BODIES[turn // 2 % len(BODIES)]
                self._send(connection, "POST", self.plan.post_path, self._latencies, body)
            else:
                self._send(connection, "GET", self.plan.get_path, self._latencies)
            time.sleep(self.plan.pause)
        connection.close()

    def _repeat(self) -> None:
        connection = Connection(self.plan)
        while not self._stop.is_set() and any(thread.is_alive() for thread in self._threads):
            self._send(connection, "GET", self.plan.long_path, self._long_latencies)
        connection.close()

    def _send(
        self, connection: Connection, method: str, path: str, latencies: list[float], body: bytes | None = None
    ) -> None:
        connection.drop_if_closed_by_server()
        kept, status = connection.sock is not None, None
        began = time.monotonic()
        try:
            connection.request(method, path, body, {"Accept": "application/json"})
            response = connection.getresponse()
            status = response.status
            text = response.read()
            facts = json_object(text)
            expected = {} if body is None else {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
            if not 200 <= status < 300 or not expected.items() <= facts.items():
                raise ValueError(f"wrong response {text[:200]!r}")
        except Exception as error:  # noqa: BLE001 - whatever it is, the request failed
            if not isinstance(error, ValueError):
                connection.close()
            if kept and self.plan.retry and isinstance(error, ConnectionError):
                self._send(connection, method, path, latencies, body)
                return
            now = time.monotonic()
            self._failures.append(
                f"{began - self._start:.3f} s: {method} {path}, {status or 'no status'} after {now - began:.3f} s on a "
                f"{'kept' if kept else 'new'} connection: {type(error).__name__}: {error}"
            )
            time.sleep(0.01)  # a server that refuses at once would get nothing but connections
        else:
            latencies.append(round(time.monotonic() - began, 4))
            if method == "GET" and "release" in facts:
                self._releases.setdefault(facts["release"])


def json_object(text: bytes) -> dict[str, Any]:
    try:
        facts = json.loads(text)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


@contextlib.contextmanager
def background_load(plan: Plan) -> Iterator[Load]:
    """Carry out the plan meanwhile."""
    load = Load(plan)
    try:
        yield load
    finally:
        load.abort()


def run_load(plan: Plan) -> dict[str, Any]:
    """Carry out the plan."""
    with background_load(plan) as load:
        return load.finish()


def demo_load(domain: str, address: str, cafile: object, **plan: Any) -> contextlib.AbstractContextManager[Load]:
    """Load for the demo app: some 300 requests a second, since the deploy and the clients share the machine."""
    return background_load(Plan(f"https://{domain}", f"{address}:443", str(cafile), pause=0.035, **plan))
