#!/usr/bin/env python3
"""Run the project's checks and count them: `check.py [lint] [published] [unit] [contract] [system] [scenario ...]`

Without a name, everything. `--list` prints the names as JSON. A failing step does not hide the ones after it. Steps on test hosts run two at
a time, since they mostly wait; of those that pass, only the result is shown. At the end: how long each step
took, and one line `N passed, N failed`. pytest's tests are counted one by one, also those that Molecule runs
on the test hosts; any other step counts as one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / ".venv" / "reports"

LINT = {
    "lint: ansible-lint": ["ansible-lint", "--offline", "--strict"],
    "lint: yamllint": ["yamllint", "--strict", "."],
    "lint: ruff": ["ruff", "check", "--quiet"],
    "lint: ruff format": ["ruff", "format", "--check", "--quiet"],
    "lint: mypy": ["mypy", "--no-error-summary"],
    "lint: inventories": ["python", "-m", "tests.schema"],
    "lint: changelog": ["antsibull-changelog", "lint"],
    "lint: antsibull-docs": [
        *("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs=self", "."),
    ],
    "lint: zizmor": ["zizmor", "--offline", "--no-progress", "--quiet", ".github"],
    "lint: actionlint": ["python", "-m", "tests.graders", *map(str, (ROOT / ".github" / "workflows").glob("*.yml"))],
}
PUBLISHED = {
    "published: sanity": ["python", "-m", "tests.sanity"],
    "published: site": ["python", "-m", "tests.site"],
}
TOOLS = {"lint": LINT, "published": PUBLISHED}
PYTEST = ("unit", "contract", "system")
AT_ONCE = 2
LONGEST = ("default", "gunicorn_systemd-load", "app_processes", "system", "letsencrypt")
"""Of the steps on test hosts: they begin first, so that none is left alone at the end."""
MOLECULE = ["molecule", "-c", ".config/molecule/config.yml"]


@dataclass
class Result:
    name: str
    seconds: float
    passed: int
    failed: int
    skipped: int = 0

    @property
    def counts(self) -> str:
        return f"{self.passed} passed, {self.failed} failed" + (f", {self.skipped} skipped" if self.skipped else "")

    def __str__(self) -> str:
        return f"{'FAIL' if self.failed else 'ok  '} {self.seconds:6.1f} s  {self.name}: {self.counts}"


def scenarios() -> list[str]:
    """The scenarios there are."""
    return sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))


def longest_first(steps_on_hosts: Iterable[str]) -> list[str]:
    """The order in which steps on test hosts begin."""
    rank = {name: number for number, name in enumerate(LONGEST)}
    return sorted(steps_on_hosts, key=lambda step: rank.get(step.removeprefix("scenario "), len(rank)))


def steps(wanted: list[str]) -> dict[str, list[str]]:
    """What the given names stand for: step -> command."""
    found: dict[str, list[str]] = {}
    for name in wanted:
        if name in TOOLS:
            found |= TOOLS[name]
        elif name in PYTEST:
            found[name] = ["pytest", f"tests/{name}"]
        elif name in scenarios():
            found[f"scenario {name}"] = [*MOLECULE, "test", "--scenario-name", name]
        else:
            sys.exit(
                f"No check is called {name!r}. There are: {', '.join((*TOOLS, *PYTEST))}, {', '.join(scenarios())}"
            )
    return found


def run(name: str, command: list[str], in_view: bool = True) -> Result:
    """Run one step that writes a report of its tests.

    :param in_view: show its output as it comes; else all of it at the end, and only if the step failed.
    """
    headline = f"\n=== {name}: {' '.join(command)}"
    print(headline if in_view else f"...            {name}", flush=True)
    report = REPORTS / f"{name.replace(' ', '-')}.xml"
    report.unlink(missing_ok=True)
    environment = os.environ | {"PYTEST_ADDOPTS": f"{os.environ.get('PYTEST_ADDOPTS', '')} --junit-xml={report}"}
    start = time.monotonic()
    if in_view:
        succeeded, output = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0, ""
    else:
        succeeded, output = quiet(command, environment)
    result = Result(name, time.monotonic() - start, *counts(report, succeeded))
    if result.failed and output:
        print(headline, output, sep="\n")
    print(result, flush=True)
    return result


def run_tool(name: str, command: list[str]) -> Result:
    """Run one tool that has something to say only if it finds something."""
    start = time.monotonic()
    succeeded, output = quiet(command, os.environ)
    if not succeeded:
        print(f"\n=== {name}: {' '.join(command)}\n{output}", flush=True)
    result = Result(name, time.monotonic() - start, int(succeeded), int(not succeeded))
    print(result, flush=True)
    return result


def quiet(command: list[str], environment: Mapping[str, str]) -> tuple[bool, str]:
    """Run a command; whether it succeeded, and all that it said."""
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode == 0, done.stdout


def counts(report: Path, succeeded: bool) -> tuple[int, int, int]:
    """Passed, failed and skipped. A step that ran no tests has failed, whatever its exit code says."""
    passed = failed = skipped = 0
    if report.exists():
        for suite in ET.parse(report).iter("testsuite"):
            wrong = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            left_out = int(suite.get("skipped", 0))
            passed += int(suite.get("tests", 0)) - wrong - left_out
            failed += wrong
            skipped += left_out
    if not failed and not (succeeded and passed):
        failed = 1
    return passed, failed, skipped


def main(wanted: list[str]) -> int:
    everything = [*TOOLS, *PYTEST, *scenarios()]
    if wanted == ["--list"]:
        print(json.dumps(everything))
        return 0
    todo = steps(wanted or everything)
    REPORTS.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    tools = [name for name in todo if name.partition(": ")[0] in TOOLS]
    on_hosts = longest_first(name for name in todo if name == "system" or name.startswith("scenario "))
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # they do not disturb each other
        results = list(pool.map(run_tool, tools, [todo[name] for name in tools]))
    results += [run(name, todo[name]) for name in todo if name not in tools and name not in on_hosts]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results += pool.map(partial(run, in_view=len(on_hosts) == 1), on_hosts, [todo[name] for name in on_hosts])
    if len(results) > 1:
        print(f"\n=== {time.monotonic() - start:.0f} s in all")
        print(*results, sep="\n")
    print(Result("", 0, *(sum(getattr(r, key) for r in results) for key in ("passed", "failed", "skipped"))).counts)
    return int(any(result.failed for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
