"""What runs on the controller: our playbooks, and the peers that reach the same end state."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import hosts
from benchmarks.hosts import ROOT, Host
from benchmarks.state import APP, State
from benchmarks.timing import Run, measured

PEERS = ROOT / "benchmarks" / "peers"
WORK = ROOT / ".venv" / "benchmarks"
STATE = WORK / "state"
PYINFRA = WORK / "pyinfra"
GIT_PORT = 19418
DOMAIN = "demo.bench.test"

# Of the other apps of the host with five: what each is run by.
KINDS: dict[str, dict[str, Any]] = {
    "gthread": {"worker_class": "gthread", "workers": 2},
    "sync": {"worker_class": "sync", "workers": 2},
    "gevent": {"worker_class": "gevent", "workers": 2},
    "waitress": {"server": "waitress"},
}


def app(name: str, repository: str, domain: str, **more: Any) -> dict[str, Any]:
    """An entry of flask_apps: the demonstration, as its README says."""
    return {
        "name": name,
        "source": {"git": repository, "version": "main"},
        "wsgi": "demo_app:create_app()",
        "domains": [domain],
        "health": {"path": "/healthz"},
        "shared_paths": ["data", "uploads"],
        "static": {"path": "demo_app/static"},
        "migrate": "flask --app demo_app db upgrade",
        "secrets": {"FLASK_SECRET_KEY": "only-for-benchmarks-0123456789abcdef"},
        **more,
    }


def one_app(repository: str) -> list[dict[str, Any]]:
    return [app(APP, repository, DOMAIN)]


def five_apps(repository: str) -> list[dict[str, Any]]:
    others = [app(f"app-{kind}", repository, f"{kind}.bench.test", **how) for kind, how in KINDS.items()]
    return [*one_app(repository), *others]


@dataclass
class Repository:
    """Where all tools get the code from: served by this machine, so that no distance is measured."""

    url: str
    tree: Path
    number: int = 0

    def commit(self) -> None:
        """A release that differs in code alone."""
        self.number += 1
        (self.tree / "demo_app" / "number.py").write_text(f"NUMBER = {self.number}\n")
        git("-C", self.tree, "add", "--all")
        git("-C", self.tree, "commit", "--quiet", "--message", f"Number {self.number}")
        git("-C", self.tree, "push", "--quiet", "origin", "HEAD:main")


def git(*words: str | Path) -> None:
    identity = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@bench.test", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *map(str, words)], check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def repository(host: Host) -> Iterator[Repository]:
    """The demonstration in a repository of its own, served to the hosts by git's own daemon."""
    address = host.root("ip route show default").split()[2]
    served, tree = WORK / "git", WORK / "tree"
    for folder in (served, tree):
        shutil.rmtree(folder, ignore_errors=True)
    git("init", "--quiet", "--bare", "--initial-branch=main", served / "demo.git")
    git("clone", "--quiet", served / "demo.git", tree)
    shutil.copytree(ROOT / "examples" / "demo_app", tree, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pyc*"))
    listen = [f"--listen={address}", f"--port={GIT_PORT}", "--reuseaddr"]
    command = ["git", "daemon", f"--base-path={served}", "--export-all", *listen, str(served)]
    daemon = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_for(address, GIT_PORT)
        found = Repository(f"git://{address}:{GIT_PORT}/demo.git", tree)
        found.commit()
        yield found
    finally:
        daemon.terminate()
        daemon.wait()


def wait_for(address: str, port: int) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on {address}:{port}")


def install_pyinfra() -> Path:
    """The peer in an environment of its own, with the pinned versions. Returns the program."""
    pins = PEERS / "pyinfra" / "requirements.txt"
    stamp = PYINFRA / "stamp"
    if not stamp.exists() or stamp.read_text() != pins.read_text():
        shutil.rmtree(PYINFRA, ignore_errors=True)
        subprocess.run(["uv", "venv", "--quiet", PYINFRA], check=True)
        command = ["uv", "pip", "sync", "--quiet", "--require-hashes", "--python", PYINFRA / "bin" / "python", pins]
        subprocess.run([str(word) for word in command], check=True, env={**os.environ, "UV_SYSTEM_CERTS": "1"})
        stamp.write_text(pins.read_text())
    return PYINFRA / "bin" / "pyinfra"


def ansible(playbook: str | Path, targets: list[Host], variables: Path, *words: str) -> Run:
    """Run a playbook with the checkout's ansible.cfg, over connections that begin anew."""
    inventory = variables.with_name(f"{targets[0].name}-{len(targets)}.yml")
    inventory.write_text(hosts.inventory(targets))
    tasks = WORK / f"tasks-{targets[0].name}.json"
    with tempfile.TemporaryDirectory(prefix="bench-") as sockets:
        return measured(
            ["ansible-playbook", "-i", inventory, "-e", f"@{variables}", *words, playbook],
            env={
                "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "benchmarks" / "callbacks"),
                "ANSIBLE_CALLBACKS_ENABLED": "task_times",
                "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets,
                "BENCHMARK_TASKS": str(tasks),
            },
            tasks=tasks,
        )


def ours(playbook: str, targets: list[Host], apps: list[dict[str, Any]], *words: str) -> Run:
    """One of the collection's playbooks."""
    variables = WORK / f"apps-{len(apps)}.json"
    variables.write_text(json.dumps({"flask_apps": apps}))
    return ansible(ROOT / "playbooks" / f"{playbook}.yml", targets, variables, *words)


def usual(host: Host) -> Run:
    """The play as tutorials write it."""
    return ansible(PEERS / "usual" / "site.yml", [host], STATE / "state.json")


def pyinfra(host: Host) -> Run:
    """The same by pyinfra."""
    environment = {"BENCHMARK_HOST": json.dumps(host.told), "BENCHMARK_STATE": str(STATE / "state.json")}
    folder = PEERS / "pyinfra"
    return measured([PYINFRA / "bin" / "pyinfra", "-y", folder / "inventory.py", folder / "deploy.py"], env=environment)


def by_hand(host: Host, script: str, state: State, **more: str) -> Run:
    """A script, sent over SSH and run as root."""
    values = {**state.as_variables(), **more}
    words = " ".join(f"{name}='{value}'" for name, value in values.items())
    text = (PEERS / "shell" / f"{script}.sh").read_bytes()
    return measured([*host.ssh_command, f"sudo env {words} bash -s"], stdin=text)


def provision_by_hand(host: Host, state: State) -> Run:
    """The script, and before it all files in one archive."""
    files = (STATE / "files.tar").read_bytes()
    sent = measured([*host.ssh_command, "sudo tee /tmp/files.tar >/dev/null"], stdin=files)
    ran = by_hand(host, "provision", state)
    return Run(round(sent.seconds + ran.seconds, 3), round(sent.cpu + ran.cpu, 3))
