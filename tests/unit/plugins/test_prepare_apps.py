"""What the preparation of the apps asks the host for, once the apps themselves are right; and what it returns."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from ansible import constants
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.utils.display import Display
from ansible_collections.flask_ops.production.plugins.action.prepare_apps import ActionModule

from tests.unit.plugins.apps import app

SHOP = app()
BLOG = app(name="blog", domains=["blog.example.com"])
FACTS = {
    "distribution": "Debian",
    "distribution_major_version": "13",
    "memtotal_mb": 4096,
    "processor_vcpus": 2,
    "architecture": "x86_64",
    "service_mgr": "systemd",
}


@pytest.fixture(autouse=True)
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test is a play of its own."""
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))


def prepare(
    *apps: dict[str, Any],
    foreign: dict[str, str] | None = None,
    off: int = 0,
    known: bool = False,
    play: str = "one",
    deployed: tuple[str, ...] = (),
    users: tuple[str, ...] = (),
    facts: dict[str, Any] | None = None,
    **args: Any,
) -> dict[str, Any]:
    """The result for these apps on a host with these facts, where this is foreign, and a clock that is off.

    ``asked`` is what the host was asked, ``warned`` the text of all warnings.
    """
    gathered = FACTS | (facts or {})
    answer = {
        "ansible_facts": {f"ansible_{key}": value for key, value in gathered.items()},
        "seconds": time.time() + off,
        "foreign": foreign or {},
        "apps": list(deployed),
        "users": list(users),
    }
    args = {"name": "flask_apps", "roles": ["python_app", "gunicorn_systemd"], **args}
    variables = {
        "flask_apps": list(apps),
        "ansible_play_hosts_all": ["web1"],
        "groups": {"all": ["web1"]},
        "inventory_hostname": "web1",
    }
    task = mock.MagicMock(async_val=False, delegate_to=None, args=args)
    task.get_play.return_value._uuid = play
    templar = Templar(loader=DataLoader(), variables=variables)
    action = ActionModule(task, mock.MagicMock(), mock.MagicMock(), DataLoader(), templar, mock.MagicMock())
    with (
        mock.patch.object(action, "_execute_module", return_value=answer) as asked,
        mock.patch.object(Display, "warning") as warned,
    ):
        result = action.run(task_vars=variables | ({"ansible_facts": gathered} if known else {}))
    warnings = " ".join(call.args[0] for call in warned.mock_calls)
    return result | {"asked": [call.kwargs["module_args"] for call in asked.mock_calls], "warned": warnings}


def test_the_apps_are_returned_prepared_and_are_not_logged():
    result = prepare(SHOP, BLOG | {"state": "absent"})
    assert not result.get("failed")
    assert [(one["name"], one["workers"], one["paths"]["root"]) for one in result["apps"]] == [
        ("shop", None, "/srv/shop"), ("blog", None, "/srv/blog"),
    ]  # fmt: skip
    assert (result["present"], result["_ansible_no_log"]) == (1, True)


def test_errors_are_logged_and_no_apps_are_returned():
    result = prepare(SHOP | {"workers": 0, "secrets": {"TOKEN": "canary"}})
    assert "- flask_apps[0] (shop).workers: 0 must be from 1 to 256" in result["msg"]
    assert (result["failed"], "apps" in result, result.get("_ansible_no_log")) == (True, False, None)
    assert "canary" not in str(result)


def test_one_app_is_prepared_by_its_name_and_all_present_ones_are_counted():
    result = prepare(BLOG | {"workers": 0}, SHOP, app="shop", version="v9", users=("shop",))
    assert [(one["name"], one["source"]["version"]) for one in result["apps"]] == [("shop", "v9")]
    assert result["present"] == 2
    assert SHOP["source"]["version"] == "v1.4.2"
    pinned = prepare(
        SHOP | {"source": {"path": "/home/me/shop"}}, app="shop", version="v9", users=("shop",), play="two"
    )
    assert "version: the source of 'shop' is a directory, which has no version" in pinned["msg"]


