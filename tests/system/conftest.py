"""What these tests share: test hosts, and the two ways of asking them."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMO_APP = {
    "wsgi": "demo_app:create_app()",
    "health": {"path": "/healthz"},
    "shared_paths": ["data", "uploads"],
    "static": {"path": "demo_app/static"},
    "migrate": "flask --app demo_app db upgrade",
}
"""An entry of flask_apps for examples/demo_app, but for its name, source, domains and secret."""


def run(*command: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> str:
    """What a command that must succeed printed, errors included."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=env and {**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@dataclass(frozen=True)
class TestHost:
    """A test host, and how it is reached."""

    __test__ = False  # pytest: not a test

    name: str
    facts: dict[str, Any]

    @property
    def inventory(self) -> str:
        return subprocess.run(
            ["python3", "tests/hosts", "inventory", self.name], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout

    @property
    def login(self) -> str:
        return f"{self.facts['user']}@{self.facts['address']}"

    @property
    def ssh_options(self) -> list[str]:
        trust = ["-o", f"UserKnownHostsFile={self.facts['known_hosts']}", "-o", "StrictHostKeyChecking=yes"]
        return ["-F", "none", *trust, "-o", "IdentitiesOnly=yes", "-i", self.facts["identity_file"]]

    def ssh(self, command: str) -> str:
        return run("ssh", *self.ssh_options, self.login, command)

    def send(self, *paths: Path) -> None:
        """Copy files to the home directory."""
        run("scp", "-q", "-r", *self.ssh_options, *paths, f"{self.login}:")

    def ask(self, path: str = "/") -> str:
        """The app's answer over HTTPS, by the host's first domain and whatever certificate it shows."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        request = urllib.request.Request(
            f"https://{self.facts['domains'][0]}{path}", headers={"Accept": "application/json"}
        )
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:
            return str(answer.read().decode())


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[..., TestHost]]:
    """`start("name", "a.domain")`: a new Debian 13, gone after the tests of the file."""
    names: list[str] = []

    def up(name: str, *domains: str) -> TestHost:
        names.append(name)
        run("python3", "tests/hosts", "down", name)
        given = [word for domain in domains for word in ("--domain", domain)]
        command = ["python3", "tests/hosts", "up", name, "--dist", "13", *given, "--json"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return TestHost(name, json.loads(done.stdout))

    yield up
    for name in names:
        run("python3", "tests/hosts", "down", name)
