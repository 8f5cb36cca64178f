"""Values are checked against the specs of the options, and the defaults of those that are not given are filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.apps import prepare
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import app_options, app_roles
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.values import complete

from tests.unit.plugins.apps import SHOP, app, errors_of


def completed(role: str, **given: Any) -> dict[str, Any]:
    full, errors = complete({"name": "shop", **given}, app_options([role]), "here", roles=())
    assert errors == []
    return full


# --- defaults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", app_roles())
def test_an_app_is_complete_and_what_was_given_stays(role: str):
    given = {key: value for key, value in SHOP.items() if key in app_options([role])}
    full = completed(role, **given, purge=False) if role == "python_app" else completed(role, **given)
    assert full.keys() == app_options([role]).keys()
    for key, value in given.items():
        assert full[key] == value if not isinstance(value, dict) else full[key].items() >= value.items()


def test_defaults_come_from_the_spec_and_what_has_none_is_null():
    full = completed("gunicorn_systemd")
    assert (full["state"], full["worker_class"], full["timeout"], full["preload"]) == ("present", "gthread", 30, False)
    assert (full["workers"], full["domains"]) == (None, None)


@pytest.mark.parametrize("given", [{}, {"path": "/up"}, {"timeout": 1, "status": 204}])
def test_defaults_within_a_dictionary_are_filled_in_too(given: dict[str, Any]):
    defaults = {"path": "/", "status": None, "timeout": 5, "interval": 1, "deadline": 60}
    assert completed("gunicorn_systemd", **({"health": given} if given else {}))["health"] == defaults | given


def test_a_dictionary_that_cannot_be_without_something_given_is_not_made_up():
    for role in ("python_app", "nginx_proxy"):
        assert completed(role)["static"] is None
        full = completed(role, static={"path": "s"})
        assert full["static"] == {"path": "s", "url": "/static/", "keep": 86400}
    assert completed("nginx_proxy")["certificate"] is None


def test_the_elements_of_a_list_are_complete_too():
    (location,) = completed("nginx_proxy", locations=[{"path": "/ws/"}])["locations"]
    assert (location["websocket"], location["allow"], location["timeout"]) == (False, [], None)


def test_neither_the_given_app_nor_the_spec_is_changed():
    given: dict[str, Any] = {"build": {"timeout": 5}, "shared_paths": ["a"]}
    first, second = completed("python_app", **given), completed("python_app")
    first["env"]["A"] = "1"
    first["extras"].append("x")
    first["build"]["env"]["A"] = "1"
    assert given == {"build": {"timeout": 5}, "shared_paths": ["a"]}
    for other in (second, completed("python_app")):
        assert (other["env"], other["extras"], other["build"]["env"]) == ({}, [], {})


# --- what is missing or not known -------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["name", "source", "wsgi", "domains"])
def test_what_is_needed_and_missing_is_named_once(option: str):
    for incomplete in ({key: value for key, value in SHOP.items() if key != option}, app(**{option: None})):
        (error,) = errors_of(incomplete)
        assert error.startswith(f"flask_apps[0].{option}: is missing; a good value is ")


def test_an_option_without_a_value_is_not_called_missing():
    assert errors_of(app(workers=None)) == ["flask_apps[0].workers: is empty; a good value is 4"]
    assert errors_of(app(purge=None)) == ["flask_apps[0].purge: is empty; leave it out for the default"]
    assert errors_of(app(health={"status": None})) == ["flask_apps[0].health.status: is empty; a good value is 200"]


def test_an_absent_app_needs_its_name_only():
    assert errors_of({"name": "shop", "state": "absent"}) == []
    assert errors_of({"state": "absent"}) == ["flask_apps[0].name: is missing; a good value is shop"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"processes": [{"name": "a"}]}, "processes[0].command: is missing; a good value is celery --app"),
        ({"processes": [{"command": "a"}]}, "processes[0].name: is missing; a good value is worker"),
        ({"certificate": {"fullchain": "/a.pem"}}, "certificate.privkey: is missing; a good value is /etc/ssl"),
        ({"static": {}}, "static.path: is missing; a good value is shop/static"),
        ({"locations": [{"websocket": True}]}, "locations[0].path: is missing; a good value is /ws/"),
        ({"wokers": 2}, "wokers: is not a known option; did you mean 'workers'?"),
        ({"health": {"pth": "/"}}, "health.pth: is not a known option; did you mean 'path'?"),
        ({"processes": [{"name": "a", "command": "a", "comand": "a"}]}, "processes[0].comand: is not a known option; did you mean"),
        ({"qqqq": 2}, "qqqq: is not a known option; known are accept_insecure, acme, allow, basic_auth, build"),
        ({"bind": "0.0.0.0"}, "bind: is not a known option"),
        ({7: 2}, "7: is not a known option"),
        ({"processes": ["rq worker"]}, "processes[0]: must be a dictionary, not 'rq worker'"),
        ({"source": "https://x/y"}, "source: must be a dictionary, not 'https://x/y'"),
        ({"domains": "a.example.com"}, "domains: must be a list, not 'a.example.com'"),
        ({"python": 3.12}, "python: must be a text, not 3.12; put it in quotes; a good value is /usr/bin/python3"),
    ],
)  # fmt: skip
def test_an_option_is_named_with_its_place(changes: dict[Any, Any], expected: str):
    (error,) = errors_of({**app(), **changes})
    assert error.startswith(f"flask_apps[0].{expected}")


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "shop", "secrets": {"TOKEN": "canary"}},
        [{"name": "shop", "secrets": "canary"}],
        [{"name": "shop", "secrets": ["TOKEN=canary"]}],
        [{"name": "shop", "secrets": {"TOKEN=canary": None}}],
        [{"name": "shop", "secrets": {"1A": "canary", "SECRET_KEY": "canary"}}],
        [{"name": "shop", "secret_files": {"../a": "canary"}}],
        [{"name": "shop", "secret_files": {"a": "canary\0"}}],
        [{"name": "shop", "secret_files": "canary"}],
        [{"name": "shop", "secret_files": {"a": {"private_key": "canary"}}}],
        [{"name": "shop", "secret_files": {"a": "canary" * 200_000}}],
        [{"name": "shop", "secretz": {"TOKEN": "canary"}}],
        [{"name": {"secrets": {"TOKEN": "canary"}}}],
        [[{"name": "shop", "secrets": {"TOKEN": "canary"}}]],
        [{"name": "shop", "source": {"git": "https://me:canary@git.example.com/shop.git"}}],
        [{"name": "shop", "source": "https://me:canary@git.example.com/shop.git"}],
    ],
)
def test_no_mistake_makes_a_message_repeat_a_secret(wrong: Any):
    _given, prepared, errors = prepare(wrong, "flask_apps", app_roles())
    assert errors
    assert prepared == []
    assert "canary" not in str(errors)


# --- what YAML makes of a value ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [["a"], {"a": 1}])
def test_a_list_in_the_environment_gets_a_hint_at_json(value: Any):
    (error,) = errors_of(app(env={"HOSTS": value}))
    assert error.startswith("flask_apps[0].env.HOSTS: ")
    assert "written as JSON in quotes" in error


ENVIRONMENT = """
flask_apps:
  - name: shop
    env:
      ZIP: 01234
      WINDOW: 12:30
      VERSION: 1.10
      "MASK" : 0x1F
      ANSWER: yes  # a comment
      DAY: 2026-11-30
      RATE: 0.5
      COUNT: 8
      ON: true
      TEXT: "01234"
    secrets: {PIN: 0077, NUMBER: 42, SPACED: 1_000, LAST: off}
"""


def test_a_value_that_yaml_has_changed_is_refused_and_not_shown(tmp_path: Path):
    path = tmp_path / "flask_servers.yml"
    path.write_text(ENVIRONMENT)
    loader = DataLoader()
    (given,) = Templar(loader=loader, variables={}).template(loader.load_from_file(str(path))["flask_apps"])
    errors = [error for error in errors_of(given) if "quotes" in error and "YAML" in error]
    changed = {error.partition(":")[0].rpartition(".")[2] for error in errors}
    assert changed == {"ZIP", "WINDOW", "VERSION", "MASK", "ANSWER", "DAY", "PIN", "SPACED", "LAST"}
    assert "0077" not in str(errors)


def test_a_value_without_a_file_is_taken_as_it_is():
    assert errors_of(app(env={"RATE": 1.1, "ON": True, "COUNT": 668})) == []
