"""What the check of the apps asks the host for, once the apps themselves are right."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from ansible import constants
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.flask_ops.production.plugins.action.validate_apps import ActionModule

SHOP = {
    "name": "shop",
    "source": {"git": "https://git.example.com/acme/shop.git", "version": "v1.4.2"},
    "wsgi": "shop:create_app()",
    "domains": ["shop.example.com"],
}
BLOG = SHOP | {"name": "blog", "domains": ["blog.example.com"]}
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


def check(
    app: dict[str, Any],
    foreign: dict[str, str] | None = None,
    off: int = 0,
    known: bool = False,
    play: str = "one",
    apps: tuple[str, ...] = (),
    users: tuple[str, ...] = (),
    name: str = "flask_apps",
    **facts: Any,
) -> dict[str, Any]:
    """The result of the check of one app on a host with these facts, where this is foreign, and a clock that is off."""
    answer = {
        "ansible_facts": {f"ansible_{key}": value for key, value in (FACTS | facts).items()},
        "seconds": time.time() + off,
        "foreign": foreign or {},
        "apps": list(apps),
        "users": list(users),
    }
    task = mock.MagicMock(
        async_val=False, delegate_to=None, args={"name": name, "roles": ["python_app", "gunicorn_systemd"]}
    )
    variables = {
        "flask_apps": [BLOG, app],
        name: [app],
        "ansible_play_hosts_all": ["web1"],
        "groups": {"all": ["web1"]},
    }
    variables["inventory_hostname"] = "web1"
    task.get_play.return_value._uuid = play
    templar = Templar(loader=DataLoader(), variables=variables)
    action = ActionModule(task, mock.MagicMock(), mock.MagicMock(), DataLoader(), templar, mock.MagicMock())
    with mock.patch.object(action, "_execute_module", return_value=answer) as asked:
        result = action.run(task_vars=variables | ({"ansible_facts": FACTS | facts} if known else {}))
    return result | {"asked": [call.kwargs["module_args"] for call in asked.mock_calls]}


def test_a_right_app_on_a_right_host_is_let_through():
    assert not check(SHOP).get("failed")


def test_private_role_vars_are_refused_where_roles_hand_results_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "DEFAULT_PRIVATE_ROLE_VARS", True)
    assert "- private_role_vars: " in check(SHOP)["msg"]


def test_facts_that_somebody_has_gathered_are_not_given_again():
    assert set(check(SHOP)["ansible_facts"]) == {f"ansible_{name}" for name in FACTS}
    result = check(SHOP | {"name": "sally"}, {"sally": "the comment is Sally"}, known=True)
    assert "ansible_facts" not in result
    assert result["failed"]


def test_a_role_does_not_ask_again_what_the_playbook_has_asked():
    (asked,) = check(SHOP)["asked"]
    assert [account["name"] for account in asked["accounts"]] == ["shop"]
    assert check(SHOP, known=True)["asked"] == []
    (asked,) = check(SHOP | {"name": "blog"}, known=True)["asked"]
    assert [account["name"] for account in asked["accounts"]] == ["blog"]
    assert asked["units"]


def test_a_later_play_asks_again_only_for_users_which_packages_may_have_brought():
    check(SHOP)
    (asked,) = check(SHOP, known=True, play="two")["asked"]
    assert [account["name"] for account in asked["accounts"]] == ["shop"]
    assert asked["units"] == asked["directories"] == []


def test_what_was_wrong_is_asked_again():
    for _ in range(2):
        assert check(SHOP, {"shop": "the comment is Sally"})["failed"]


def test_an_app_that_is_deployed_and_in_no_list_is_named_once():
    (warning,) = check(SHOP, apps=("blog", "shop"))["warnings"]
    assert warning == "blog is deployed on this host and is not in flask_apps: add it with state: absent to remove it"


def test_an_app_of_the_list_is_none_of_those():
    assert not check(SHOP, apps=("shop",))["warnings"]


def test_a_deploy_of_an_app_that_the_host_has_never_seen_is_refused_with_the_way_out():
    result = check(SHOP, name="chosen_apps")
    assert result["failed"]
    assert (
        "flask_apps[1] (shop).name: this host has no user for the app yet; run the playbook site first" in result["msg"]
    )
    assert not check(SHOP, name="chosen_apps", users=("shop",), play="two").get("failed")
    assert not check(SHOP, play="three").get("failed")


@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_user_of_somebody_elses_is_not_taken_over(state: str):
    result = check(SHOP | {"state": state}, {"shop": "the comment is Sally"})
    assert result["failed"]
    assert "flask_apps[0] (shop).name: the host has the user or group 'shop' already" in result["msg"]
    assert "the comment is Sally" in result["msg"]


def test_a_host_without_systemd_is_refused():
    result = check(SHOP, service_mgr="openrc")
    assert result["failed"]
    assert "this host is run by openrc; must be systemd" in result["msg"]


@pytest.mark.parametrize(
    ("off", "told"), [(0, ""), (-3000, ""), (7200, "2.0 hours ahead"), (-7300, "2.0 hours behind")]
)
def test_a_clock_that_is_an_hour_off_is_told(off: int, told: str):
    result = check(SHOP, off=off)
    assert not result.get("failed")
    assert told in " ".join(result["warnings"])
    assert bool(result["warnings"]) == bool(told)
