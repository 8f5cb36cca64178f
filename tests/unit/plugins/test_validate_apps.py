"""What the check of the apps asks the host for, once the apps themselves are right."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from ansible import constants
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.flask_ops.production.plugins.action.validate_apps import ActionModule
from ansible_collections.flask_ops.production.plugins.plugin_utils._specs import ROLES
from ansible_collections.flask_ops.production.plugins.plugin_utils._validation import COMMENT

SHOP = {
    "name": "shop",
    "source": {"git": "https://git.example.com/acme/shop.git", "version": "v1.4.2"},
    "wsgi": "shop:create_app()",
    "domains": ["shop.example.com"],
}
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
    app: dict[str, Any], users: dict[str, str] | None = None, off: int = 0, known: bool = False, **facts: Any
) -> dict[str, Any]:
    """The result of the check of one app on a host with these users and facts, and a clock that is off."""
    answer = {
        "ansible_facts": {f"ansible_{key}": value for key, value in (FACTS | facts).items()},
        "seconds": time.time() + off,
        "users": users or {},
    }
    task = mock.MagicMock(
        async_val=False, delegate_to=None, args={"name": "flask_apps", "roles": ["python_app", "gunicorn_systemd"]}
    )
    variables = {"flask_apps": [app], "ansible_play_hosts_all": ["web1"], "groups": {"all": ["web1"]}}
    variables["inventory_hostname"] = "web1"
    task.get_play.return_value._uuid = "one"
    templar = Templar(loader=DataLoader(), variables=variables)
    action = ActionModule(task, mock.MagicMock(), mock.MagicMock(), DataLoader(), templar, mock.MagicMock())
    with mock.patch.object(action, "_execute_module", return_value=answer) as asked:
        result = action.run(task_vars=variables | ({"ansible_facts": FACTS | facts} if known else {}))
    return result | {"asked": [call.kwargs["module_args"]["users"] for call in asked.mock_calls]}


def test_a_right_app_on_a_right_host_is_let_through():
    assert not check(SHOP).get("failed")


def test_facts_that_somebody_has_gathered_are_not_given_again():
    assert set(check(SHOP)["ansible_facts"]) == {f"ansible_{name}" for name in FACTS}
    result = check(SHOP | {"name": "sally"}, {"sally": "Sally Shop,,,"}, known=True)
    assert "ansible_facts" not in result
    assert result["failed"]


def test_a_role_does_not_ask_again_what_the_playbook_has_asked():
    assert check(SHOP)["asked"] == [["shop"]]
    assert check(SHOP, known=True)["asked"] == []
    assert check(SHOP | {"name": "blog"}, known=True)["asked"] == [["blog"]]


def test_what_was_wrong_is_asked_again():
    for _ in range(2):
        assert check(SHOP, {"shop": "Sally Shop,,,"})["failed"]


@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_user_of_somebody_elses_is_not_taken_over(state: str):
    result = check(SHOP | {"state": state}, {"shop": "Sally Shop,,,"})
    assert result["failed"]
    assert "flask_apps[0].name: the host has a user 'shop' already" in result["msg"]
    assert "such as shop-app" in result["msg"]


def test_the_user_of_an_app_is_known_by_its_comment():
    (task,) = (
        task["ansible.builtin.user"]
        for task in yaml.safe_load((ROLES / "python_app" / "tasks" / "account.yml").read_text())
        if "ansible.builtin.user" in task
    )
    assert task["comment"] == COMMENT.format(name="{{ item }}")
    assert not check(SHOP, {"shop": "Flask app shop"}).get("failed")


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
