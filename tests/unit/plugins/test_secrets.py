"""A secret in a list of a module's arguments is found by Ansible, which takes it out of what it logs."""

from __future__ import annotations

import pytest
from ansible.module_utils.basic import heuristic_log_sanitize
from ansible_collections.flask_ops.production.plugins.module_utils._host.secrets import decode_secret, encode_secret
from hypothesis import given
from hypothesis import strategies as st

SECRET = "# A comment\nTOKEN=\"canary 'one'\"\n"


def logged(content: str) -> str:
    """What Ansible writes of an argument, given that this is a secret in it. See AnsibleModule._log_invocation()."""
    return heuristic_log_sanitize(str([{"dest": "/etc/flask-ops/shop/environment", "content": content}]), {content})


def test_a_sealed_secret_is_not_logged():
    assert encode_secret(SECRET) not in logged(encode_secret(SECRET))
    assert "canary" not in logged(encode_secret(SECRET))


def test_ansible_would_log_it_as_it_is():
    """Once this fails, sealing is not needed any more."""
    assert "canary" in logged(SECRET)


@given(st.text(st.characters(blacklist_categories=["Cs"])))
def test_opened_it_is_the_same(text: str):
    assert decode_secret(encode_secret(text)) == text


@pytest.mark.parametrize("text", [SECRET, "", "ü"])
def test_it_is_one_word(text: str):
    assert len(encode_secret(text).split()) == bool(text)
