"""The collection as others use it: built, installed into a project of their own, far from this checkout."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
import yaml

from tests.package import build
from tests.system.conftest import DEMO_APP, ROOT, TestHost, run

COMMANDS = yaml.safe_load((ROOT / "tests" / "contract" / "commands.yml").read_text())
DOMAIN = "install.flask-ops.test"
APP = {
    **DEMO_APP,
    "name": "shop",
    "domains": [DOMAIN],
    "secrets": {"FLASK_SECRET_KEY": "canary-0c51a9e77d3b42f8"},
}
CHAT = {
    "name": "chat",
    "source": {"path": str(ROOT / "tests" / "system" / "chat")},
    "wsgi": "chat:app",
    "domains": ["chat.flask-ops.test"],
    "instances": 2,
    "threads": 100,
    "locations": [{"path": "/socket.io/", "websocket": True}],
    "secrets": {"FLASK_SECRET_KEY": "canary-51d07be2f3b94a1c"},
}
TALK = (ROOT / "tests" / "system" / "chat" / "talk.py").read_text()
BY_ROLE = """
- hosts: flask_servers
  become: true
  gather_facts: false
  roles:
    - role: flask_ops.production.nginx_proxy
      nginx_proxy_apps: [{name: shop, domains: [DOMAIN]}]
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of the demo app, to make new versions of."""
    copy = tmp_path_factory.mktemp("source") / "shop"
    shutil.copytree(ROOT / "examples" / "demo_app", copy)
    return copy


def write_project(folder: Path, hosts: str, source: str) -> None:
    inventory = folder / "inventories" / "production"
    (inventory / "group_vars").mkdir(parents=True)
    (inventory / "hosts.yml").write_text(hosts)
    write_apps(folder, {**APP, "source": {"path": source}})
    (folder / "by_role.yml").write_text(BY_ROLE.replace("DOMAIN", DOMAIN))


def write_apps(folder: Path, *apps: dict[str, Any]) -> None:
    group = folder / "inventories" / "production" / "group_vars" / "flask_servers.yml"
    group.write_text(yaml.safe_dump({"flask_apps": apps}))


@pytest.fixture(scope="module")
def host(start) -> TestHost:
    return start("system-install", DOMAIN)


@pytest.fixture(scope="module")
def project(host, source, tmp_path_factory) -> Path:
    """A user's project: an inventory, and nothing else."""
    folder = tmp_path_factory.mktemp("project")
    write_project(folder, host.inventory, str(source))
    return folder


@pytest.fixture(scope="module")
def play(project, package) -> Callable[..., str]:
    """Run a playbook from the project, into which the package was installed."""
    elsewhere = {"ANSIBLE_COLLECTIONS_PATH": str(project / "collections"), "PYTHONPATH": "", "ANSIBLE_NOCOLOR": "1"}
    run("ansible-galaxy", "collection", "install", package, "-p", project / "collections", cwd=project, env=elsewhere)

    def play(playbook: str, *options: str) -> str:
        return run("ansible-playbook", "-i", "inventories/production", playbook, *options, cwd=project, env=elsewhere)

    return play


@pytest.fixture
def announced(play) -> Callable[..., None]:
    """Run a playbook in check mode, then for good: both must say the same of each task, and name the same files."""

    def both(playbook: str, *options: str) -> None:
        checked, done = (tasks_of(play(playbook, "--diff", *more, *options)) for more in (["--check"], []))
        assert checked == done
        assert any("changed: " in line for line in done)

    return both


def tasks_of(output: str) -> list[str]:
    """What a run says: each task and what came of it, and the files of which it shows a difference."""
    words = re.compile(r"^(TASK \[.*\]|(?:ok|changed|skipping|included): \[[\w.-]+\]|(?:---|\+\+\+) .*)", re.MULTILINE)
    return words.findall(output)


def test_two_builds_are_identical(package: Path, tmp_path: Path):
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (package, build(tmp_path))]
    assert digests[0] == digests[1]


