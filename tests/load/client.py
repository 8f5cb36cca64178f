"""One client: one persistent connection, one request after the other, none of them tried twice."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import select
import socket
import ssl
import time
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

FAILURES_KEPT = 50
PAUSE_AFTER_FAILURE = 0.01  # a server that refuses at once would otherwise get nothing but connections
BODY_SIZES = (0, 200, 2_000, 9_000, 40_000)  # below and above what proxies keep in one buffer


@dataclass(frozen=True)
class Target:
    """Where the requests go: `address` is connected to, `host` and `port` are asked for."""

    host: str
    port: int
    address: tuple[str, int]
    tls: ssl.SSLContext | None
    timeout: float


@dataclass(frozen=True)
class Failure:
    """One request that was not answered as it should have been."""

    at: float  # seconds since the start
    kind: str
    method: str
    path: str
    status: int | None
    seconds: float
    reused: bool  # sent on a connection that had answered before
    detail: str


@dataclass
class Seen:
    """When a value was first and last answered, and how often."""

    first: float
    last: float
    count: int = 0


@dataclass
class Tally:
    """What came of one client's requests. Its own thread writes it; the report adds them all up."""

    methods: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    good_seconds: Counter[int] = field(default_factory=Counter)
    bad_seconds: Counter[int] = field(default_factory=Counter)
    latencies: array[float] = field(default_factory=lambda: array("d"))
    seen: dict[str, dict[str, Seen]] = field(default_factory=lambda: {"release": {}, "slot": {}})
    connections: Counter[str] = field(default_factory=Counter)
    unfinished: int = 0


