"""Fixtures for the tests of all scenarios, and the host's journal with every failure."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shlex
import socket
import ssl
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

UNITS = pytest.StashKey[set[str]]()
JOURNAL_LINES = 100


@pytest.fixture
def unit(request, host):
    """`unit("shop-blue.service")`: a unit of the host, whose own journal is shown if the test fails."""

    def get(name):
        request.node.stash.setdefault(UNITS, set()).add(name)
        return host.service(name)

    return get


@pytest.fixture
def once(host):
    """For what is the same code on every Debian, and takes its time: skip it on all but one."""
    if host.backend.host != "debian13":
        pytest.skip("on Debian 13 alone")


@pytest.fixture
def put(host):
    """`put("/run/program.py", text)`: write a file on the host, as root."""

    def write(path, text):
        encoded = base64.b64encode(text.encode()).decode()
        with host.sudo():
            host.check_output(f"sh -c 'echo {encoded} | base64 -d > {path}'")

    return write


@pytest.fixture
def address(host):
    """The host's address, as the controller reaches it."""
    return host.ansible.get_variables()["ansible_host"]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: str

    @property
    def json(self):
        return json.loads(self.body)


@dataclass(frozen=True)
class Site:
    """A site on the host, asked as a client asks: by its name, and trusting only the certificate it should have."""

    name: str
    address: str
    certificate: str

    def connect(self, server_name=None, port=443):
        plain = socket.create_connection((self.address, port), timeout=20)
        if port == 80:
            return plain
        context = ssl.create_default_context(cadata=self.certificate)
        context.check_hostname = server_name is None
        return context.wrap_socket(plain, server_hostname=server_name or self.name)

    def ask(self, path="/", method="GET", body=None, headers=None, port=443):
        connection = http.client.HTTPConnection(self.name, timeout=20)
        connection.sock = self.connect(port=port)
        try:
            connection.request(method, path, body=body, headers={"Accept": "application/json", **(headers or {})})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read().decode())
        finally:
            connection.close()


@pytest.fixture
def site(host, address):
    """`site("shop", "shop.example.com").ask("/")`: a site by the name of its app and one of its domains."""

    def get(app, domain):
        with host.sudo():
            certificate = host.file(f"/etc/nginx/certificates/{app}/fullchain.pem").content_string
        return Site(domain, address, certificate)

    return get


@pytest.fixture
def reboot(host):
    """`reboot()`: restart the host, and wait until it can be reached again."""
    scenario = os.environ["MOLECULE_SCENARIO_NAME"].replace("_", "-")
    name = f"{scenario}-{host.backend.host}"
    tool = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / "tests" / "hosts"
    return lambda: subprocess.run(["python3", tool, "reboot", name], check=True, capture_output=True)


@dataclass(frozen=True)
class Run:
    """One run of ansible-playbook."""

    status: int
    output: str

    @property
    def changed(self):
        return " changed=0 " not in self.output


@pytest.fixture
def play(host, tmp_path):
    """`play("flask_ops.production.site", flask_apps=[...])`: run a playbook against this host alone."""
    inventory = os.environ["MOLECULE_INVENTORY_FILE"]

    def run(playbook, *options, **variables):
        # A file of its own for each run: two may start at the same time.
        with tempfile.NamedTemporaryFile("w", dir=tmp_path, suffix=".json", delete=False) as given:
            json.dump(variables, given)
        command = ["ansible-playbook", "-i", inventory, "--limit", host.backend.host, "-e", f"@{given.name}"]
        plain = os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
        done = subprocess.run([*command, *options, playbook], env=plain, capture_output=True, text=True, check=False)
        # YAML folds long lines of a message: compare words, not lines.
        return Run(done.returncode, " ".join((done.stdout + done.stderr).split()))

    return run


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    host = getattr(item, "funcargs", {}).get("host")
    if report.failed and host is not None:
        name = host.backend.get_pytest_id()
        try:
            for title, text in journal(host, item.stash.get(UNITS, set())):
                report.sections.append((f"{title} on {name}", text))
        except RuntimeError as error:  # the host is gone: the test's own failure matters more
            report.sections.append((f"no journal from {name}", str(error)))
    return report


def journal(host, units):
    """The host's warnings, and all that the units concerned said: those the test asked for, and the failed ones."""
    show = f"journalctl --no-pager --output=short-precise --lines={JOURNAL_LINES}"
    failed = host.run("systemctl list-units --failed --plain --no-legend").stdout.splitlines()
    yield "journal, warnings", host.run(f"{show} --priority=warning").stdout
    for name in sorted(units | {line.split()[0] for line in failed}):
        yield f"journal of {name}", host.run(f"{show} --unit={shlex.quote(name)}").stdout