def test_site_makes_the_server_and_a_second_run_changes_nothing(host: TestHost, play):
    play("flask_ops.production.site")
    assert json.loads(host.ask())["scheme"] == "https"
    assert " changed=0 " in play("flask_ops.production.site")


def test_a_changed_inventory_does_what_check_mode_announces(play, announced, project: Path, source: Path):
    changed = {"env": {"FLASK_MAIL_SERVER": "mail.example.com"}, "client_max_body_size": "20m"}
    write_apps(project, {**APP, "source": {"path": str(source)}, **changed}, CHAT)
    announced("flask_ops.production.site")
    assert " changed=0 " in play("flask_ops.production.site", "--check")


def test_clients_of_socketio_find_their_instance_again_through_nginx(host: TestHost):
    host.ssh("echo 127.0.0.1 chat.flask-ops.test | sudo tee --append /etc/hosts")
    heard = json.loads(host.ssh(f"sudo /srv/chat/current/venv/bin/python -c {shlex.quote(TALK)}"))
    assert heard["by WebSocket"] == '42["heard","hello"]'
    # Each client asks each time with a new connection. Had an instance not known it, it would have had 400.
    assert heard["by polling"] == ['42["heard","hello"]'] * 12
    assert sorted(map(len, heard["processes of a client"])) == [1] * 12
    assert len(heard["processes"]) == 2


def test_deploy_rollback_and_status_work_as_announced(host: TestHost, play, announced, source: Path):
    first = json.loads(host.ask())["release"]
    (source / "demo_app" / "NEWS").write_text("a new version\n")
    announced("flask_ops.production.deploy", "-e", "app=shop")
    second = json.loads(host.ask())["release"]
    assert second != first
    announced("flask_ops.production.rollback", "-e", "app=shop")
    assert json.loads(host.ask())["release"] == first
    assert first in play("flask_ops.production.status")


def test_maintenance_closes_an_app_and_opens_it_as_announced(host: TestHost, announced):
    announced("flask_ops.production.maintenance", "-e", "app=shop", "-e", "state=on")
    with pytest.raises(HTTPError, match="503"):
        host.ask()
    announced("flask_ops.production.maintenance", "-e", "app=shop", "-e", "state=off")
    assert json.loads(host.ask())["scheme"] == "https"


@pytest.mark.parametrize("command", COMMANDS["on_the_server"])
def test_what_the_documentation_shows_works_on_the_server(host: TestHost, command: str):
    host.ssh(f"sudo sh -c {shlex.quote(command)}")


def test_a_role_and_a_filter_work_by_their_full_names(play):
    assert " failed=0 " in play("by_role.yml")


def test_the_newest_ansible_works_from_a_debian_13_controller(host: TestHost, package: Path, source: Path, tmp_path):
    """Debian 13 has Python 3.13, which the newest ansible-core needs; the server is its own controller."""
    write_project(tmp_path, "flask_servers: {hosts: {localhost: {ansible_connection: local}}}\n", "/home/admin/shop")
    pins = ROOT / "tests" / "system" / "newest-ansible.txt"
    host.send(package, source, tmp_path / "inventories", pins)
    host.ssh("sudo apt-get -q install -y --no-install-recommends python3-venv && python3 -m venv ansible")
    host.ssh(f"ansible/bin/pip install -q --require-hashes -r {pins.name}")
    host.ssh(f"ansible/bin/ansible-galaxy collection install {package.name}")
    newest = re.search(r"^ansible-core==(\S+)", pins.read_text(), re.MULTILINE)
    assert newest
    assert newest[1] in host.ssh("ansible/bin/ansible --version")
    again = "ansible/bin/ansible-playbook -i inventories/production flask_ops.production.site"
    host.ssh(again)
    assert " changed=0 " in host.ssh(again)
    assert json.loads(host.ask())["scheme"] == "https"