class WrongAnswerError(Exception):
    """An answer came, but not the one that was asked for."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class Connection(http.client.HTTPConnection):
    """A connection to the target's address that names the target's host."""

    def __init__(self, target: Target, counts: Counter[str]) -> None:
        # The port that belongs to the scheme is left out of the header Host.
        self.default_port = 443 if target.tls else 80
        super().__init__(target.host, target.port, timeout=target.timeout)
        self.target = target
        self.counts = counts

    def connect(self) -> None:
        """Connect; http.client calls this when there is no connection, and never twice for a request."""
        # Every step works on self.sock, so that cut() can end each of them.
        address, tls = self.target.address, self.target.tls
        self.sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        self.sock.settimeout(self.target.timeout)
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, do_handshake_on_connect=False, server_hostname=self.target.host)
            self.sock.do_handshake()
        self.counts["opened"] += 1

    def closed_by_server(self) -> bool:
        """Tell whether the server has closed the idle connection, or said anything unasked."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        if not poll.poll(0):
            return False
        self.sock.settimeout(0)
        try:
            self.sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False  # only TLS talking to itself, such as a late session ticket
        except OSError:
            return True
        finally:
            self.sock.settimeout(self.target.timeout)
        return True

    def cut(self) -> None:
        """End whatever is under way, from another thread."""
        sock = self.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class Client:
    """Sends requests and keeps the tally."""

    def __init__(self, target: Target, start: float, is_cut: Callable[[], bool]) -> None:
        self.start = start
        self.is_cut = is_cut
        self.tally = Tally()
        self.connection = Connection(target, self.tally.connections)
        self.bodies = [os.urandom(size) for size in BODY_SIZES]
        self.digests = [hashlib.sha256(body).hexdigest() for body in self.bodies]

    def alternate(self, get_path: str, post_path: str, another: Callable[[], bool], pause: float = 0) -> None:
        """GET and POST in turn for as long as `another` says so, with `pause` seconds in between."""
        turn = 0
        while another():
            which, is_post = divmod(turn, 2)
            if is_post:
                self.post(post_path, which % len(self.bodies))
            else:
                self.get(get_path, note=True)
            turn += 1
            time.sleep(pause)
        self.connection.close()

    def repeat(self, path: str, another: Callable[[], bool]) -> None:
        """GET the same again and again for as long as `another` says so."""
        while another():
            self.get(path)
        self.connection.close()

    def get(self, path: str, note: bool = False) -> None:
        """Ask for JSON; keep what it says about who answered."""

        def look(answer: bytes, headers: http.client.HTTPMessage) -> None:
            if note:
                self._note(answer, headers)

        self._request("GET", path, look)

    def post(self, path: str, which: int) -> None:
        """Send a body; the answer must prove that all of it arrived."""

        def look(answer: bytes, headers: http.client.HTTPMessage) -> None:
            facts = _json_object(answer)
            if (facts.get("length"), facts.get("sha256")) != (len(self.bodies[which]), self.digests[which]):
                raise WrongAnswerError("wrong echo", f"sent {len(self.bodies[which])} bytes, got {answer[:200]!r}")

        self._request("POST", path, look, self.bodies[which])

    def _request(
        self,
        method: str,
        path: str,
        look: Callable[[bytes, http.client.HTTPMessage], None],
        body: bytes | None = None,
    ) -> None:
        connection, tally, status = self.connection, self.tally, None
        if connection.sock is not None and connection.closed_by_server():
            connection.close()
            tally.connections["closed while idle"] += 1
        reused = connection.sock is not None
        began = time.monotonic()
        try:
            connection.request(method, path, body, {"Accept": "application/json"})
            response = connection.getresponse()
            status = response.status
            answer = response.read()
            if connection.sock is None:
                tally.connections["closed as announced"] += 1
            if status >= 400:
                raise WrongAnswerError("status", f"{status} {response.reason}: {answer[:200]!r}")
            look(answer, response.headers)
        except Exception as error:  # noqa: BLE001 - whatever it is, this request was not answered
            if not isinstance(error, WrongAnswerError):
                connection.close()
            if self.is_cut():
                tally.unfinished += 1
                return
            self._fail(method, path, status, began, reused, error)
            time.sleep(PAUSE_AFTER_FAILURE)
        else:
            now = time.monotonic()
            tally.latencies.append(now - began)
            tally.good_seconds[int(now - self.start)] += 1
        tally.methods[method] += 1
        tally.statuses[str(status or "none")] += 1

    def _fail(self, method: str, path: str, status: int | None, began: float, reused: bool, error: Exception) -> None:
        now = time.monotonic()
        kind = kind_of(error)
        self.tally.kinds[kind] += 1
        self.tally.bad_seconds[int(now - self.start)] += 1
        if len(self.tally.failures) < FAILURES_KEPT:
            at, seconds = round(now - self.start, 3), round(now - began, 3)
            detail = f"{type(error).__name__}: {error}"
            self.tally.failures.append(Failure(at, kind, method, path, status, seconds, reused, detail))

    def _note(self, answer: bytes, headers: http.client.HTTPMessage) -> None:
        facts: dict[str, Any] | None = None
        now = round(time.monotonic() - self.start, 3)
        for name, values in self.tally.seen.items():
            value = headers.get(name)
            if value is None:
                if facts is None:
                    facts = _json_object(answer)
                value = facts.get(name)
            if value is not None:
                seen = values.setdefault(str(value), Seen(now, now))
                seen.last = now
                seen.count += 1


def _json_object(answer: bytes) -> dict[str, Any]:
    try:
        facts = json.loads(answer)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def kind_of(error: Exception) -> str:
    """Name what happened. The order matters: some of these errors are also others of them."""
    if isinstance(error, WrongAnswerError):
        return error.kind
    kinds: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
        (http.client.RemoteDisconnected, "no answer"),
        (http.client.IncompleteRead, "short body"),
        (http.client.HTTPException, "not HTTP"),
        (TimeoutError, "timeout"),
        (ConnectionRefusedError, "refused"),
        ((ConnectionError, ssl.SSLEOFError), "reset"),
        (ssl.SSLError, "TLS"),
    )
    return next((kind for types, kind in kinds if isinstance(error, types)), "other")
