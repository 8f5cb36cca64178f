"""What systemd reads from an environment file is exactly what was meant."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flask_ops.production.plugins.filter.environment_value import environment_value
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.predicates import is_environment_value
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.systemd_syntax import read_by_systemd


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=b\n", {"A": "b"}),
        ("# A=x\n; B=x\n\nC=d", {"C": "d"}),
        ('A="b c"\nD=\'e "f"\'\n', {"A": "b c", "D": 'e "f"'}),
        ('A="b\\$c\\"d\\\\e\\f"\n', {"A": 'b$c"d\\e\\f'}),
        ('A="b\nc"\n', {"A": "b\nc"}),
        ("A=b  \nC= d\n", {"A": "b", "C": "d"}),
    ],
)
def test_the_reader_of_these_tests_reads_like_systemd(text: str, expected: dict[str, str]):
    assert read_by_systemd(text) == expected


@pytest.mark.parametrize(
    "value",
    ["", " ", "a b", " a ", '"', "'", "\\", "\\\\", "\\n", "$HOME", "${x}", "$$", "`id`", "%h", "#", "a #b", ";", "a=b", '\\"',
     "!", "é", "😀", "\t", "\x85", "\u2028", "'\"'\"'", "x\\",
     "-----BEGIN KEY-----\nYWJj\\\n\n-----END KEY-----\n", "a\r\nb", "\n"],
)  # fmt: skip
def test_a_text_arrives_as_it_is(value: str):
    assert read_by_systemd(f"BEFORE=1\nKEY={environment_value(value)}\nAFTER=2\n") == {
        "BEFORE": "1", "KEY": value, "AFTER": "2",
    }  # fmt: skip


SPECIAL = st.lists(st.sampled_from([*"\\\"'$`#;=% {}!~\t", "a", "${A}"])).map("".join)


@given(st.lists((st.text() | SPECIAL).filter(is_environment_value)))
def test_any_text_that_the_rules_accept_arrives_as_it_is(values: list[str]):
    text = "".join(f"KEY{number}={environment_value(value)}\n" for number, value in enumerate(values))
    assert len(text.split("\n")) == len(values) + 1
    assert read_by_systemd(text) == {f"KEY{number}": value for number, value in enumerate(values)}


@pytest.mark.parametrize("value", [0, 1, -5, 1.5, True, False])
def test_a_number_or_a_boolean_arrives_as_json(value: Any):
    arrived = read_by_systemd(f"KEY={environment_value(value)}")["KEY"]
    assert json.loads(arrived) == value
    assert type(json.loads(arrived)) is type(value)


def test_a_text_that_looks_like_a_number_stays_as_it_is():
    assert read_by_systemd(f"KEY={environment_value('007')}") == {"KEY": "007"}


def test_a_null_character_is_refused_and_not_shown():
    with pytest.raises(AnsibleFilterError, match="must not hold a null character") as error:
        environment_value("canary\0")
    assert "canary" not in str(error.value)
