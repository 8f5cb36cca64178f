"""site.yml with a wrong inventory: real runs of ansible-playbook that end before they connect to any host.

The host of the inventory is a closed port of this machine. A run that got as far as connecting would report
"unreachable", and the test would fail.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.playbooks.bad_inventories import CANARY, CASES, SECRET_VARIABLES, SHOP

ROOT = Path(__file__).resolve().parents[3]
BLOG = {**SHOP, "name": "blog", "domains": ["blog.example.com"]}
CLOSED = {"ansible_host": "127.0.0.1", "ansible_port": 1}


def run(tmp_path: Path, apps: Any, **variables: Any) -> subprocess.CompletedProcess[str]:
    return run_all(tmp_path, {"web1": {"flask_apps": apps, **variables}})


def run_all(
    directory: Path, hosts: dict[str, dict[str, Any]], playbook: str = "site", *options: str
) -> subprocess.CompletedProcess[str]:
    """A playbook for several hosts, each with variables of its own."""
    inventory = directory / "hosts.yml"
    inventory.write_text(
        yaml.safe_dump({"flask_servers": {"hosts": {name: CLOSED | variables for name, variables in hosts.items()}}})
    )
    plain = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml", "ANSIBLE_FORKS": "4"}
    command = ["ansible-playbook", "-vvv", "--diff", "-i", str(inventory), *options, f"playbooks/{playbook}.yml"]
    # Away from a terminal: Ansible would be stopped where it is asked for in the background.
    apart: dict[str, Any] = {"stdin": subprocess.DEVNULL, "start_new_session": True}
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | plain, capture_output=True, text=True, check=False, **apart
    )


def variables(app: Any, more: dict[str, Any]) -> dict[str, Any]:
    """Those of a case: SHOP with other options, or several such apps."""
    changes = app if isinstance(app, list) else [app]
    apps = [{name: value for name, value in (SHOP | one).items() if value is not ...} for one in changes]
    return SECRET_VARIABLES | {"flask_apps": apps} | more


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The output of one run over all cases, each of them a host of its own."""
    hosts = {f"case{number}": variables(app, *more or [{}]) for number, (_, _, app, *more) in enumerate(CASES)}
    done = run_all(tmp_path_factory.mktemp("bad"), hosts)
    assert done.returncode != 0
    return done.stdout + done.stderr


@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{place} {says}" for place, says, *_ in CASES])
def test_a_bad_inventory_is_refused_by_place_rule_and_good_value(output: str, number: int) -> None:
    place, says = CASES[number][:2]
    recap = rf"^case{number} +: ok=0 +changed=0 +unreachable=0 +failed=1 +skipped=0 "
    assert re.search(recap, output, re.MULTILINE), "it got further than the check"
    (error,) = re.findall(rf"^fatal: \[case{number}\]: FAILED! =>(.*?)(?=^\S|\Z)", output, re.MULTILINE | re.DOTALL)
    # The place has the number and the name: flask_apps[0] (shop).
    lines = [re.sub(r"(\]) \([a-z0-9-]+\)", r"\1", line.strip()) for line in error.splitlines()]
    start = f"- flask_apps[0]{place}" if place.startswith(".") else f"- {place}"
    (line,) = [line.replace("''", "'") for line in lines if line.startswith((f"{start}: ", f"{start} "))]
    assert [words for words in says.split("...") if words not in line] == []


def test_no_bad_inventory_makes_a_run_print_a_secret(output: str) -> None:
    assert output.count("FAILED!") == len(CASES)
    assert [line for line in output.splitlines() if CANARY in line] == []


def test_all_errors_are_reported_at_once_and_nothing_is_done(tmp_path: Path) -> None:
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
        "flask_apps[1].domains[1]: 'shop.example.com' is already flask_apps[0].domains[0]": "a domain or a path of its own",
        "flask_apps[1].wsgi: 'app.py'": "a good value is shop:create_app()",
        "flask_apps[1].wokers: is not a known option": "did you mean 'workers'?",
        "flask_apps[1].secrets: the name '1TOKEN'": "a good value is",
        "nginx_proxy_http_port: 70000": "a good value is 80",
        "nginx_proxy_htpps_port: is not a variable": "did you mean 'nginx_proxy_https_port'?",
    }.items():
        lines = {re.sub(r"(\]) \([a-z0-9-]+\)", r"\1", line.strip()) for line in said.splitlines()}
        (line,) = {line for line in lines if place in line and line.startswith("- ")}
        assert good in line
    assert CANARY not in said


def test_a_right_inventory_gets_as_far_as_the_host(tmp_path: Path) -> None:
    example = ROOT / "inventories" / "example" / "group_vars" / "flask_servers.yml"
    done = run(tmp_path, yaml.safe_load(example.read_text())["flask_apps"])
    assert "unreachable=1" in done.stdout


# --- check.yml, which needs no host at all -----------------------------------------------------------------------------


def check_inventory(tmp_path: Path, **hosts: Any) -> subprocess.CompletedProcess[str]:
    nowhere = {"ansible_host": "192.0.2.1"}
    return run_all(tmp_path, {name: nowhere | {"flask_apps": apps} for name, apps in hosts.items()}, "check")


