"""Ten deploys and ten rollbacks in a row under load."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from tests.endurance.conftest import Trial

TIMES = 10
REQUESTS = 50_000


def test_ten_deploys_and_ten_rollbacks_fail_no_request(
    trial: Trial, record_property: Callable[[str, object], None]
) -> None:
    seconds: dict[str, list[float]] = {"deploy": [], "rollback": []}
    with trial.load(REQUESTS) as clients:
        for _ in range(TIMES):
            trial.change()
            for playbook, taken in seconds.items():
                began = time.monotonic()
                done = trial.play(playbook)
                taken.append(time.monotonic() - began)
                assert done.returncode == 0, done.stdout
        report = clients.finish()
    for playbook, taken in seconds.items():
        summary = f"median {statistics.median(taken):.1f} s, {min(taken):.1f} to {max(taken):.1f} s"
        record_property(playbook, summary)
        print(f"{playbook}: {summary}")
    print(f"requests: {report['total']}, failed: {report['failed']}")
    record_property("requests", report["total"])
    assert report["failed"] == 0, report["failures"]
    assert report["total"] >= REQUESTS
    assert len(report["releases"]) == TIMES + 1
