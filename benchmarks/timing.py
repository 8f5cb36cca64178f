"""Commands that are timed, rounds that take turns, and what is said of the numbers."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """One run of a command: seconds by the clock, seconds of this machine's processors, and of each task."""

    seconds: float
    cpu: float = 0.0
    tasks: list[tuple[str, float]] = field(default_factory=list)
    until: float | None = None
    """Seconds until what was watched changed; the command may have had more to do."""


class FailedError(Exception):
    """A command that must succeed did not; the text shows its last words."""


def measured(
    command: Sequence[str | Path], env: Mapping[str, str] | None = None, stdin: bytes = b"", tasks: Path | None = None
) -> Run:
    """Run a command that must succeed.

    Processor time is that of the command and of all that it waited for: of Ansible without ssh's masters in the
    background, and of no tool what its hosts did.

    :param tasks: where the callback `task_times` writes.
    """
    if tasks:
        tasks.unlink(missing_ok=True)
    before = os.times()
    start = time.monotonic()
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **(env or {})},
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    seconds = time.monotonic() - start
    after = os.times()
    if done.returncode:
        last_words = done.stdout.decode(errors="replace")[-3000:]
        raise FailedError(f"{' '.join(map(str, command))[:300]}: exit status {done.returncode}\n{last_words}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    took = [(str(name), float(took)) for name, took in json.loads(tasks.read_text())] if tasks else []
    return Run(round(seconds, 3), round(cpu, 3), took)


def watched(command: Callable[[], Run], look: Callable[[], object]) -> Run:
    """Run a command, and note when what somebody outside sees has become something else."""
    before, changed, done = look(), [0.0], threading.Event()
    start = time.monotonic()

    def watch() -> None:
        while not done.is_set() and not changed[0]:
            if look() != before:
                changed[0] = time.monotonic() - start
            time.sleep(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        run = command()
    finally:
        done.set()
        thread.join()
    if not changed[0]:
        raise FailedError(f"it is {before} as before, after {run.seconds} s")
    return replace(run, until=round(changed[0], 3))


def interleaved(contenders: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Let each do its work once a round: what disturbs the machine disturbs them all.

    Who begins changes from round to round.
    """
    results: dict[str, list[T]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            results[name].append(contenders[name]())
    return results


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours to theirs, round by round."""
    return [mine / yours for mine, yours in zip(ours, theirs, strict=True)]


def seconds(runs: Sequence[Run]) -> list[float]:
    return [run.seconds for run in runs]


@dataclass(frozen=True)
class Figure:
    """One ratio, of all rounds, and what it should be."""

    work: str
    against: str
    ratios: list[float]
    target: float | None = None
    at_most: bool = True
    ours: str = ""
    theirs: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)

    @property
    def spread(self) -> tuple[float, float]:
        return min(self.ratios), max(self.ratios)

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.median <= self.target if self.at_most else self.median >= self.target