def test_an_inventory_is_checked_without_a_connection(tmp_path: Path) -> None:
    done = check_inventory(tmp_path, web1=[SHOP, BLOG], web2=[SHOP | {"state": "absent"}])
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(re.findall(r"^ +msg: (.*)", done.stdout, re.MULTILINE)) == [
        "1 app, nothing to correct",
        "2 apps, nothing to correct",
    ]
    assert CANARY not in done.stdout + done.stderr


def test_the_check_of_an_inventory_shows_the_errors_of_each_host(tmp_path: Path) -> None:
    done = check_inventory(tmp_path, web1=[SHOP | {"workers": 0}], web2=[SHOP, BLOG | {"wokers": 4}], web3=[SHOP])
    assert done.returncode != 0
    assert "flask_apps[0] (shop).workers: 0 must be from 1 to 256" in done.stdout
    assert "flask_apps[1] (blog).wokers: is not a known option; did you mean 'workers'?" in done.stdout
    assert done.stdout.count("nothing to correct") == 1
    assert CANARY not in done.stdout + done.stderr


def test_an_inventory_is_checked_for_the_roles_of_site() -> None:
    site, check = (yaml.safe_load((ROOT / "playbooks" / f"{name}.yml").read_text())[0] for name in ("site", "check"))
    arguments = site["tasks"][0]["flask_ops.production.prepare_apps"]
    assert check["tasks"][0]["flask_ops.production.prepare_apps"] == arguments | {"check_host": False}


# --- what is given on the command line, and what must not come from elsewhere --------------------------------------------


def refused(tmp_path: Path, playbook: str, *options: str, **variables: Any) -> str:
    """The output of a playbook, which must end before it connects to any host."""
    done = run_all(tmp_path, {"web1": {"flask_apps": [SHOP, BLOG], **variables}}, playbook, *options)
    assert done.returncode != 0
    assert "unreachable=0    failed=1" in done.stdout, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("playbook", "options", "says"),
    [
        ("deploy", [], "app: is missing; name the app: -e app=shop (flask_apps has shop, blog)"),
        ("deploy", ["-e", "app=shpo"], "app: 'shpo' is not an app; did you mean -e app=shop?"),
        ("deploy", ["-e", "app=shop", "-e", "ref=main"], "did you mean -e version=main?"),
        ("deploy", ["-e", "app=shop", "-e", "version="], "version: must be a text that is not empty"),
        ("rollback", ["-e", "app=shop", "-e", "version=v1"], "version: is not an option of rollback"),
        ("maintenance", ["-e", "app=shop"], "state: must be on or off: -e state=on"),
        ("status", ["-e", "app=shpo"], "app: 'shpo' is not an app; did you mean -e app=shop?"),
    ],
)
def test_a_wrong_option_gets_one_line_with_the_right_one(
    tmp_path: Path, playbook: str, options: list[str], says: str
) -> None:
    # Variables of the inventory with the names of the options are somebody else's.
    output = refused(tmp_path, playbook, *options, version="2026.1", release="bookworm", app="x", state="CA")
    assert says in output
    assert output.count("Origin:") == 1
    assert "Error rendering template" not in output


def test_the_place_of_an_app_that_a_playbook_has_chosen_is_that_in_the_users_list(tmp_path: Path) -> None:
    output = refused(tmp_path, "deploy", "-e", "app=blog", flask_apps=[SHOP, BLOG | {"workers": 0}])
    assert "flask_apps[1] (blog).workers: 0 must be from 1 to 256" in output


@pytest.mark.parametrize(
    ("playbook", "options", "variables"),
    [
        ("site", [], {"letsencrypt_webroot": "/srv/www"}),
        ("deploy", ["-e", "app=shop", "-e", "letsencrypt_webroot=/srv/www"], {}),
    ],
    ids=["inventory", "command-line"],
)
def test_a_variable_that_the_playbook_sets_is_refused(
    tmp_path: Path, playbook: str, options: list[str], variables: dict[str, Any]
) -> None:
    output = refused(tmp_path, playbook, *options, **variables)
    assert "letsencrypt_webroot: is set by the playbook, and this value would be ignored; leave it out" in output


def test_a_vault_that_cannot_be_read_is_named_with_the_option_that_opens_it(tmp_path: Path) -> None:
    inventory = tmp_path / "group_vars"
    inventory.mkdir()
    vault = "$ANSIBLE_VAULT;1.1;AES256\n" + "3" * 80 + "\n"
    text = "".join(f"            {line}\n" for line in vault.splitlines())
    (inventory / "flask_servers.yml").write_text(
        f"flask_apps:\n  - name: shop\n    secrets:\n      FLASK_SECRET_KEY: !vault |\n{text}"
    )
    for playbook, options in (("site", []), ("deploy", ["-e", "app=shop"])):
        done = run_all(tmp_path, {"web1": {}}, playbook, *options)
        assert "give --ask-vault-pass or --vault-password-file" in done.stdout + done.stderr
