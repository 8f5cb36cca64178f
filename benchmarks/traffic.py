"""Requests by wrk, from this machine to a test host and nowhere else; and a client that does not wait for answers."""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
import json
import os
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template
from typing import Any

from benchmarks.hosts import Host
from benchmarks.state import State

PEERS = Path(__file__).parent / "peers"
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "m": 60.0}
MOST_SECONDS, MOST_CONNECTIONS, MOST_RATE = 60, 256, 2000


@dataclass(frozen=True)
class Load:
    """What one run of wrk found."""

    per_second: float
    p50_ms: float
    p99_ms: float
    bad: int
    """Answers that are no success, and broken connections."""


def parsed(text: str) -> Load:
    """Read what wrk prints."""

    def number(pattern: str) -> float:
        found = re.search(pattern, text)
        return float(found[1]) if found else 0.0

    def milliseconds(percentile: int) -> float:
        found = re.search(rf"^\s+{percentile}%\s+([\d.]+)(us|ms|s|m)\b", text, re.MULTILINE)
        return round(float(found[1]) * UNITS[found[2]] * 1000, 3) if found else 0.0

    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    bad = int(number(r"Non-2xx or 3xx responses: (\d+)")) + sum(map(int, broken.groups() if broken else ()))
    return Load(number(r"Requests/sec:\s+([\d.]+)"), milliseconds(50), milliseconds(99), bad)


def install() -> None:
    """wrk is a Debian package."""
    if shutil.which("wrk"):
        return
    sudo = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    for words in (["update"], ["install", "--yes", "--no-install-recommends", "wrk"]):
        subprocess.run([*sudo, "apt-get", "--quiet", *words], check=True, stdout=subprocess.DEVNULL)


