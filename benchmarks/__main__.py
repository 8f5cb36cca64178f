"""Measure, and write the results: `python -m benchmarks [--quick] [PART ...]`

Parts: first, unchanged, traffic, apps, many, deploys; all of them if none is named. `--quick` takes two of them and fewer
rounds. README.md says what is measured, and how.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import facts, page
from benchmarks.hosts import ROOT
from benchmarks.measure import PARTS, QUICK, Bench, clean_up, run
from benchmarks.report import as_data, table, write_results
from benchmarks.state import told

RESULTS = ROOT / "benchmarks" / "results"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[*PARTS, []], help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="a subset, in five minutes")
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement")
    parser.add_argument("--keep", action="store_true", help="leave the hosts")
    parser.add_argument("--page", type=Path, metavar="RESULTS", help="only write docs/benchmarks.md, from such a file")
    options = parser.parse_args(arguments)
    if options.page:
        page.write(json.loads(options.page.read_text()), options.page)
        return 0
    start, before = time.monotonic(), facts.machine()
    name = time.strftime("%Y-%m-%d", time.gmtime()) + ("-quick" if options.quick else "")
    path = RESULTS / f"{name}.json"

    def keep(bench: Bench) -> None:
        write_results(results(bench, before, round(time.monotonic() - start)), path)

    try:
        bench = run(options.parts or list(QUICK if options.quick else PARTS), options.quick, options.rounds, keep)
    finally:
        if not options.keep:
            clean_up()
    print(table([as_data(figure) for figure in bench.figures]))
    print(f"{path.relative_to(ROOT)}, after {time.monotonic() - start:.0f} s")
    return 0


def results(bench: Bench, machine: dict[str, Any], seconds: int) -> dict[str, Any]:
    """All that is known, for the file."""
    return {
        "machine": machine,
        "versions": facts.versions(Path(".venv/benchmarks/pyinfra/bin/pyinfra")),
        "host": facts.host(bench.ours),
        "seconds": seconds,
        "end_state": told(bench.state),
        "figures": [as_data(figure) for figure in bench.figures],
        "runs": {
            name: {
                "seconds": [run.seconds for run in runs],
                "until": [run.until for run in runs] if runs[0].until else None,
                "cpu": [run.cpu for run in runs],
                "tasks": len(runs[-1].tasks) or None,
                "each_task": runs[-1].tasks,
            }
            for name, runs in bench.runs.items()
        },
        "traffic": bench.traffic,
    }


if __name__ == "__main__":
    sys.exit(main())
