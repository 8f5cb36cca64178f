"""What takes too long for every test run: `python3 tests/env.py python -m tests.endurance -i hosts.yml -e @apps.yml ...`

    interrupt   kills a run in each of its tasks in turn, and lets the next run repair what it left
    switches    ten deploys and ten rollbacks in a row

Both ask the app all the time, from outside, and count what fails. The inventory names one test host (`make host`),
which has been set up by site.yml before; the app is a copy of examples/demo_app whose directory this may change.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="endurance")
    parser.add_argument("what", choices=["interrupt", "switches"])
    parser.add_argument("-i", "--inventory", required=True, help="the inventory of one test host")
    parser.add_argument("-e", "--apps", required=True, type=Path, help="a file with flask_apps, one app")
    parser.add_argument("--certificate", required=True, help="the certificate that the app's site has")
    parser.add_argument("--playbook", default="site", help="with interrupt: which playbook is killed")
    parser.add_argument("--delay", type=float, default=1, help="with interrupt: seconds into the task")
    parser.add_argument("--pause", type=float, default=0.1, help="seconds between two requests of a client")
    options = parser.parse_args()
    trial = Trial(options)
    with tempfile.TemporaryDirectory() as work:
        with trial.load(Path(work), options) as report:
            sound = trial.interrupt() if options.what == "interrupt" else trial.switches()
        told = json.loads(report.read_text())
    print(f"requests: {told['total']}, failed: {told['failed']}, {told['failures']}")
    return int(not sound or told["failed"] != 0)


class Trial:
    def __init__(self, options: argparse.Namespace) -> None:
        self.inventory, self.apps, self.options = options.inventory, options.apps, options
        (self.app,) = yaml.safe_load(options.apps.read_text())["flask_apps"]
        (self.host,) = yaml.safe_load(Path(options.inventory).read_text())["flask_servers"]["hosts"].values()

    def interrupt(self) -> bool:
        sound = True
        for number in range(1, 100):
            self.change()
            killed = self.play(self.options.playbook, KILL_TASK=str(number), KILL_DELAY=str(self.options.delay))
            place = next((line for line in killed.stdout.splitlines() if line.startswith("KILLED")), None)
            if place is None:
                break
            repaired, again = self.play(self.options.playbook), self.play(self.options.playbook)
            good = (repaired.returncode, again.returncode) == (0, 0) and " changed=0 " in again.stdout
            print(f"{'ok  ' if good else 'FAIL'} {number:2} {place}", flush=True)
            if not good:
                print(repaired.stdout[-3000:], again.stdout[-3000:], sep="\n---\n", flush=True)
            sound = sound and good
        return sound

    def switches(self) -> bool:
        sound = True
        for number in range(1, 11):
            self.change()
            for playbook in ("deploy", "rollback"):
                began = time.monotonic()
                done = self.play(playbook)
                sound = sound and done.returncode == 0
                seconds = time.monotonic() - began
                print(f"{'ok  ' if done.returncode == 0 else 'FAIL'} {number:2} {playbook} {seconds:.1f} s", flush=True)
        return sound

    def change(self) -> None:
        """Give the app's source something new: the next run has a release to make."""
        (Path(self.app["source"]["path"]) / "changed.txt").write_text(str(time.time()))

    def play(self, playbook: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = ["ansible-playbook", "-i", self.inventory, "-e", f"@{self.apps}", "-e", f"app={self.app['name']}"]
        kill = {
            "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callbacks"),
            "ANSIBLE_CALLBACKS_ENABLED": "killed",
        }
        return subprocess.run(
            [*command, f"playbooks/{playbook}.yml"],
            cwd=ROOT,
            env={**os.environ, **(kill if environment else {}), **environment, "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,  # what is killed is the run, and not this
        )

    @contextmanager
    def load(self, work: Path, options: argparse.Namespace) -> Iterator[Path]:
        """Clients that ask until this is over; the report is complete after it."""
        report, stop = work / "report.json", work / "stop"
        command = [sys.executable, "-m", "tests.load", f"--url=https://{self.app['domains'][0]}"]
        command += [f"--connect={self.host['ansible_host']}:443", f"--cafile={options.certificate}"]
        command += [f"--pause={options.pause}", f"--until-file={stop}", "--max-seconds=1800", "--requests=1000"]
        command += ["--post-path=/echo", "--long-path=/slow?seconds=3"]
        with report.open("w") as output:
            clients = subprocess.Popen(command, cwd=ROOT, stdout=output)
            try:
                yield report
            finally:
                stop.touch()
                clients.wait()


if __name__ == "__main__":
    sys.exit(main())