def test_what_the_whole_list_needs_one_app_alone_does_not():
    below: dict[str, Any] = {"roles": ["python_app", "nginx_proxy", "gunicorn_systemd"], "users": ("shop",)}
    assert "path: needs an app with the same domains and the path '/'" in prepare(SHOP | {"path": "/x"}, **below)["msg"]
    assert not prepare(SHOP | {"path": "/x"}, **below, app="shop").get("failed")


def test_without_a_check_of_the_host_it_is_not_asked():
    result = prepare(SHOP, check_host=False)
    assert (result["asked"], len(result["apps"])) == ([], 1)


def test_what_is_right_on_one_host_alone_is_checked_by_the_action():
    timer = {"name": "night", "kind": "timer", "command": "x", "schedule": "daily", "only_on": "web2"}
    result = prepare(SHOP | {"processes": [timer]}, roles=["python_app", "gunicorn_systemd", "app_processes"])
    assert "flask_apps[0] (shop).processes[0].only_on: 'web2' is not a host of the inventory" in result["msg"]


def test_private_role_vars_are_refused_where_roles_hand_results_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "DEFAULT_PRIVATE_ROLE_VARS", True)
    assert "- private_role_vars: " in prepare(SHOP)["msg"]


def test_facts_that_somebody_has_gathered_are_not_given_again():
    assert set(prepare(SHOP)["ansible_facts"]) == {f"ansible_{name}" for name in FACTS}
    result = prepare(SHOP | {"name": "sally"}, foreign={"sally": "the comment is Sally"}, known=True)
    assert "ansible_facts" not in result
    assert result["failed"]


def test_a_role_does_not_ask_again_what_the_playbook_has_asked():
    (asked,) = prepare(SHOP)["asked"]
    assert [account["name"] for account in asked["accounts"]] == ["shop"]
    assert prepare(SHOP, known=True)["asked"] == []
    (asked,) = prepare(SHOP | {"name": "blog"}, known=True)["asked"]
    assert [account["name"] for account in asked["accounts"]] == ["blog"]
    assert asked["units"]


def test_a_later_play_asks_again_only_for_users_which_packages_may_have_brought():
    prepare(SHOP)
    (asked,) = prepare(SHOP, known=True, play="two")["asked"]
    assert [account["name"] for account in asked["accounts"]] == ["shop"]
    assert asked["units"] == asked["directories"] == []


def test_what_was_wrong_is_asked_again():
    for _ in range(2):
        assert prepare(SHOP, foreign={"shop": "the comment is Sally"})["failed"]


def test_an_app_that_is_deployed_and_in_no_list_is_named_once():
    warned = prepare(SHOP, deployed=("blog", "shop"))["warned"]
    assert warned == "blog is deployed on this host and is not in flask_apps: add it with state: absent to remove it"
    assert prepare(SHOP, deployed=("blog", "shop"), app="shop", users=("shop",), play="two")["warned"] == ""


def test_a_deploy_of_an_app_that_the_host_has_never_seen_is_refused_with_the_way_out():
    result = prepare(BLOG, SHOP, app="shop")
    assert result["failed"]
    assert (
        "flask_apps[1] (shop).name: this host has no user for the app yet; run the playbook site first" in result["msg"]
    )
    assert not prepare(SHOP, app="shop", users=("shop",), play="two").get("failed")
    assert not prepare(SHOP, play="three").get("failed")


@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_user_of_somebody_elses_is_not_taken_over(state: str):
    result = prepare(SHOP | {"state": state}, foreign={"shop": "the comment is Sally"})
    assert result["failed"]
    assert "flask_apps[0] (shop).name: the host has the user or group 'shop' already" in result["msg"]
    assert "the comment is Sally" in result["msg"]


def test_a_host_without_systemd_is_refused():
    result = prepare(SHOP, facts={"service_mgr": "openrc"})
    assert result["failed"]
    assert "this host is run by openrc; must be systemd" in result["msg"]


@pytest.mark.parametrize(
    ("off", "warned"), [(0, ""), (-3000, ""), (7200, "2.0 hours ahead"), (-7300, "2.0 hours behind")]
)
def test_a_clock_that_is_an_hour_off_is_a_warning(off: int, warned: str):
    result = prepare(SHOP, off=off)
    assert not result.get("failed")
    assert warned in result["warned"]
    assert bool(result["warned"]) == bool(warned)
