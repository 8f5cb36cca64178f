"""What has an app's name on the host and was not created by this collection: found by marks, whatever the name."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.flask_ops.production.plugins.module_utils._host import ownership
from ansible_collections.flask_ops.production.plugins.modules import host_facts
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.apps import path_templates
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.ownership import (
    COMMENT,
    Claim,
    host_claims,
    ownership_errors,
    question,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import ROLE_NAMES, ROLES

from tests.unit.plugins.apps import app, prepared

MARKER_LINE = f"# {ownership.MARKER}: changes made here are lost.\n"


# --- users and groups -------------------------------------------------------------------------------------------------


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The users and groups of a host, wherever they come from."""
    known = SimpleNamespace(users={}, groups={})
    monkeypatch.setattr(pwd, "getpwnam", lambda name: known.users[name])
    monkeypatch.setattr(grp, "getgrnam", lambda name: known.groups[name])
    return known


def user(comment: str = "Flask app shop", home: str = "/srv/shop", gid: int = 990) -> SimpleNamespace:
    return SimpleNamespace(pw_gecos=comment, pw_dir=home, pw_gid=gid)


def verdict() -> str:
    return ownership.account_conflict("shop", "Flask app shop", "/srv/shop")


def test_a_name_that_nobody_has_is_free(accounts: SimpleNamespace):
    assert verdict() == ""


def test_the_user_that_the_role_created_is_the_apps(accounts: SimpleNamespace):
    accounts.users["shop"], accounts.groups["shop"] = user(), SimpleNamespace(gr_gid=990)
    assert verdict() == ""


@pytest.mark.parametrize(
    "other",
    [
        user(comment="Sally Shop,,,"),
        user(comment=""),
        user(comment="Flask app shop2"),
        user(comment="Flask app shop,,,"),
        user(home="/home/shop"),
        user(home="/var/lib/shop"),
    ],
)
def test_any_other_user_of_that_name_is_foreign(accounts: SimpleNamespace, other: SimpleNamespace):
    accounts.users["shop"], accounts.groups["shop"] = other, SimpleNamespace(gr_gid=990)
    assert f"the comment '{other.pw_gecos}' and the home {other.pw_dir}" in verdict()


def test_a_group_without_a_user_is_foreign(accounts: SimpleNamespace):
    accounts.groups["shop"] = SimpleNamespace(gr_gid=990)
    assert verdict()


def test_a_group_that_is_not_the_users_is_foreign(accounts: SimpleNamespace):
    accounts.users["shop"], accounts.groups["shop"] = user(gid=990), SimpleNamespace(gr_gid=50)
    assert verdict()


def files_of(role: str, tasks: str) -> list[dict[str, Any]]:
    """The files that a role describes."""
    given = yaml.safe_load((ROLES / role / "tasks" / tasks).read_text())
    return [file for task in given for file in task.get("flask_ops.production.config_files", {}).get("files", [])]


def test_the_mark_of_a_user_is_what_the_role_gives_it():
    (task,) = (
        task
        for task in yaml.safe_load((ROLES / "python_app" / "tasks" / "account.yml").read_text())
        if "ansible.builtin.user" in task
    )
    assert task["ansible.builtin.user"]["comment"] == COMMENT.format("{{ item[0] }}")
    assert task["ansible.builtin.user"]["home"] == "{{ item[1] }}"
    assert "zip(__python_app_present | map(attribute='paths.root'))" in task["loop"]


# --- directories ------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path for a directory, on a host whose root runs the test."""
    monkeypatch.setattr(ownership, "ROOT", os.getuid())
    return tmp_path / "shop"


def test_a_directory_that_is_not_there_or_unused_is_free(place: Path):
    assert ownership.directory_conflict(str(place)) == ""
    place.mkdir()
    (place / "lost+found").mkdir()
    assert ownership.directory_conflict(str(place)) == ""


def test_a_directory_in_use_needs_the_mark(place: Path):
    place.mkdir()
    (place / "data").touch()
    assert "no file .flask-ops" in ownership.directory_conflict(str(place))
    (place / ".flask-ops").touch()
    assert ownership.directory_conflict(str(place)) == ""