def wrk(url: str, seconds: int, connections: int = 16, script: str = "") -> Load:
    """One bounded run. The names of test hosts are in /etc/hosts."""
    assert seconds <= MOST_SECONDS
    assert connections <= MOST_CONNECTIONS
    command = ["wrk", "--threads", "2", "--connections", str(connections), "--duration", f"{seconds}s", "--latency"]
    command += ["--timeout", "10s", *(("--script", str(PEERS / "wrk" / script)) if script else ()), url]
    return parsed(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def release(host: Host, domain: str) -> object:
    """Which release of the demonstration answers."""
    return json.loads(answer(host, domain, "/")[1])["release"]


def header_names(host: Host, domain: str, path: str, port: int) -> set[str]:
    """Of an answer, without those that say how the connection goes on."""
    return set(answer(host, domain, path, port)[0]) - {"connection", "keep-alive"}


def answer(host: Host, domain: str, path: str, port: int = 443) -> tuple[dict[str, str], bytes]:
    """Headers, by their names in lower case, and body, over a connection of its own."""
    assert ipaddress.ip_address(host.address).is_private
    connection = http.client.HTTPSConnection(domain, timeout=10)
    connection.sock = trusting().wrap_socket(socket.create_connection((host.address, port), 10), server_hostname=domain)
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        found = connection.getresponse()
        return {name.lower(): value for name, value in found.getheaders()}, found.read()
    finally:
        connection.close()


def trusting() -> ssl.SSLContext:
    """Certificates of test hosts are their own."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def start_peers(host: Host, state: State, workers: int, threads: int) -> None:
    """Beside what the collection set up: other nginxes and gunicorns, of the same programs and the same release."""
    values = {"domain": state.domain, "release": state.release, "certificate": f"/etc/nginx/certificates/{state.app}"}
    stop_peers(host)
    script = ["mkdir -p /etc/bench"]
    for name in ("tuned", "tutorial", "bare"):
        text = AtTemplate((PEERS / "nginx" / f"{name}.conf").read_text()).substitute(values)
        host.root(f"mkdir -p /etc/bench; cat > /etc/bench/{name}.conf", text.encode())
        script.append(f"systemd-run --quiet --unit=bench-nginx-{name} nginx -c /etc/bench/{name}.conf -g 'daemon off;'")
    gunicorn = (
        f"systemd-run --quiet --uid={state.app} --gid={state.app} --working-directory={state.release}/app "
        f"--property=EnvironmentFile=/etc/flask-ops/{state.app}/environment --property=ReadWritePaths=/srv/{state.app}/shared"
    )
    program = f"{state.venv}/bin/gunicorn --no-control-socket"
    wsgi = "'demo_app:create_app()'"
    script += [
        (
            f"{gunicorn} --unit=bench-gunicorn {program} --bind 0.0.0.0:8000 --worker-class gthread "
            f"--workers {workers} --threads {threads} {wsgi}"
        ),
        (
            f"{gunicorn} --unit=bench-tutorial --property=RuntimeDirectory=bench-tutorial {program} --umask 0 "
            f"--bind unix:/run/bench-tutorial/app.sock --workers 3 {wsgi}"
        ),
    ]
    host.root("\n".join(script))


def stop_peers(host: Host) -> None:
    host.root("systemctl stop 'bench-*' 2>/dev/null; systemctl reset-failed 'bench-*' 2>/dev/null; true")


class AtTemplate(Template):
    """nginx has a use of its own for dollars."""

    delimiter = "@"
    pattern = r"(?P<escaped>(?!))|@(?P<named>[a-z]+)@|(?P<braced>(?!))|(?P<invalid>(?!))"  # type: ignore[assignment]


def workers_of(host: Host, unit: str) -> list[dict[str, float]]:
    """Memory that each worker has for itself (PSS), and its processor seconds so far."""
    told = host.root(
        f"for pid in $(pgrep -P $(systemctl show -P MainPID {unit})); do "
        "echo \"$(awk '/^Pss:/ {print $2}' /proc/$pid/smaps_rollup) "
        "$(awk '{print ($14 + $15) / 100}' /proc/$pid/stat)\"; done"
    )
    pairs = [line.split() for line in told.splitlines()]
    return [{"mib": round(int(memory) / 1024, 1), "cpu": float(cpu)} for memory, cpu in pairs]


@dataclass(frozen=True)
class Overload:
    """What became of requests that were sent at a rate, whether or not the ones before were answered."""

    offered_per_second: float
    sent: int
    statuses: dict[str, int]
    answered_p50_ms: float | None
    answered_p99_ms: float | None
    refused_p50_ms: float | None
    refused_p99_ms: float | None


def overload(host: Host, domain: str, path: str, rate: float, seconds: int) -> Overload:
    """Send at a fixed rate to a test host, over HTTPS, for a bounded time; wait ten seconds for each answer."""
    assert ipaddress.ip_address(host.address).is_private
    assert rate <= MOST_RATE
    assert seconds <= MOST_SECONDS
    results = asyncio.run(_send(host.address, domain, path, rate, seconds))
    good = [took for status, took in results if status.startswith("2")]
    refused = [took for status, took in results if status.startswith(("4", "5"))]
    return Overload(
        round(rate, 1),
        len(results),
        dict(Counter(status for status, _ in results)),
        *(percentile(good, share) for share in (0.5, 0.99)),
        *(percentile(refused, share) for share in (0.5, 0.99)),
    )


def percentile(values: list[float], share: float) -> float | None:
    """In milliseconds."""
    ordered = sorted(values)
    return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1000, 1) if ordered else None


async def _send(address: str, domain: str, path: str, rate: float, seconds: int) -> list[tuple[str, float]]:
    context = trusting()
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    request = f"GET {path} HTTP/1.1\r\nHost: {domain}\r\nAccept: application/json\r\n\r\n".encode()

    async def one() -> tuple[str, float]:
        start = time.monotonic()
        try:
            async with asyncio.timeout(10):
                while True:
                    kept = bool(idle)
                    reader, writer = (
                        idle.pop()
                        if kept
                        else await asyncio.open_connection(address, 443, ssl=context, server_hostname=domain)
                    )
                    writer.write(request)
                    await writer.drain()
                    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
                    if head or not kept:
                        break
            length = re.search(rb"(?i)content-length: (\d+)", head)
            if length:
                await reader.readexactly(int(length[1]))
                idle.append((reader, writer))
            else:
                writer.close()
            return head.split()[1].decode(), time.monotonic() - start
        except TimeoutError:
            return "no answer", time.monotonic() - start
        except (OSError, asyncio.IncompleteReadError, IndexError):
            return "broken", time.monotonic() - start

    under_way, begin = [], time.monotonic()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, begin + number / rate - time.monotonic()))
        under_way.append(asyncio.create_task(one()))
    return list(await asyncio.gather(*under_way))


def summary(loads: list[Load]) -> dict[str, Any]:
    """The medians of several runs."""
    fields = {name: [asdict(load)[name] for load in loads] for name in asdict(loads[0])}
    medians = {name: round(statistics.median(values), 2) for name, values in fields.items() if name != "bad"}
    return {**medians, "bad": sum(fields["bad"]), "runs": [load.per_second for load in loads]}
