"""The options of the playbooks for one app come from the command line, and a slip is never ignored."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.flask_ops.production.plugins.lookup import command_line as lookup
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.command_line import option_errors

APPS: list[dict[str, Any]] = [{"name": "shop"}, {"name": "blog"}, {"name": "old", "state": "absent"}]
TAKES = {
    "deploy": {"app": True, "version": False},
    "rollback": {"app": True, "release": False},
    "maintenance": {"app": True, "state": True},
    "status": {"app": False},
}


def errors(playbook: str, apps: Any = APPS, /, **given: Any) -> list[str]:
    return option_errors(playbook, TAKES[playbook], given, apps)


@pytest.mark.parametrize(
    ("playbook", "given"),
    [
        ("deploy", {"app": "shop"}),
        ("deploy", {"app": "shop", "version": "v1.5.0"}),
        ("rollback", {"app": "blog", "release": "3f2c9a1b7d20-5e1c88aa"}),
        ("maintenance", {"app": "shop", "state": "on"}),
        ("maintenance", {"app": "shop", "state": "off"}),
        ("status", {}),
        ("status", {"app": "blog"}),
    ],
)
def test_right_options_are_let_through(playbook: str, given: dict[str, str]):
    assert errors(playbook, **given) == []


@pytest.mark.parametrize("name", ["flask_apps", "ansible_user", "region", "python_app_keep_releases", "host", "env"])
def test_other_extra_variables_are_nobodys_business(name: str):
    assert errors("deploy", app="shop", **{name: "x"}) == []


@pytest.mark.parametrize("playbook", ["deploy", "rollback", "maintenance"])
def test_a_missing_app_is_named_with_those_that_there_are(playbook: str):
    (error, *_) = errors(playbook, state="on") if playbook == "maintenance" else errors(playbook)
    assert error == "app: is missing; name the app: -e app=shop (flask_apps has shop, blog)"


@pytest.mark.parametrize(
    ("app", "says"),
    [
        ("shpo", "did you mean -e app=shop?"),
        ("zzz", "flask_apps has shop, blog"),
        ("old", "'old' has the state absent"),
        ("", "must be a text that is not empty"),
    ],
)
def test_a_wrong_app_gets_one_line_with_a_right_one(app: str, says: str):
    (error,) = errors("deploy", app=app)
    assert error.startswith("app: ")
    assert says in error
    assert "\n" not in error


@pytest.mark.parametrize(
    ("playbook", "given", "says"),
    [
        ("deploy", {"ref": "main"}, "ref: is not an option of deploy, which takes app and version; did you mean -e version=main?"),
        ("deploy", {"ver": "v2"}, "did you mean -e version=v2?"),
        ("deploy", {"verison": "v2"}, "did you mean -e version=v2?"),
        ("deploy", {"Version": "v2"}, "did you mean -e version=v2?"),
        ("deploy", {"tag": "v2"}, "did you mean -e version=v2?"),
        ("deploy", {"release": "r1"}, "release: is not an option of deploy, which takes app and version"),
        ("rollback", {"version": "v1"}, "version: is not an option of rollback, which takes app and release"),
        ("rollback", {"relase": "r1"}, "did you mean -e release=r1?"),
        ("status", {"apps": "shop"}, "apps: is not an option of status, which takes app; did you mean -e app=shop?"),
        ("status", {"state": "on"}, "state: is not an option of status"),
    ],
)  # fmt: skip
def test_a_slip_is_refused_with_the_right_name(playbook: str, given: dict[str, str], says: str):
    (error,) = errors(playbook, **({"app": "shop"} if playbook != "status" else {}), **given)
    assert says in error


@pytest.mark.parametrize("version", ["", " ", 1.1, None, ["v1"]])
def test_a_version_that_is_empty_or_no_text_is_refused(version: Any):
    (error,) = errors("deploy", app="shop", version=version)
    assert error == "version: must be a text that is not empty: -e version=v1.5.0"


@pytest.mark.parametrize("state", ["yes", "ON", "1"])
def test_a_state_that_is_none_is_refused(state: str):
    assert errors("maintenance", app="shop", state=state) == ["state: must be on or off: -e state=on"]


@pytest.mark.parametrize("apps", [None, "shop", {"shop": {}}])
def test_a_list_that_is_none_is_named(apps: Any):
    assert errors("deploy", apps, app="shop") == ["flask_apps: must be a list of apps, in the inventory"]


def test_an_entry_that_is_wrong_does_not_hide_the_others():
    assert errors("deploy", [["shop"], {"domain": "x"}, {"name": "shop"}], app="shop") == []


def test_a_value_is_the_one_of_the_command_line_and_never_of_the_inventory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lookup, "load_extra_vars", lambda _loader: {"app": "shop"})
    variables = {"version": "2026.1", "app": "other"}
    found = lookup.LookupModule(loader=DataLoader(), templar=Templar(loader=DataLoader(), variables=variables))
    assert found.run(["app", "version"], variables) == ["shop", None]
