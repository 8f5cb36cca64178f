"""What systemd and gunicorn are told about an app, and what the app gets as its environment."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._sandbox import SANDBOX

from tests.unit.systemd_syntax import read_by_systemd
from tests.unit.templates.rendering import lines, render


def directives(text: str) -> dict[str, list[tuple[str, str]]]:
    """A unit's directives by section."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for line in lines(text):
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), [])
        else:
            name, _, value = line.partition("=")
            section.append((name, value))
    return sections


def service(**overrides: Any) -> list[tuple[str, str]]:
    return directives(render("slot.service.j2", **overrides))["Service"]


def gunicorn(**overrides: Any) -> dict[str, Any]:
    """gunicorn's settings, read as gunicorn reads them."""
    settings: dict[str, Any] = {}
    exec(render("gunicorn.conf.py.j2", **overrides), settings)  # noqa: S102  (it is Python, and gunicorn does the same)
    return settings


# --- the units ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "directive",
    [
        ("Type", "notify"),
        ("User", "shop"),
        ("Group", "shop"),
        ("WorkingDirectory", "/srv/shop/r1/app"),
        ("ExecStart", "/srv/shop/r1/venv/bin/gunicorn --config /etc/shop/green/gunicorn.conf.py"),
        ("EnvironmentFile", "/etc/shop/green/environment"),
        ("Environment", "PATH=/srv/shop/r1/venv/bin:/usr/bin:/bin"),
        ("Environment", "FLASK_OPS_RELEASE=r1"),
        ("Environment", "FLASK_OPS_SLOT=green"),
        ("KillMode", "mixed"),
        ("Restart", "always"),
        ("TimeoutStopSec", "35"),
    ],
)
def test_the_service_says(directive: tuple[str, str]):
    assert directive in service()


def test_code_is_never_changed_by_a_reload():
    assert "ExecReload" not in dict(service())


def test_systemd_waits_longer_than_gunicorn():
    assert ("TimeoutStopSec", "65") in service(graceful_timeout=60)
    assert gunicorn(graceful_timeout=60)["graceful_timeout"] == 60


def test_the_whole_sandbox_is_in_the_service_and_nothing_takes_it_back():
    found = service(gunicorn_systemd_writable_directory="/srv/{name}/shared")
    start = found.index(SANDBOX[0])
    assert found[start : start + len(SANDBOX)] == list(SANDBOX)
    assert found[start + len(SANDBOX) :] == [("ReadWritePaths", "/srv/shop/shared")]
    names = [name for name, _ in found[:start]]
    assert not set(names) & dict(SANDBOX).keys()


def test_without_a_writable_directory_the_app_writes_nowhere():
    assert "ReadWritePaths" not in render("slot.service.j2")


def test_a_bad_hour_locks_no_app_out():
    assert ("StartLimitIntervalSec", "0") in directives(render("slot.service.j2"))["Unit"]


def test_the_service_needs_its_own_slots_socket():
    unit = dict(directives(render("slot.service.j2"))["Unit"])
    assert unit["Requires"] == "shop-green.socket"
    assert "shop-green.socket" in unit["After"].split()


def test_only_nginx_reaches_the_socket():
    socket = dict(directives(render("slot.socket.j2"))["Socket"])
    assert socket["ListenStream"] == "/run/shop/green.sock"
    assert (socket["SocketUser"], socket["SocketGroup"], socket["SocketMode"]) == ("root", "www-data", "0660")


def test_both_units_start_at_boot_once_they_are_enabled():
    assert directives(render("slot.service.j2"))["Install"] == [("WantedBy", "multi-user.target")]
    assert directives(render("slot.socket.j2"))["Install"] == [("WantedBy", "sockets.target")]


def test_after_a_reboot_the_link_comes_back_to_this_slot():
    assert lines(render("tmpfiles.conf.j2")) == [
        "d /run/shop 0750 root www-data",
        "L+ /run/shop/current.sock - - - - green.sock",
    ]


# --- gunicorn ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"worker_class": "gthread", "threads": 4, "workers": 5, "timeout": 30, "graceful_timeout": 30}),
        ({"threads": 8}, {"threads": 8}),
        ({"worker_class": "sync"}, {"worker_class": "sync", "threads": 1}),
        ({"workers": 3, "timeout": 90}, {"workers": 3, "timeout": 90}),
        ({}, {"control_socket_disable": True, "worker_tmp_dir": "/dev/shm", "proc_name": "shop-green"}),
    ],
)
def test_gunicorn_is_told(options: dict[str, Any], expected: dict[str, Any]):
    settings = gunicorn(**options)
    assert {name: settings[name] for name in expected} == expected


def test_gunicorn_binds_nothing_because_systemd_hands_it_the_socket():
    assert "bind" not in gunicorn()


@pytest.mark.parametrize("wsgi", ["shop:app", "shop:create_app('x', \"y\\z\")", 'ünï:app("""', "a:b(%s, {0})"])
def test_what_gunicorn_serves_arrives_as_it_is(wsgi: str):
    assert gunicorn(wsgi=wsgi)["wsgi_app"] == wsgi


# --- the environment ------------------------------------------------------------------------------------------------------------


def test_the_environment_holds_variables_and_secrets_as_they_were_given():
    awkward = "a 'b' \"c\" \\ $d `e` %h #f;"
    text = render("environment.j2", env={"B": 1, "A": True, "TEXT": awkward}, secrets={"KEY": awkward})
    given = {name: value for name, value in read_by_systemd(text).items() if not name.startswith("FLASK_")}
    assert given == {"A": "true", "B": "1", "KEY": awkward, "TEXT": awkward}


def test_flask_gets_what_production_needs_as_it_reads_it():
    """As from_prefixed_env reads it: JSON where it is JSON, else a text."""
    read = read_by_systemd(render("environment.j2", domains=["a.example.com", "*.b.example.com"]))
    assert json.loads(read["FLASK_SESSION_COOKIE_SECURE"]) is True
    assert json.loads(read["FLASK_SESSION_COOKIE_HTTPONLY"]) is True
    assert json.loads(read["FLASK_TRUSTED_HOSTS"]) == ["a.example.com", ".b.example.com"]
    assert json.loads(read["FLASK_DEBUG"]) == 0
    assert read["FLASK_SESSION_COOKIE_SAMESITE"] == "Lax"
    assert read["FLASK_PREFERRED_URL_SCHEME"] == "https"


def test_what_the_app_says_goes_before_what_production_needs():
    text = render(
        "environment.j2",
        env={"FLASK_SESSION_COOKIE_SAMESITE": "Strict"},
        secrets={"FLASK_TRUSTED_HOSTS": '["x.example.com"]'},
    )
    read = read_by_systemd(text)
    assert (read["FLASK_SESSION_COOKIE_SAMESITE"], read["FLASK_TRUSTED_HOSTS"]) == ("Strict", '["x.example.com"]')


def test_secrets_are_in_the_environment_or_in_the_credentials():
    secrets = {"TOKEN": "canary", "N": 1}
    for where, others in (("environment", {}), ("credentials", secrets)):
        environment = render("environment.j2", secrets=secrets, secrets_in=where)
        assert ("TOKEN" in environment) == (where == "environment")
        assert json.loads(render("secrets.json.j2", secrets=secrets, secrets_in=where)) == others
        unit = lines(render("slot.service.j2", secrets_in=where))
        loaded = "LoadCredential=secrets.json:/etc/shop/green/secrets.json"
        assert (loaded in unit) == (where == "credentials")


def test_without_domains_no_host_is_refused():
    assert "FLASK_TRUSTED_HOSTS" not in render("environment.j2", domains=None)
