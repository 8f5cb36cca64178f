"""Passwords become hashes once, and stay the same hashes."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flask_ops.production.plugins.filter import bcrypt_hashes as plugin
from ansible_collections.flask_ops.production.plugins.filter.bcrypt_hashes import bcrypt_hashes
from ansible_collections.flask_ops.production.plugins.plugin_utils._rules import RULES

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
    assert RULES["node_exporter_users{value}"].accepts(new["prometheus"])


def test_no_passwords_are_no_hashes():
    assert bcrypt_hashes({}, {"prometheus": "x"}) == {}


def test_libraries_that_do_not_go_together_are_named_and_the_password_is_not(monkeypatch: pytest.MonkeyPatch):
    from passlib.hash import bcrypt

    def fails(password: str) -> str:
        raise ValueError(f"password cannot be longer than 72 bytes: {password}")

    monkeypatch.setattr(bcrypt, "using", lambda **_: type("Fails", (), {"hash": staticmethod(fails)}))
    with pytest.raises(AnsibleFilterError, match="libpass goes with any bcrypt") as raised:
        plugin.bcrypt_hashes({"prometheus": PASSWORD})
    assert PASSWORD not in str(raised.value)
    assert raised.value.__cause__ is None
