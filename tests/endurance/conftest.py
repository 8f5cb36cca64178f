"""A server with one live app, and playbooks that are run against it, or killed."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.load import Load, demo_load
from tests.system.conftest import DEMO_APP, ROOT, TestHost, start  # noqa: F401 - a fixture

DOMAIN = "endurance.flask-ops.test"


def certificate_of(address: str, name: str) -> str:
    """What is served under a name; without one, nothing is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((address, 443), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=name) as connection,
    ):
        return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"")


@dataclass(frozen=True)
class Trial:
    """One app on one server. Its source is a directory that each `change` gives something new."""

    host: TestHost
    directory: Path

    @property
    def inventory(self) -> Path:
        return self.directory / "hosts.yml"

    def describe(self) -> None:
        self.inventory.write_text(self.host.inventory)
        app = {
            **DEMO_APP,
            "name": "demo",
            "source": {"path": str(self.directory / "demo_app")},
            "domains": [DOMAIN],
            "secrets": {"FLASK_SECRET_KEY": "canary-51f7c09b2e8a4d63"},
        }
        variables = {"all": {"vars": {"flask_apps": [app]}}}
        (self.directory / "apps.yml").write_text(yaml.safe_dump(variables))

    def change(self) -> None:
        """Code only, as most releases are."""
        (self.directory / "demo_app" / "changed.txt").write_text(str(time.time()))

    def play(self, playbook: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one of the playbooks; with `KILL_TASK` and `KILL_DELAY`, until it is killed."""
        command = ["ansible-playbook", "-i", self.inventory, "-i", self.directory / "apps.yml", "-e", "app=demo"]
        kill = {
            "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callbacks"),
            "ANSIBLE_CALLBACKS_ENABLED": "killed",
        }
        return subprocess.run(
            [*map(str, command), f"playbooks/{playbook}.yml"],
            cwd=ROOT,
            env={**os.environ, **(kill if environment else {}), **environment, "ANSIBLE_NOCOLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            start_new_session=True,  # what is killed is the run, and not this
        )

    def load(self, requests: int) -> AbstractContextManager[Load]:
        """Clients that keep asking, for as long as the runs take."""
        address = self.host.facts["address"]
        certificate = self.directory / "demo.crt"
        certificate.write_text(certificate_of(address, DOMAIN))
        return demo_load(DOMAIN, address, certificate, requests=requests, max_seconds=1800)


@pytest.fixture(scope="module")
def trial(start: Callable[..., TestHost], tmp_path_factory: pytest.TempPathFactory) -> Trial:  # noqa: F811
    directory = tmp_path_factory.mktemp("trial")
    shutil.copytree(ROOT / "examples" / "demo_app", directory / "demo_app")
    found = Trial(start("endurance", DOMAIN), directory)
    found.describe()
    done = found.play("site")
    assert done.returncode == 0, done.stdout
    return found
