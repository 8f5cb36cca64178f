"""One description of every option, from which each role gets its part and its defaults."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import (
    ENTRIES,
    Options,
    entry_options,
    published_variables,
    role_options,
    select,
    with_defaults,
)

APP: dict[str, Any] = {
    "name": "shop",
    "wsgi": "shop:app",
    "domains": ["shop.example.com"],
    "timeout": 60,
    "secrets": {"TOKEN": "x"},
    "client_max_body_size": "1m",
}


@pytest.mark.parametrize(
    ("role", "known"),
    [
        ("python_app", {"name", "wsgi", "secrets"}),
        ("gunicorn_systemd", {"name", "wsgi", "domains", "timeout"}),
        ("nginx_proxy", {"name", "domains", "timeout", "client_max_body_size"}),
    ],
)
def test_each_role_gets_the_options_that_it_knows(role: str, known: set[str]):
    (selected,) = select([APP], role)
    assert selected == {key: APP[key] for key in known}


def test_no_option_is_known_to_no_role():
    assert APP.keys() <= entry_options(*ENTRIES).keys()


@pytest.mark.parametrize("role", ENTRIES)
def test_an_entry_is_complete_and_what_was_given_stays(role: str):
    (entry,) = select([APP], role)
    (complete,) = with_defaults([entry], role)
    assert complete.keys() == entry_options(role).keys()
    assert complete.items() >= entry.items()


def test_defaults_come_from_the_spec_and_what_has_none_is_null():
    (complete,) = with_defaults([{"name": "shop"}], "gunicorn_systemd")
    assert (complete["state"], complete["worker_class"], complete["timeout"]) == ("present", "gthread", 30)
    assert (complete["workers"], complete["domains"]) == (None, None)


def test_null_means_the_default_and_false_and_zero_do_not():
    (complete,) = with_defaults([{"name": "shop", "timeout": None}], "nginx_proxy")
    assert complete["timeout"] == 30
    (complete,) = with_defaults([{"name": "shop", "purge": False, "migrate_timeout": 0}], "python_app")
    assert (complete["purge"], complete["migrate_timeout"]) == (False, 0)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, {"path": "/", "status": None, "timeout": 5, "interval": 1, "deadline": 60}),
        ({"path": "/up"}, {"path": "/up", "status": None, "timeout": 5, "interval": 1, "deadline": 60}),
        ({"timeout": 1}, {"path": "/", "status": None, "timeout": 1, "interval": 1, "deadline": 60}),
    ],
)
def test_defaults_within_an_option_are_filled_in_too(given: dict[str, Any] | None, expected: dict[str, Any]):
    (complete,) = with_defaults([{"name": "shop", "health": given}], "gunicorn_systemd")
    assert complete["health"] == expected


@pytest.mark.parametrize("role", ["python_app", "nginx_proxy"])
def test_an_option_that_needs_something_said_is_not_made_up(role: str):
    (complete,) = with_defaults([{"name": "shop"}], role)
    assert complete["static"] is None
    (complete,) = with_defaults([{"name": "shop", "static": {"path": "s"}}], role)
    assert complete["static"] == {"path": "s", "url": "/static/", "keep": 86400}


def test_the_given_entry_and_the_spec_are_not_changed():
    given = {"name": "shop", "health": {"path": "/up"}}
    first, second = with_defaults([given, {"name": "other"}], "python_app")
    first["env"]["A"] = "1"
    first["shared_paths"].append("x")
    assert (second["env"], second["shared_paths"]) == ({}, [])
    with_defaults([given], "gunicorn_systemd")
    assert given == {"name": "shop", "health": {"path": "/up"}}
    assert with_defaults([{"name": "third"}], "python_app")[0]["env"] == {}


def test_what_a_role_publishes_is_known_and_what_is_private_is_not():
    assert "python_app_releases" in published_variables("python_app")
    assert not [name for name in published_variables("python_app") if not name.startswith(("python_app_", "__"))]


def test_every_list_of_entries_is_declared():
    for role, name in ENTRIES.items():
        option: Options = role_options(role)
        assert (option[name]["type"], option[name]["elements"]) == ("list", "dict")


def test_of_an_option_that_two_roles_know_each_gets_its_part():
    entry = {"name": "shop", "health": {"path": "/healthz", "status": 204}}
    assert select([entry], "gunicorn_systemd") == [entry]
    assert select([entry], "nginx_proxy") == [{"name": "shop", "health": {"path": "/healthz"}}]
    assert entry_options(*ENTRIES)["health"]["options"].keys() >= {"path", "status", "deadline"}


def test_the_elements_of_a_list_are_complete_too():
    (complete,) = with_defaults([{"name": "shop", "locations": [{"path": "/ws/"}]}], "nginx_proxy")
    (location,) = complete["locations"]
    assert (location["websocket"], location["allow"], location["timeout"]) == (False, [], None)


@pytest.mark.parametrize("function", [select, with_defaults])
@pytest.mark.parametrize("entries", [None, "shop", {"name": "shop"}, ["shop"], 7])
def test_what_is_no_list_of_apps_is_refused_in_words(function: Any, entries: Any):
    with pytest.raises(AnsibleFilterError, match="a list of apps is needed"):
        function(entries, "python_app")
