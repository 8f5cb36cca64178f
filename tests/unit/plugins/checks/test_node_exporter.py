"""Metrics that would be open to the network, and variables of node_exporter that need each other."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.apps import variable_errors
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.rules import all_rules


def errors_of(**variables: Any) -> list[str]:
    return variable_errors({f"node_exporter_{name}": value for name, value in variables.items()}, ["node_exporter"])


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.7", "2001:db8::7"])
def test_an_address_beyond_the_loopback_needs_protection_or_a_word(address: str):
    (error,) = errors_of(address=address)
    assert "node_exporter_unprotected" in error
    assert errors_of(address=address, tls=True) == []
    assert errors_of(address=address, unprotected=True) == []
    assert errors_of(address=address, users={"prometheus": all_rules()["node_exporter_users{value}"].example}) == []
    assert errors_of(address=address, passwords={"prometheus": "canary-canary-canary"}) == []


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.53", "::1"])
def test_the_loopback_needs_no_protection(address: str):
    assert errors_of(address=address) == []


def test_a_user_has_a_hash_or_a_password_and_neither_is_shown():
    errors = errors_of(users={"me": "canary"}, passwords={"me": "canary"})
    places = ["node_exporter_passwords.me", "node_exporter_passwords.me", "node_exporter_users.me"]
    assert sorted(error.split(":")[0] for error in errors) == places
    assert "canary" not in str(errors)


RELEASE = {
    "version": "1.9.1",
    "archive": "https://mirror.example.com/node_exporter-{version}.linux-{architecture}.tar.gz",
    "checksums": {"amd64": "a" * 64},
}
PAIR = {"tls": True, "certificate": "/etc/ssl/web1.pem", "certificate_key": "/etc/ssl/web1.key"}


@pytest.mark.parametrize("together", [RELEASE, PAIR])
def test_of_what_goes_together_none_may_be_missing(together: dict[str, Any]):
    assert errors_of(**together) == []
    for name in together:
        empty = {"checksums": {}, "tls": False}.get(name, "")
        (error,) = errors_of(**together | {name: empty})
        assert error.startswith(f"node_exporter_{name}: is {'false' if name == 'tls' else 'empty'}")
