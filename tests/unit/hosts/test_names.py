"""The block of a host in /etc/hosts."""

from __future__ import annotations

import pytest
from hosts.names import with_block

OWN = "127.0.0.1 localhost\n"
BLOCK = """\
# BEGIN flask-ops test host web1
10.0.0.2 shop.test
10.0.0.2 www.shop.test
# END flask-ops test host web1
"""


def test_a_block_is_appended_once() -> None:
    for before in (OWN, OWN.rstrip(), OWN + BLOCK):
        assert with_block(before, "web1", "10.0.0.2", ["shop.test", "www.shop.test"]) == OWN + BLOCK


def test_a_new_address_replaces_the_old_one() -> None:
    after = with_block(OWN + BLOCK, "web1", "10.0.0.9", ["shop.test"])
    assert "10.0.0.9 shop.test" in after
    assert "10.0.0.2" not in after


@pytest.mark.parametrize("other", ["web", "web10", "web1.example.com", "web."])
def test_other_hosts_are_left_alone(other: str) -> None:
    text = with_block(OWN + BLOCK, other, "10.0.0.3", ["other.test"])
    assert BLOCK in text
    assert with_block(text, other, "", ()) == OWN + BLOCK


def test_no_domains_no_block() -> None:
    assert with_block(OWN + BLOCK, "web1", "", ()) == OWN
    assert with_block(OWN, "web1", "10.0.0.2", ()) == OWN


def test_a_name_is_not_a_pattern() -> None:
    text = BLOCK.replace("web1", "webX1")
    assert with_block(text, "web.1", "", ()) == text
