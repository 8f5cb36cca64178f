"""The collection as others use it: built, installed into a project of their own, far from this checkout."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.package import build
from tests.system.conftest import ROOT, TestHost, run

DOMAIN = "install.flask-ops.test"
APP = {
    "name": "shop",
    "wsgi": "demo_app:create_app()",
    "domains": [DOMAIN],
    "health": {"path": "/healthz"},
    "shared_paths": ["data", "uploads"],
    "static": {"path": "demo_app/static"},
    "migrate": "flask --app demo_app db upgrade",
    "secrets": {"FLASK_SECRET_KEY": "canary-0c51a9e77d3b42f8"},
}
BY_ROLE = """
- hosts: flask_servers
  become: true
  gather_facts: false
  roles:
    - role: flask_ops.production.nginx_proxy
      nginx_proxy_sites: "{{ flask_apps | flask_ops.production.options_of('nginx_proxy') }}"
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
    apps = [{**APP, "source": {"path": source}}]
    (inventory / "group_vars" / "flask_servers.yml").write_text(yaml.safe_dump({"flask_apps": apps}))
    (folder / "by_role.yml").write_text(BY_ROLE)


@pytest.fixture(scope="module")
def host(start) -> TestHost:
    return start("system-install", DOMAIN)


@pytest.fixture(scope="module")
def play(host, package, source, tmp_path_factory) -> Callable[..., str]:
    """Run a playbook from an empty project into which the package was installed, and nothing else."""
    project = tmp_path_factory.mktemp("project")
    write_project(project, host.inventory, str(source))
    elsewhere = {"ANSIBLE_COLLECTIONS_PATH": str(project / "collections"), "PYTHONPATH": "", "ANSIBLE_NOCOLOR": "1"}
    run("ansible-galaxy", "collection", "install", package, "-p", project / "collections", cwd=project, env=elsewhere)

    def play(playbook: str, *options: str) -> str:
        return run("ansible-playbook", "-i", "inventories/production", playbook, *options, cwd=project, env=elsewhere)

    return play


def test_two_builds_are_identical(package: Path, tmp_path: Path):
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (package, build(tmp_path))]
    assert digests[0] == digests[1]


def test_site_makes_the_server_and_a_second_run_changes_nothing(host: TestHost, play):
    play("flask_ops.production.site")
    assert json.loads(host.ask())["scheme"] == "https"
    assert " changed=0 " in play("flask_ops.production.site")


def test_deploy_rollback_and_status_work(host: TestHost, play, source: Path):
    first = json.loads(host.ask())["release"]
    (source / "demo_app" / "NEWS").write_text("a new version\n")
    play("flask_ops.production.deploy", "-e", "app=shop")
    second = json.loads(host.ask())["release"]
    assert second != first
    play("flask_ops.production.rollback", "-e", "app=shop")
    assert json.loads(host.ask())["release"] == first
    assert first in play("flask_ops.production.status")


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
