"""A run that is killed in the midst of each of its tasks in turn: the app answers on, and the next run repairs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.endurance.conftest import Trial


@pytest.mark.parametrize("playbook", ["deploy", "site"])
def test_the_next_run_repairs_what_a_killed_one_left(
    trial: Trial, playbook: str, record_property: Callable[[str, object], None]
) -> None:
    tasks: list[str] = []
    wrong: list[str] = []
    requests, failures = 0, []
    while True:
        trial.change()
        with trial.load(requests=100) as clients:
            killed = trial.play(playbook, KILL_TASK=str(len(tasks) + 1), KILL_DELAY="0.7")
            place = next((line for line in killed.stdout.splitlines() if line.startswith("KILLED in: ")), None)
            if place is None:
                break
            tasks.append(place.removeprefix("KILLED in: "))
            # What was killed is Ansible: on the host, its step goes on to its end, and the next run waits for it.
            repaired = trial.play(playbook)
            again = trial.play(playbook)
            report = clients.finish()
        good = (repaired.returncode, again.returncode) == (0, 0) and " changed=0 " in again.stdout
        print(f"{'ok  ' if good and not report['failed'] else 'FAIL'} {playbook}: {tasks[-1]}", flush=True)
        if not good:
            wrong.append(f"{tasks[-1]}\n{repaired.stdout[-3000:]}\n---\n{again.stdout[-3000:]}")
        requests += report["total"]
        failures += report["failures"]
    assert killed.returncode == 0, killed.stdout
    record_property("tasks", len(tasks))
    record_property("requests", requests)
    print(f"{playbook}: killed in {len(tasks)} tasks; requests: {requests}, failed: {len(failures)}")
    assert not wrong, "\n===\n".join(wrong)
    assert not failures
