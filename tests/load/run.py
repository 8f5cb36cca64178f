"""A plan, the threads that carry it out within its bounds, and the report."""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import math
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from .client import FAILURES_KEPT, Client, Seen, Tally, Target

MOST_CLIENTS, MOST_REQUESTS, MOST_SECONDS = 64, 1_000_000, 1800.0
OWN_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
)


class RefusedError(Exception):
    """The plan is not carried out; the text says why."""


@dataclass(frozen=True)
class Plan:
    """What to send, where to, and the bounds of it."""

    url: str
    connect: str | None = None
    cafile: str | None = None
    insecure: bool = False
    clients: int = 12
    requests: int = 12_000
    get_path: str = "/"
    post_path: str = "/echo"
    long_path: str = "/slow?seconds=3"
    max_seconds: float = 120.0
    timeout: float = 30.0
    pause: float = 0.0

    def target(self) -> Target:
        """Return where to send to, or refuse."""
        for name, most in (
            ("clients", MOST_CLIENTS),
            ("requests", MOST_REQUESTS),
            ("max_seconds", MOST_SECONDS),
            ("timeout", MOST_SECONDS),
        ):
            if not 0 < getattr(self, name) <= most:
                raise RefusedError(f"{name}: {getattr(self, name)} is not between 0 and {most:g}")
        if not 0 <= self.pause <= 60:
            raise RefusedError(f"pause: {self.pause} is not between 0 and 60")
        for name in ("get_path", "post_path", "long_path"):
            if not getattr(self, name).startswith("/") and (name != "long_path" or self.long_path):
                raise RefusedError(f"{name}: {getattr(self, name)!r} does not begin with /")
        url = _split(self.url)
        if url.scheme not in ("http", "https") or not url.hostname or url.path not in ("", "/"):
            raise RefusedError(f"url: {self.url!r} is not like https://demo.test or http://127.0.0.1:8000")
        port = url.port or (443 if url.scheme == "https" else 80)
        connect = _split(f"//{self.connect}") if self.connect else url
        address = _own_address(connect.hostname or "", connect.port or port)
        tls = self._tls() if url.scheme == "https" else None
        return Target(url.hostname, port, address, tls, self.timeout)

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context()
            if self.cafile:
                context.load_verify_locations(self.cafile)
        except OSError as error:
            raise RefusedError(f"cafile: {self.cafile}: {error}") from error
        # A certificate made for a test need not be its own authority, nor have every extension.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.set_alpn_protocols(["http/1.1"])
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class Load:
    """A plan under way. Without `until` it ends by itself; with it, not before `until()` is true."""

    def __init__(self, plan: Plan, until: Callable[[], bool] | None = None) -> None:
        target = plan.target()
        self.plan = plan
        self._until = until
        self._told = until is None
        self._numbers = itertools.count()
        self._cut_by: Literal["max_seconds", "abort"] | None = None
        self._busy = True
        self._started = time.time()
        self._start = time.monotonic()
        self._took: float | None = None
        self._ended_by: str | None = None
        self._clients = [Client(target, self._start, self._is_cut) for _ in range(plan.clients)]
        self._long = Client(target, self._start, self._is_cut)
        self._threads = [
            threading.Thread(
                target=client.alternate, args=(plan.get_path, plan.post_path, self._another, plan.pause), daemon=True
            )
            for client in self._clients
        ]
        self._long_thread = threading.Thread(
            target=self._long.repeat, args=(plan.long_path, self._is_busy), daemon=True
        )
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)

    def start(self) -> Load:
        """Let the clients loose."""
        for thread in self._threads:
            thread.start()
        if self.plan.long_path:
            self._long_thread.start()
        self._supervisor.start()
        return self

    def wait(self) -> dict[str, Any]:
        """Return the report when the load has ended."""
        self._supervisor.join()
        return self.report()

    def abort(self) -> None:
        """Cut off what is under way, at once."""
        if self._ended_by is None:
            self._cut_by = self._cut_by or "abort"
        self._supervisor.join()

    def finish(self) -> dict[str, Any]:
        """Tell it to stop; return the report when the least number of requests is reached as well."""
        self._until = lambda: True
        return self.wait()

    def report(self) -> dict[str, Any]:
        """Add up what has happened so far; also while it goes on."""
        ordinary, long = [client.tally for client in self._clients], self._long.tally
        everyone = [*ordinary, long]
        failures = sorted(
            (asdict(one) for tally in everyone for one in tally.failures.copy()), key=lambda one: one["at"]
        )
        kinds = _sum(tally.kinds for tally in everyone)
        methods = _sum(tally.methods for tally in everyone)
        good, bad = (_sum(getattr(t, name) for t in everyone) for name in ("good_seconds", "bad_seconds"))
        seconds = range(max([-1, *good, *bad]) + 1)
        took = self._took or time.monotonic() - self._start
        total = methods.total()
        ordinary_total = total - long.methods.total()
        return {
            "ok": self._ended_by in ("requests", "until") and ordinary_total >= self.plan.requests and not kinds,
            "ended_by": self._ended_by,
            "started": round(self._started, 3),
            "seconds": round(took, 3),
            "per_second": round(total / took, 1),
            "total": total,
            "failed": kinds.total(),
            "failed_by_kind": dict(kinds),
            "failures": failures[:FAILURES_KEPT],
            "unfinished": sum(tally.unfinished for tally in everyone),
            "by_method": dict(methods),
            "by_status": dict(_sum(tally.statuses for tally in everyone)),
            "by_second": {"good": [good[s] for s in seconds], "failed": [bad[s] for s in seconds]},
            "ordinary": {"total": ordinary_total, "failed": sum(t.kinds.total() for t in ordinary)}
            | _latency(ordinary),
            "long": {"total": long.methods.total(), "failed": long.kinds.total()} | _latency([long]),
            "seen": {name: _seen(tally.seen[name].copy() for tally in ordinary) for name in long.seen},
            "connections": dict(_sum(tally.connections for tally in everyone)),
        }

    def _supervise(self) -> None:
        deadline = self._start + self.plan.max_seconds
        everyone = [*self._clients, self._long]
        while self._busy or self._long_thread.is_alive():
            time.sleep(0.02)
            if not self._told and self._until is not None:
                self._told = self._until()
            if self._cut_by is None and time.monotonic() >= deadline:
                self._cut_by = "max_seconds"
            if self._cut_by:
                for client in everyone:
                    client.connection.cut()
            self._busy = any(thread.is_alive() for thread in self._threads)
        self._took = time.monotonic() - self._start
        if self._told:
            self._ended_by = self._cut_by or ("requests" if self._until is None else "until")
        else:
            self._ended_by = self._cut_by or "most_requests"

    def _another(self) -> bool:
        number = next(self._numbers)
        return not self._cut_by and number < (self.plan.requests if self._told else MOST_REQUESTS)

    def _is_busy(self) -> bool:
        return self._busy and not self._cut_by

    def _is_cut(self) -> bool:
        return self._cut_by is not None


