"""docs/benchmarks.md and its plots, from one file of results."""

from __future__ import annotations

import statistics
import textwrap
from pathlib import Path
from typing import Any

from benchmarks.hosts import ROOT
from benchmarks.report import bars, plain_table, table

PAGE = ROOT / "docs" / "benchmarks.md"
IMAGES = ROOT / "docs" / "images"

TEXT = """\
# Benchmarks

Written by `python -m benchmarks --page` from
[{source}](../{source}): do not edit. How it is measured, and how to
repeat it: [benchmarks/README.md](../benchmarks/README.md). Each ratio is of two things that took turns on one machine;
of seconds, less is better, of requests per second, more.

{machine}

## Figures

{figures}
## Runs

{tasks}
![Seconds of a run that changes nothing, by tool]({controller})

## Traffic

By `wrk` with 16 connections, from the machine that runs the host: the ratios count, not the numbers.

{traffic}
![Requests per second of a dynamic page through HTTPS, by set-up]({requests})
{overload}"""


def write(results: dict[str, Any], source: Path) -> None:
    plots = {"controller": "benchmark-runs.svg", "requests": "benchmark-traffic.svg"}
    unchanged = {name: run for name, run in results["runs"].items() if name.startswith("no change: ")}
    (IMAGES / plots["controller"]).write_text(
        bars(
            "A run that changes nothing: median seconds",
            "s",
            [
                (name.removeprefix("no change: "), statistics.median(run["seconds"]), "site" in name or "hosts" in name)
                for name, run in unchanged.items()
            ],
        )
    )
    pages = {name: found for name, found in results["traffic"].items() if isinstance(found.get("ours"), dict)}
    (IMAGES / plots["requests"]).write_text(
        bars(
            "A dynamic page: requests per second",
            "/s",
            [(name, found["per_second"], name == "ours") for name, found in pages.get("dynamic page", {}).items()],
        )
    )
    PAGE.write_text(
        TEXT.format(
            source=source.resolve().relative_to(ROOT),
            machine=machine(results),
            figures=table(results["figures"]),
            tasks=runs(results["runs"]),
            traffic=traffic(results["traffic"]),
            overload=overload(results["traffic"].get("twice the capacity")),
            **{name: f"images/{plot}" for name, plot in plots.items()},
        )
    )


def machine(results: dict[str, Any]) -> str:
    facts, versions, host = results["machine"], results["versions"], results["host"]
    return textwrap.fill(
        f"Measured {facts['began'][:10]} on {facts['cores']} cores ({facts['processor']}), {facts['memory_gib']} GiB, which "
        f"the controller, the hosts and wrk share. Load before: {facts['load_before'][0]}. Controller: "
        f"{versions['ansible-core']}, Python {versions['python']}, {versions['pyinfra']}. Host: Debian {host['debian']}, "
        f"nginx {host['nginx']}, systemd {host['systemd']}. The end state has "
        + ", ".join(f"{count} {name}" for name, count in results["end_state"].items())
        + ".",
        width=120,
    )


def runs(found: dict[str, Any]) -> str:
    return plain_table(
        ["run", "median", "lowest", "highest", "controller's CPU", "tasks"],
        [
            [
                name,
                f"{statistics.median(run['seconds']):.1f} s",
                f"{min(run['seconds']):.1f} s",
                f"{max(run['seconds']):.1f} s",
                f"{statistics.median(run['cpu']):.1f} s",
                run["tasks"],
            ]
            for name, run in found.items()
        ],
    )


def traffic(found: dict[str, Any]) -> str:
    rows = []
    for page, contenders in found.items():
        if page == "twice the capacity":
            continue
        for name, load in contenders.items():
            workers = load.get("workers_mib") or [worker["mib"] for worker in load.get("workers", [])]
            memory = f"{statistics.median(workers):.0f} MiB" if workers else ""
            cpu = [worker["cpu_seconds"] for worker in load.get("workers", [])]
            spent = f"{statistics.median(cpu):.1f} s" if cpu else ""
            rows.append([page, name, *(load[key] for key in ("per_second", "p50_ms", "p99_ms", "bad")), memory, spent])
    columns = ["what", "by", "requests/s", "p50 ms", "p99 ms", "not answered well", "memory of a worker", "its CPU"]
    return plain_table(columns, rows)


def overload(found: dict[str, Any] | None) -> str:
    if not found:
        return ""
    answers = ", ".join(f"{count} x {status}" for status, count in found["statuses"].items())
    refused = (
        f"{found['refused_p50_ms']} ms (p99 {found['refused_p99_ms']} ms)" if found["refused_p50_ms"] else "none was"
    )
    return (
        "\n## Twice the capacity\n\n"
        f"The page that waits 50 ms, {found['offered_per_second']} requests a second where it can answer "
        f"{found['capacity_per_second']}: of {found['sent']} requests, {answers}. Answered after {found['answered_p50_ms']} "
        f"ms (p99 {found['answered_p99_ms']} ms); refused after {refused}. Afterwards: "
        f"{found['afterwards']['per_second']} requests a second, p99 {found['afterwards']['p99_ms']} ms.\n"
    )