def test_a_mark_that_root_did_not_make_is_none(place: Path, monkeypatch: pytest.MonkeyPatch):
    place.mkdir()
    (place / ".flask-ops").touch()
    monkeypatch.setattr(ownership, "ROOT", os.getuid() + 1)
    assert ownership.directory_conflict(str(place))


def test_a_link_or_a_file_in_its_place_is_foreign(place: Path, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    place.symlink_to("elsewhere")
    assert "symbolic link" in ownership.directory_conflict(str(place))
    place.unlink()
    place.touch()
    assert "not a directory" in ownership.directory_conflict(str(place))


def test_the_role_writes_the_mark():
    assert "mark" in [file.get("path") for file in files_of("python_app", "account.yml")]
    paths = path_templates("app")
    assert paths["mark"] == f"{paths['root']}/{ownership.MARK}"


# --- files and units --------------------------------------------------------------------------------------------------


def test_a_file_is_the_apps_by_its_marker_line(tmp_path: Path):
    path = tmp_path / "shop.conf"
    assert ownership.file_conflict(str(path)) == ""
    path.write_text("server {}\n")
    assert ownership.file_conflict(str(path))
    path.write_text(MARKER_LINE)
    assert ownership.file_conflict(str(path)) == ""


def test_a_broken_link_and_a_directory_are_foreign(tmp_path: Path):
    (tmp_path / "shop.conf").symlink_to("nowhere")
    assert ownership.file_conflict(str(tmp_path / "shop.conf"))
    assert ownership.file_conflict(str(tmp_path))


def unit(monkeypatch: pytest.MonkeyPatch, name: str, **shown: str) -> str:
    monkeypatch.setattr(ownership, "units_properties", lambda names, *_: [shown for _ in names])
    return ownership.unit_conflicts([name]).get(name, "")


def test_a_unit_that_systemd_does_not_know_is_free(monkeypatch: pytest.MonkeyPatch):
    assert unit(monkeypatch, "shop-blue.service", LoadState="not-found", FragmentPath="") == ""
    assert ownership.unit_conflicts([]) == {}


def test_a_unit_is_the_apps_by_the_marker_in_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "shop-blue.service"
    path.write_text("[Service]\n")
    assert str(path) in unit(monkeypatch, path.name, FragmentPath=str(path), LoadState="loaded")
    path.write_text(MARKER_LINE)
    assert unit(monkeypatch, path.name, FragmentPath=str(path), LoadState="loaded") == ""


def test_a_template_is_the_file_of_its_instances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "shop-worker@.service"
    path.write_text(MARKER_LINE)
    assert unit(monkeypatch, "shop-worker@2.service", FragmentPath=str(path), LoadState="loaded") == ""


def test_an_alias_of_another_unit_is_foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "blog-blue.service"
    path.write_text(MARKER_LINE)
    assert "alias" in unit(monkeypatch, "shop-blue.service", FragmentPath=str(path), LoadState="loaded")


def test_a_masked_unit_is_foreign(monkeypatch: pytest.MonkeyPatch):
    assert "masked" in unit(monkeypatch, "shop-blue.service", FragmentPath="/dev/null", LoadState="masked")


def test_an_old_init_script_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "shop-worker.service"
    path.write_text("[Service]\n")
    shown = {"FragmentPath": str(path), "SourcePath": "/etc/init.d/shop-worker", "LoadState": "loaded"}
    assert "/etc/init.d/shop-worker" in unit(monkeypatch, path.name, **shown)


def test_drop_ins_without_a_unit_are_foreign_and_those_of_the_apps_unit_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ownership, "UNITS", (str(tmp_path),))
    (tmp_path / "shop-blue.service.d").mkdir()
    assert "drop-ins" in unit(monkeypatch, "shop-blue.service", LoadState="not-found")
    path = tmp_path / "shop-blue.service"
    path.write_text(MARKER_LINE)
    assert unit(monkeypatch, path.name, FragmentPath=str(path), LoadState="loaded") == ""


