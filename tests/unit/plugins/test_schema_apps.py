"""A list of apps is checked as a whole; each app gets the paths, units and names that are derived from its options."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.filter.without_secrets import without_secrets
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.apps import (
    prepare,
    resolved,
    variable_errors,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import (
    ROLE_NAMES,
    Options,
    app_options,
    app_roles,
    load,
)

from tests.unit.plugins.apps import app, errors_of, prepared
from tests.unit.templates.rendering import published

BLOG = {"name": "blog", "domains": ["blog.example.com"]}


# --- the list ---------------------------------------------------------------------------------------------------------


def errors(apps: Any, name: str = "flask_apps", roles: list[str] | None = None, **options: Any) -> list[str]:
    return prepare(apps, name, roles or app_roles(), **options)[2]


@pytest.mark.parametrize("apps", ["shop", {"name": "shop"}, 7])
def test_the_list_must_be_a_list(apps: Any):
    (error,) = errors(apps)
    assert error.startswith("flask_apps: must be a list of apps, not ")


def test_a_list_that_is_missing_is_named():
    (error,) = errors(None)
    assert error.startswith("flask_apps: is missing")


def test_all_errors_are_shown_at_once():
    found = errors_of(app(name="", workers=0, wokers=1, domains=["a b"]), 7, app(name="other", timeout=0))
    places = [error.split(": ")[0].removeprefix("flask_apps") for error in found]
    assert sorted(places) == sorted(["[0].name", "[0].workers", "[0].wokers", "[0].domains[0]", "[1]", "[2].timeout"])


def test_an_app_is_known_by_its_number_and_its_name_where_it_has_one():
    found = errors([app(workers=0), app(name="../x", domains=["b.example.com"]), {"workers": 0}])
    assert [error.partition(":")[0] for error in found][:2] == ["flask_apps[0] (shop).workers", "flask_apps[1].name"]
    assert any(error.startswith("flask_apps[2].workers") for error in found)


def test_names_and_domains_that_two_apps_claim_are_refused():
    name, domain = errors_of(app(), app())
    assert name == "flask_apps[1].name: 'shop' is already flask_apps[0].name; each app needs a name of its own"
    assert domain.startswith(
        "flask_apps[1].domains[0]: 'shop.example.com' is already flask_apps[0].domains[0]; each app"
    )
    (clash,) = errors([app(), app(name="blog")])
    assert clash.startswith(
        "flask_apps[1] (blog).domains[0]: 'shop.example.com' is already flask_apps[0] (shop).domains[0]"
    )


def test_an_absent_app_gives_its_domains_to_another_but_not_its_name():
    assert errors_of(app(), app(name="old", state="absent")) == []
    assert len(errors_of(app(), {"name": "shop", "state": "absent"})) == 1


def test_a_role_alone_knows_its_own_options_only():
    apps = [{"name": "shop", "domains": ["a.example.com"]}]
    assert errors(apps, "nginx_proxy_apps", ["nginx_proxy"]) == []
    (error,) = errors([apps[0] | {"workers": 1}], "nginx_proxy_apps", ["nginx_proxy"])
    assert error.startswith("nginx_proxy_apps[0] (shop).workers: is not a known option")


def test_one_app_is_prepared_alone_and_the_others_are_not_looked_at():
    broken, others = app(**BLOG, workers=0), [app(), {"wrong": 1}, "x"]
    given, found, wrong = prepare([*others, broken, app(**BLOG)], "flask_apps", app_roles(), only="shop")
    assert (given, wrong) == ([("flask_apps[0] (shop)", app())], [])
    assert [(place, one["name"]) for place, one in found] == [("flask_apps[0] (shop)", "shop")]
    assert [error.split(":")[0] for error in errors([app(), broken], only="blog")] == ["flask_apps[1] (blog).workers"]
    assert prepare([app()], "flask_apps", app_roles(), only="blog") == ([], [], [])


# --- variables of the roles -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_a_role_does_not_refuse_its_own_defaults_and_what_it_publishes(role: str):
    assert variable_errors(load(role, "defaults/main.yml") | load(role, "vars/main.yml"), [role]) == []


def test_what_one_role_publishes_another_takes():
    """As the playbook wires it."""
    rotated = {"name": "shop", "logs": {"to": "files"}, "worker_class": "gevent"}
    logs = [published("nginx_proxy", "nginx_proxy_log_rotation")]
    logs += [
        published("gunicorn_systemd", "gunicorn_systemd_log_rotation", rotated, {"name": "old", "state": "absent"})
    ]
    release = {"id": "httpbin-0.10.2-5e1c88aa", "path": "/srv/shop/releases/x", "revision": "any text"}
    releases = {"shop": release | {"directory": "/srv/shop/a", "venv": "/srv/shop/v"}}
    taken = {
        "python_app_extra_requirements_of": published("gunicorn_systemd", "gunicorn_systemd_requirements", rotated),
        "gunicorn_systemd_releases": releases,
        "app_processes_releases": releases,
        "logrotate_files": [log for of_role in logs for log in of_role],
        "node_exporter_nginx_status": published("nginx_proxy", "nginx_proxy_status_url"),
        "letsencrypt_webroot": published("nginx_proxy", "nginx_proxy_challenge_directory"),
    }
    assert len(taken["logrotate_files"]) == 4
    assert len(taken["python_app_extra_requirements_of"]["shop"]) > 1
    assert variable_errors(taken, ROLE_NAMES) == []


# --- paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["app", "slot", "process"])
def test_no_two_roles_have_one_key_for_a_path(kind: str):
    keys = Counter(key for role in ROLE_NAMES for key in load(role, "meta/paths.yml").get(kind, {}))
    assert keys
    assert [key for key, count in keys.items() if count > 1] == []


def test_a_file_of_paths_has_these_kinds_alone():
    assert {kind for role in ROLE_NAMES for kind in load(role, "meta/paths.yml")} == {"app", "slot", "process"}


PROCESSES: list[dict[str, Any]] = [
    {"name": "queue", "command": "rq worker", "instances": 2},
    {"name": "digest", "command": "flask digest", "kind": "timer", "schedule": "daily"},
]


def test_an_app_its_slots_and_its_processes_have_their_paths_and_units():
    (shop,) = prepared(app(name="shop-2", server="waitress", processes=PROCESSES))
    paths = shop["paths"]
    assert (paths["root"], paths["environment"]) == ("/srv/shop-2", "/etc/flask-ops/shop-2/environment")
    assert paths["site"] == "/etc/nginx/sites-enabled/shop-2.conf"
    assert list(shop["slots"]) == ["blue", "green"]
    green = shop["slots"]["green"]
    assert (green["name"], green["unit"]) == ("green", "shop-2-green")
    assert green["paths"]["service"] == "/etc/systemd/system/shop-2-green.service"
    assert green["paths"]["server"] == "/etc/flask-ops/shop-2/green/waitress.conf.py"
    assert green["paths"]["environment"] == "/etc/flask-ops/shop-2/green/environment" != paths["environment"]
    queue, digest = shop["processes"]
    assert (queue["unit"], queue["units"]) == (
        "shop-2-queue@",
        ["shop-2-queue@1.service", "shop-2-queue@2.service"],
    )
    assert queue["paths"]["service"] == "/etc/systemd/system/shop-2-queue@.service"
    assert queue["command_line"] == "/usr/bin/env rq worker"
    assert (digest["unit"], digest["units"]) == ("shop-2-digest", ["shop-2-digest.timer"])
    assert digest["paths"]["timer"] == "/etc/systemd/system/shop-2-digest.timer"
    assert digest["paths"]["credentials"] == "/etc/flask-ops/shop-2/processes/digest/credentials"
    texts = [*paths.values(), *(path for slot in shop["slots"].values() for path in slot["paths"].values())]
    assert [path for path in texts if not path.startswith("/") or "{" in path or "None" in path] == []


def test_the_names_of_secrets_and_sockets_are_derived():
    secrets = {"secrets": {"TOKEN": "x", "A": "y"}, "env": {"B": "z"}, "secret_files": {"key.pem": "k", "a.json": "j"}}
    (shop,) = prepared(app(**secrets, instances=3))
    assert (shop["secret_names"], shop["env_names"]) == (["A", "TOKEN"], ["A", "B", "TOKEN"])
    assert shop["credentials"] == ["a.json", "key.pem"]
    assert shop["sockets"] == [f"/run/flask-ops/shop/current/{number}.sock" for number in (1, 2, 3)]
    (shop,) = prepared(app(**secrets, secrets_in="credentials"))
    assert shop["credentials"] == ["secrets.json", "a.json", "key.pem"]


def test_an_app_that_one_role_prepares_has_its_paths_too():
    bare = resolved({"name": "shop"})
    assert (bare["processes"], bare["credentials"], bare["sockets"]) == ([], [], ["/run/flask-ops/shop/current/1.sock"])
    assert bare["paths"] == prepared(app())[0]["paths"]


# --- without secrets --------------------------------------------------------------------------------------------------


def filled(options: Options, secret: bool = False) -> dict[str, Any]:
    """A value for each option at any depth: whether it is secret."""
    return {
        name: _filled(option, secret or name == "env" or bool(option.get("no_log"))) for name, option in options.items()
    }


def _filled(option: dict[str, Any], secret: bool) -> Any:
    if option.get("options"):
        value: Any = filled(option["options"], secret)
        return [value] if option["type"] == "list" else value
    text = "canary" if secret else "kept"
    return {"list": [text], "dict": {"key": text}}.get(option["type"], text)


def test_what_a_module_gets_of_an_app_has_no_secret_at_any_depth_and_all_else():
    options = app_options(app_roles())
    (shown,) = without_secrets([filled(options) | {"paths": {"root": "/srv/shop"}}])
    assert str(filled(options)).count("canary") >= 8
    assert "canary" not in str(shown)
    assert str(shown).count("kept") == str(filled(options)).count("kept")
    assert shown["paths"] == {"root": "/srv/shop"}
