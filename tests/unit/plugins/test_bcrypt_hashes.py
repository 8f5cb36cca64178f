"""Passwords become hashes once, and stay the same hashes."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flask_ops.production.plugins.filter.bcrypt_hashes import bcrypt_hashes
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema import passwords
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.apps import ask
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.rules import all_rules

PASSWORD = "canary-7f1e22b0-ü"


def test_a_hash_that_fits_is_kept_and_another_password_gets_another_hash():
    first = bcrypt_hashes({"prometheus": PASSWORD})
    assert bcrypt_hashes({"prometheus": PASSWORD}, first) == first
    assert bcrypt_hashes({"prometheus": PASSWORD + "!"}, first) != first
    assert bcrypt_hashes({"prometheus": PASSWORD}) != first


@pytest.mark.parametrize(
    "stored", [{}, {"other": "x"}, {"prometheus": "no hash"}, {"prometheus": ""}, {"prometheus": "$6$a$b"}]
)
def test_what_is_stored_and_no_hash_of_this_password_is_replaced(stored: dict[str, str]):
    new = bcrypt_hashes({"prometheus": PASSWORD}, stored)
    assert all_rules()["node_exporter_users{value}"].accepts(new["prometheus"])


def test_no_passwords_are_no_hashes():
    assert bcrypt_hashes({}, {"prometheus": "x"}) == {}


@pytest.fixture
def helpless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller whose libraries fail, and quote the password."""

    def fails(password: str, *_: object, **__: object) -> str:
        raise ValueError(f"password cannot be longer than 72 bytes: {password}")

    monkeypatch.setattr(passwords, "do_encrypt", fails)


@pytest.mark.usefixtures("helpless")
def test_a_controller_that_cannot_hash_is_named_with_the_way_out_and_the_password_is_not():
    with pytest.raises(AnsibleFilterError, match="pip install libpass bcrypt") as raised:
        bcrypt_hashes({"prometheus": PASSWORD})
    assert PASSWORD not in str(raised.value)
    assert raised.value.__cause__ is None


SITE = ("flask_apps[1] (shop)", {"name": "shop", "domains": ["a.com"], "basic_auth": {"alice": PASSWORD}})
BLOG = ("flask_apps[0] (blog)", {"name": "blog", "domains": ["b.com"]})


def errors_of(*apps: tuple[str, dict[str, Any]], **passwords: str) -> list[str]:
    return ask(
        "final_errors",
        ["node_exporter", "nginx_proxy"],
        list(apps),
        {"node_exporter_passwords": passwords},
        "flask_apps",
    )


@pytest.mark.usefixtures("helpless")
def test_the_check_names_each_place_that_needs_a_hash_and_its_page():
    metrics, site = errors_of(BLOG, SITE, a=PASSWORD)
    assert metrics.startswith("node_exporter_passwords: the controller cannot make bcrypt hashes")
    assert site.startswith("flask_apps[1] (shop).basic_auth: the controller cannot make sha512_crypt hashes")
    assert metrics.endswith("docs/logs-and-metrics.md")
    assert site.endswith("docs/nginx.md")
    assert PASSWORD not in metrics + site


@pytest.mark.usefixtures("helpless")
def test_who_gives_hashes_needs_no_libraries():
    place, shop = SITE
    hashes = {"alice": "$6$rounds=5000$abc$" + "x" * 86}
    assert errors_of((place, shop | {"basic_auth": hashes})) == errors_of((place, shop | {"state": "absent"})) == []


def test_a_controller_that_can_hash_is_let_through():
    assert errors_of(SITE, a=PASSWORD) == []