def test_a_unit_that_a_run_has_made_for_a_moment_is_no_obstacle(monkeypatch: pytest.MonkeyPatch):
    path = f"{ownership.TRANSIENT}shop-preflight.service"
    assert unit(monkeypatch, "shop-preflight.service", FragmentPath=path, LoadState="loaded") == ""


def test_an_app_is_deployed_where_it_has_a_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ownership, "SLOTS", str(tmp_path / "flask-ops"))
    assert ownership.deployed_apps() == []
    for path in ("shop/blue", "blog/green", "new"):
        (tmp_path / "flask-ops" / path).mkdir(parents=True)
    (tmp_path / "flask-ops" / "letsencrypt.json").touch()
    assert ownership.deployed_apps() == ["blog", "shop"]


# --- what is asked, and what is answered ------------------------------------------------------------------------------


def claims(*roles: str, **options: Any) -> list[Claim]:
    return host_claims([("a[0]", shop) for shop in prepared(app(**options))], roles or ROLE_NAMES, "web1")


def asked(*roles: str, **options: Any) -> dict[str, Any]:
    return question(claims(*roles, **options))


def test_every_role_asks_for_what_it_creates():
    worker = {"name": "worker", "kind": "worker", "command": "x", "instances": 2}
    timer = {"name": "night", "kind": "timer", "command": "x", "schedule": "daily"}
    elsewhere = {"name": "beat", "kind": "scheduler", "command": "x", "only_on": "web2"}
    wanted = asked(processes=[worker, timer, elsewhere])
    assert wanted["accounts"] == [{"name": "shop", "comment": "Flask app shop", "home": "/srv/shop"}]
    assert wanted["directories"] == ["/srv/shop"]
    slots = {f"shop-{slot}.{kind}" for slot in ("blue", "green") for kind in ("service", "socket")}
    processes = {"shop-worker@1.service", "shop-worker@2.service", "shop-night.timer", "shop-night.service"}
    assert set(wanted["units"]) == slots | processes | {"shop-migrate.service", "shop-preflight.service"}
    assert {"/etc/nginx/sites-enabled/shop.conf", "/etc/logrotate.d/shop"} <= set(wanted["files"])


def test_a_role_alone_asks_for_nothing_of_the_others():
    assert asked("nginx_proxy")["accounts"] == asked("nginx_proxy")["units"] == []
    assert asked("gunicorn_systemd")["accounts"] == asked("gunicorn_systemd")["files"] == []


def test_every_file_of_a_site_that_nginx_reads_is_asked_for():
    """A file below a directory of the collection's own needs no mark."""
    paths = prepared(app())[0]["paths"]
    written = {paths[file["path"]] for file in files_of("nginx_proxy", "files.yml") if "path" in file}
    assert {path for path in written if path.startswith("/etc/nginx/")} == set(asked("nginx_proxy")["files"])


@pytest.mark.parametrize("state", ["present", "absent"])
def test_what_is_foreign_is_named_with_the_reason_and_the_way_out(state: str):
    wanted = [*claims(name="blog"), *claims(state=state)]
    (error,) = ownership_errors(wanted, {"/srv/shop": "it has no file .flask-ops"})
    assert error.startswith("a[0].name: the host has the directory '/srv/shop' already")
    assert "it has no file .flask-ops" in error
    assert ("such as shop-app" in error) == (state == "present")
    assert ("take the entry out of the list" in error) == (state == "absent")
    assert "docs/from-hand-made.md" in error


def test_the_facts_are_those_of_ansibles_own_setup(tmp_path: Path):
    setup = ["ansible", "localhost", "-m", "ansible.builtin.setup", "-a"]
    asked = [*setup, "gather_subset=!all,!min,hardware,distribution,platform,service_mgr"]
    told = subprocess.run(asked, cwd=tmp_path, check=True, capture_output=True, text=True)
    theirs = json.loads(told.stdout.partition(" => ")[2])["ansible_facts"]
    ours = host_facts.facts()
    assert ours == {name: theirs[name] for name in ours}