def run_load(plan: Plan, until: Callable[[], bool] | None = None) -> dict[str, Any]:
    """Carry out the plan and return the report.

    `until` (an event's `is_set`, a file's `exists`) makes it go on until that is true, too.
    """
    with _aborted_on_the_way_out(Load(plan, until)) as load:
        return load.wait()


@contextlib.contextmanager
def background_load(plan: Plan) -> Iterator[Load]:
    """Carry out the plan meanwhile: until `finish()` is called, which returns the report."""
    with _aborted_on_the_way_out(Load(plan, until=lambda: False)) as load:
        yield load


@contextlib.contextmanager
def _aborted_on_the_way_out(load: Load) -> Iterator[Load]:
    load.start()
    try:
        yield load
    finally:
        load.abort()


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise RefusedError(f"{url!r}: {error}") from error
    return parts


def _own_address(host: str, port: int) -> tuple[str, int]:
    """Look the host up once; refuse it if any of its addresses is neither loopback nor private."""
    try:
        found = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except OSError as error:
        raise RefusedError(f"{host}: {error}") from error
    for text in found:
        address = ipaddress.ip_address(text.partition("%")[0])
        plain = getattr(address, "ipv4_mapped", None) or address
        if not any(plain in network for network in OWN_NETWORKS):
            raise RefusedError(f"{host} is {address}: only loopback and private addresses are ever sent to")
    return found[0], port


def _sum(counters: Any) -> Counter[Any]:
    total: Counter[Any] = Counter()
    for counter in counters:
        total.update(counter.copy())
    return total


def _latency(tallies: list[Tally]) -> dict[str, float | None]:
    """Percentiles of the requests that were answered well, in seconds."""
    values = sorted(value for tally in tallies for value in tally.latencies[:])

    def at(share: float) -> float | None:
        return round(values[max(math.ceil(share * len(values)) - 1, 0)], 4) if values else None

    return {"p50": at(0.5), "p99": at(0.99), "max": at(1.0)}


def _seen(tallies: Iterator[dict[str, Seen]]) -> dict[str, dict[str, Any]]:
    """Merge what the clients saw, in the order in which it first appeared."""
    merged: dict[str, Seen] = {}
    for tally in tallies:
        for value, seen in tally.items():
            known = merged.setdefault(value, Seen(seen.first, seen.last))
            known.first, known.last = min(known.first, seen.first), max(known.last, seen.last)
            known.count += seen.count
    return {value: asdict(seen) for value, seen in sorted(merged.items(), key=lambda item: item[1].first)}
