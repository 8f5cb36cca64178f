#!/usr/bin/env python3
"""Run the project's checks and count them: `check.py [lint] [unit] [contract] [scenario ...]`

Without a name, everything. A failing step does not hide the ones after it. At the end: how long each
step took, and one line `N passed, N failed`. pytest's tests are counted one by one, also those that
Molecule runs on the test hosts; any other step counts as one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / ".venv" / "reports"

LINT = {
    "lint: ansible-lint": ["ansible-lint", "--offline", "--strict"],
    "lint: yamllint": ["yamllint", "--strict", "."],
    "lint: ruff": ["ruff", "check", "--quiet"],
    "lint: ruff format": ["ruff", "format", "--check", "--quiet"],
    "lint: mypy": ["mypy", "--no-error-summary"],
    "lint: changelog": ["antsibull-changelog", "lint"],
}
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
    """The scenarios there are; `default`, the whole stack, comes last."""
    names = (path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
    return sorted(names, key=lambda name: (name.split("-")[0] == "default", name))


def steps(wanted: list[str]) -> dict[str, list[str]]:
    """What the given names stand for: step -> command."""
    found: dict[str, list[str]] = {}
    for name in wanted:
        if name == "lint":
            found |= LINT
        elif name in ("unit", "contract"):
            found[name] = ["pytest", f"tests/{name}"]
        elif name in scenarios():
            found[f"scenario {name}"] = [*MOLECULE, "test", "--scenario-name", name]
        else:
            sys.exit(f"No check is called {name!r}. There are: lint, unit, contract, {', '.join(scenarios())}")
    return found


def run(name: str, command: list[str]) -> Result:
    """Run one step in view: what takes long shows how far it is."""
    print(f"\n=== {name}: {' '.join(command)}", flush=True)
    report = REPORTS / f"{name.replace(' ', '-')}.xml"
    report.unlink(missing_ok=True)
    environment = os.environ | {"PYTEST_ADDOPTS": f"{os.environ.get('PYTEST_ADDOPTS', '')} --junit-xml={report}"}
    start = time.monotonic()
    succeeded = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0
    result = Result(name, time.monotonic() - start, *counts(report, succeeded))
    print(result, flush=True)
    return result


def run_lint(name: str, command: list[str]) -> Result:
    """Run one tool that has something to say only if it finds something."""
    start = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    failed = done.returncode != 0
    if failed:
        print(f"\n=== {name}: {' '.join(command)}\n{done.stdout}{done.stderr}", flush=True)
    result = Result(name, time.monotonic() - start, int(not failed), int(failed))
    print(result, flush=True)
    return result


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
    todo = steps(wanted or ["lint", "unit", "contract", *scenarios()])
    REPORTS.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    lint = [name for name in todo if name in LINT]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # they do not disturb each other
        results = list(pool.map(run_lint, lint, [LINT[name] for name in lint]))
    results += [run(name, command) for name, command in todo.items() if name not in LINT]
    if len(results) > 1:
        print(f"\n=== {time.monotonic() - start:.0f} s in all")
        print(*results, sep="\n")
    print(Result("", 0, *(sum(getattr(r, key) for r in results) for key in ("passed", "failed", "skipped"))).counts)
    return int(any(result.failed for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
