"""The JSON schema refuses what the rules refuse that JSON schema can express, and nothing that they accept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.contract.tree import Tree
from tests.schema import ecma, errors, schema
from tests.unit.plugins.apps import app
from tests.unit.plugins.test_rules import BAD, BY_PATH, GIVEN, GOOD, OPTIONS, RANGES, WRONG, nested, rows

SCHEMA = schema()
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)
LATER = ["{{ value }}", "{% if x %}1{% endif %}", "$ANSIBLE_VAULT;1.1;AES256\n6231"]


def refused(path: str, value: Any) -> bool:
    """Whether a value is refused in the place that a path stands for, whatever is missing around it."""
    if path.endswith("{key}"):
        path, value = path.removesuffix("{key}"), {value: GIVEN[path.replace("{key}", "{value}")]["example"]}
    elif path.endswith("{value}"):
        path, value = path.removesuffix("{value}"), {GIVEN[path.replace("{value}", "{key}")]["example"]: value}
    variables = nested(path, value)
    if re.split(r"[.\[]", path)[0] not in SCHEMA["properties"]:
        variables = {"flask_apps": [variables]}
    return any(error.validator != "required" for error in VALIDATOR.iter_errors(variables))


def test_it_is_a_schema_of_draft_7():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert (
        OPTIONS.keys() <= SCHEMA["properties"].keys() | SCHEMA["properties"]["flask_apps"]["items"]["properties"].keys()
    )


@pytest.mark.parametrize("path", BY_PATH)
def test_a_value_of_another_type_is_refused_and_one_that_is_known_later_is_not(path: str):
    option = BY_PATH[path]
    assert [value for value in WRONG[option["type"]] if not refused(path, value)] == []
    assert [value for value in LATER if refused(path, value)] == []
    assert refused(path, "other") or "choices" not in option
    assert [choice for choice in option.get("choices", []) if refused(path, choice)] == []


@pytest.mark.parametrize(("ends", "paths"), RANGES.items(), ids=map(str, RANGES))
def test_a_number_is_refused_beyond_its_range_alone(ends: tuple[int, int], paths: str):
    for path in paths.split():
        assert [refused(path, value) for value in (ends[0] - 1, *ends, ends[1] + 1)] == [True, False, False, True]


@pytest.mark.parametrize(("path", "value"), [row for row in rows(BAD) if GIVEN[row[0]].keys() & {"pattern", "one_of"}])
def test_a_text_that_a_pattern_or_a_set_refuses_is_refused(path: str, value: Any):
    assert refused(path, value)


@pytest.mark.parametrize(("path", "value"), rows(GOOD))
def test_a_good_value_is_not_refused(path: str, value: Any):
    assert not refused(path, value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"wokers": 4}, "'wokers' was unexpected"),
        ({"health": {"pth": "/"}}, "'pth' was unexpected"),
        ({"wsgi": ...}, "'wsgi' is a required property"),
        ({"wsgi": ..., "source": ..., "domains": ..., "state": "absent"}, None),
        ({"processes": [{"name": "w", "command": "x", "kind": "timer"}]}, "'schedule' is a required property"),
        ({"processes": [{"name": "w", "command": "x"}]}, None),
        ({"name": ...}, "'name' is a required property"),
    ],
)
def test_the_options_of_an_app_are_known_and_complete(changes: dict[str, Any], words: str | None):
    entry = {name: value for name, value in (app() | changes).items() if value is not ...}
    assert [error.message.split(" (")[-1].rstrip(")") for error in VALIDATOR.iter_errors({"flask_apps": [entry]})] == (
        [words] if words else []
    )


def test_an_app_of_a_role_has_the_options_of_that_role():
    entry = {"name": "shop", "domains": ["shop.example.com"], "csp": "default-src 'self'"}
    assert VALIDATOR.is_valid({"nginx_proxy_apps": [entry], "node_exporter_user": "somebody else's"})
    assert not VALIDATOR.is_valid({"nginx_proxy_apps": [entry | {"workers": 4}]})
    assert not VALIDATOR.is_valid({"nginx_proxy_apps": [entry | {"csp": ""}]})


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        ("inventories/x/group_vars/all.yml", "flask_apps: [{name: shop}]", "flask_apps[0]: 'source' is a required"),
        ("inventories/x/group_vars/all.yml", "nginx_proxy_http_port: 0", "nginx_proxy_http_port: 0 is less than"),
        ("inventories/x/group_vars/all.yml", "flask_apps: '{{ shops }}'", None),
        ("molecule/x/molecule.yml", "a: {flask_apps: [{workers: '4'}]}", "flask_apps[0].workers: '4' does not match"),
        ("molecule/x/molecule.yml", "a: {flask_apps: [{source: {path: '${MOLECULE_PROJECT_DIRECTORY}/x'}}]}", None),
        ("docs/a.md", "```yaml\nflask_apps: [{name: shop, workers: 4}]\n```", None),
        ("docs/a.md", "```yaml\nflask_apps: [{name: shop, workers: 0}]\n```", "flask_apps[0].workers: 0 is less than"),
        ("docs/a.md", "```yaml\nflask_apps: [{name: shop, source: {token: !vault 'x y'}}]\n```", "source.token: 'x y'"),
    ],
)
def test_mistakes_in_what_the_repository_shows_are_found(tmp_path: Path, file: str, text: str, found: str | None):
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text)
    lines = list(errors(Tree(tmp_path)))
    assert not lines if found is None else any(line.startswith(f"{file}: ") and found in line for line in lines)


@pytest.mark.parametrize(
    ("pattern", "portable"),
    [
        (r"\w+", r"[\w\u0080-\uffff]+"),
        (r"[\w.]", r"[\w\u0080-\uffff.]"),
        (r"\[\w", r"\[[\w\u0080-\uffff]"),
        (r"\\w", r"\\w"),
    ],
)
def test_a_letter_beyond_ascii_is_one_for_editors(pattern: str, portable: str):
    assert ecma(pattern) == portable
