"""The failure of one app: the others go on, and each failure is printed once, at the end of the play."""

from __future__ import annotations

import types
from pathlib import Path

import pytest
import yaml
from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display
from ansible_collections.flask_ops.production.plugins.action import app_slots, python_release
from ansible_collections.flask_ops.production.plugins.action.app_failures import ActionModule
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._host.failures import FailureOf
from ansible_collections.flask_ops.production.plugins.modules import python_release as module

from tests.unit.plugins.apps import app, prepared


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    monkeypatch.setattr(Display, "display", lambda self, text, **options: texts.append(text))
    return texts


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: list[str]):
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    monkeypatch.setattr(ActionModule.__mro__[1], "run", lambda self, tmp, task_vars: {})

    def call(*failures: dict[str, str], at_end: bool = False, collecting: bool = False, host: str = "web1"):
        action = ActionModule.__new__(ActionModule)
        action._task = types.SimpleNamespace(
            args={"failures": list(failures), "at_end": at_end},
            delegate_to=None,
            get_play=lambda: types.SimpleNamespace(_uuid="one"),
        )
        return action.run(task_vars={"inventory_hostname": host, "flask_ops_several_roles": collecting})

    return call


def test_without_a_failure_nothing_is_printed(report, printed: list[str]):
    assert report({}, {}) == {}
    assert printed == []


def test_a_failure_is_printed_as_it_is_and_the_task_names_only_the_app(report, printed: list[str]):
    result = report({"shop": "shop: no\nbecause"}, {})
    assert printed == ["\n[web1] shop: no\nbecause"]
    assert result == {"failed": True, "msg": "1 app failed: shop. The reason is printed above."}


def test_a_failure_without_the_name_of_its_app_gets_it(report, printed: list[str]):
    report({"shop": "no"})
    assert printed == ["\n[web1] shop: no"]


def test_a_play_collects_the_failures_of_its_roles_and_reports_each_once(report, printed: list[str]):
    assert not report({"shop": "shop: no"}, collecting=True).get("failed")
    assert printed == []
    result = report({"shop": "shop: no"}, {"blog": "blog: no"}, at_end=True, collecting=True)
    assert printed == ["\n[web1] shop: no", "\n[web1] blog: no"]
    assert result["msg"] == "2 apps failed: shop, blog. The reasons are printed above."


def test_the_failure_of_a_present_app_outlives_the_removal_of_absent_ones_by_the_same_role(report, printed: list[str]):
    """site.yml removes absent apps by a second call of the role's tasks, whose result takes the place of the first."""
    present, absent = {"shop": "shop: no"}, {"old": "old: no"}
    report(present, collecting=True)
    assert report(absent, {}, at_end=True, collecting=True)["failed"]
    assert printed == ["\n[web1] shop: no", "\n[web1] old: no"]
    report({}, {}, at_end=True, collecting=True)
    assert printed[2:] == ["\n[web1] shop: no"], "also where nothing of the absent ones failed"


@pytest.mark.parametrize("role", ["python_app", "gunicorn_systemd", "app_processes", "nginx_proxy"])
def test_each_role_keeps_the_failures_of_its_apps_as_its_last_task(role: str):
    (last,) = yaml.safe_load(Path("roles", role, "tasks/main.yml").read_text())[-1:]
    assert last["flask_ops.production.app_failures"] == {"failures": [f"{{{{ {role}_failures }}}}"]}


def test_a_failure_of_one_host_is_not_that_of_another(report):
    report({"shop": "shop: no"}, collecting=True, host="web2")
    assert not report(at_end=True, collecting=True).get("failed")


def test_what_fails_for_one_app_is_kept_under_its_name():
    failures: dict[str, str] = {}
    with FailureOf("shop", failures, CommandError):
        raise CommandError("'uv' exited with status 1")
    with FailureOf("blog", failures, CommandError):
        raise CommandError("blog: no")
    assert failures == {"shop": "shop: 'uv' exited with status 1", "blog": "blog: no"}


def test_a_defect_of_ours_holds_up_no_other_app_and_shows_where_it_is():
    failures: dict[str, str] = {}
    with FailureOf("shop", failures):
        raise ValueError("no number")
    assert failures["shop"].startswith("shop: unexpected ValueError, a defect of flask_ops.production: no number\n")
    assert "test_app_failures.py" in failures["shop"]


def test_an_app_without_a_release_does_not_keep_the_others_from_their_slots():
    action = app_slots.ActionModule.__new__(app_slots.ActionModule)
    action._task = types.SimpleNamespace(action="flask_ops.production.app_slots", args={})
    action._execute_module = lambda module_name, module_args, task_vars: {"sent": module_args["apps"]}

    def describe(app):
        if app["name"] == "shop":
            raise AnsibleActionFail("releases: there is no release of 'shop'")
        return app

    result = action.for_each_app([{"name": "shop"}, {"name": "blog"}], describe, {"ansible_play_hosts": ["web1"]})
    assert result["sent"] == [{"name": "blog"}]
    assert result["failures"] == {"shop": "shop: releases: there is no release of 'shop'"}


def test_a_run_that_skipped_the_build_asks_for_the_whole_playbook():
    action = app_slots.ActionModule.__new__(app_slots.ActionModule)
    with pytest.raises(AnsibleActionFail, match=r"no release of 'shop'.* without --start-at-task"):
        action._described({"name": "shop", "state": "present"}, {"releases": {}, "files": [], "boot": {}}, None)


# --- releases --------------------------------------------------------------------------------------------------------


def test_a_source_that_is_not_there_fails_its_app_alone(tmp_path: Path):
    action = python_release.ActionModule.__new__(python_release.ActionModule)
    blog = app(name="blog", domains=["b.example.com"], source={"path": str(tmp_path)})
    described, failures = action._described_all(prepared(app(source={"path": "/nowhere"}), blog))
    assert [one["name"] for one in described] == ["blog"]
    assert list(failures) == ["shop"]


def test_the_second_call_adds_to_what_the_first_has_built():
    nothing = {"changed": False, "releases": {}, "failures": {}, "unmigrated": [], "diff": []}
    first = {**nothing, "changed": True, "releases": {"shop": {"id": "1"}}, "warnings": ["a"]}
    second = {**nothing, "failures": {"blog": "blog: no"}, "wanted_uploads": []}
    both = python_release.merged(first, second)
    assert both["changed"]
    assert both["releases"] == {"shop": {"id": "1"}}
    assert both["failures"] == {"blog": "blog: no"}
    assert both["warnings"] == ["a"]


def test_an_app_whose_user_is_missing_asks_for_the_playbook_that_creates_it():
    unknown = types.SimpleNamespace(name="shop", user="flask-ops-nobody")
    with pytest.raises(module.ReleaseError, match=r"^shop: this host has no user .* Run site.yml first"):
        module.require_user(unknown)  # type: ignore[arg-type]
