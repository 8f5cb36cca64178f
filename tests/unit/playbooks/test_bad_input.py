"""site.yml with a wrong inventory: real runs of ansible-playbook that end before any host is asked.

The host of the inventory is a closed port of this machine. A run that got as far as connecting would say
"unreachable", and the test would fail.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]

CANARY = "canary-2f8d61"
SHOP = {
    "name": "shop",
    "source": {"git": "https://git.example.com/acme/shop.git", "version": "v1.4.2"},
    "wsgi": "shop:create_app()",
    "domains": ["shop.example.com"],
}


def run(tmp_path: Path, apps: list[dict[str, Any]], **variables: Any) -> subprocess.CompletedProcess[str]:
    inventory = tmp_path / "hosts.yml"
    hosts = {"web1": {"ansible_host": "127.0.0.1", "ansible_port": 1}}
    inventory.write_text(yaml.safe_dump({"flask_servers": {"hosts": hosts, "vars": {"flask_apps": apps, **variables}}}))
    plain = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"}
    command = ["ansible-playbook", "-vvv", "--diff", "-i", str(inventory), "playbooks/site.yml"]
    return subprocess.run(command, cwd=ROOT, env=os.environ | plain, capture_output=True, text=True, check=False)


def test_all_errors_are_told_at_once_and_nothing_is_done(tmp_path: Path) -> None:
    blog = {
        **SHOP,
        "name": "../../etc",
        "domains": ["exa mple.com", "shop.example.com"],
        "wsgi": "app.py",
        "wokers": 4,
        "secrets": {"1TOKEN": CANARY, "FLASK_SECRET_KEY": 4711},
    }
    done = run(tmp_path, [SHOP, blog], nginx_proxy_http_port=70000, nginx_proxy_htpps_port=443)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "changed=0    unreachable=0    failed=1" in said
    for place, good in {
        "flask_apps[1].name: '../../etc'": "a good value is shop",
        "flask_apps[1].domains[0]: 'exa mple.com'": "a good value is shop.example.com",
        "flask_apps[1].domains[1]: 'shop.example.com' is already flask_apps[0].domains[0]": "a domain of its own",
        "flask_apps[1].wsgi: 'app.py'": "a good value is shop:create_app()",
        "flask_apps[1].wokers: is not a known option": "did you mean 'workers'?",
        "flask_apps[1].secrets: the name '1TOKEN'": "a good value is",
        "nginx_proxy_http_port: 70000": "a good value is 80",
        "nginx_proxy_htpps_port: is not a variable": "did you mean 'nginx_proxy_https_port'?",
    }.items():
        (line,) = {line.strip() for line in said.splitlines() if place in line and line.lstrip().startswith("- ")}
        assert good in line
    assert CANARY not in said


@pytest.mark.parametrize("apps", [None, "shop", {"shop": {}}, [["shop"]]])
def test_a_list_that_is_none_is_refused(tmp_path: Path, apps: Any) -> None:
    done = run(tmp_path, apps)
    assert done.returncode != 0
    assert "flask_apps" in done.stdout
    assert "changed=0    unreachable=0    failed=1" in done.stdout


def test_a_right_inventory_gets_as_far_as_the_host(tmp_path: Path) -> None:
    example = ROOT / "inventories" / "example" / "group_vars" / "flask_servers.yml"
    done = run(tmp_path, yaml.safe_load(example.read_text())["flask_apps"])
    assert "unreachable=1" in done.stdout
