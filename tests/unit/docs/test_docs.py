"""What tests/docs.py makes of an option."""

import pytest
import yaml

from tests import docs
from tests.docs import default, described, example, kind, rules
from tests.schema import plain

TEXT = {"type": "str", "description": "A text."}


@pytest.mark.parametrize(
    ("markup", "markdown"),
    [
        ("Path of C(uv.lock).", "Path of `uv.lock`."),
        ("V(absent) removes it.", "`absent` removes it."),
        ("With O(web_sites[].state=absent), too.", "With `state: absent`, too."),
        ("See O(web_sites[].name) and M(a.b.c).", "See `name` and `a.b.c`."),
        ("PIC(x) is no markup, nor is C alone.", "PIC(x) is no markup, nor is C alone."),
    ],
)
def test_markup_becomes_markdown(markup: str, markdown: str):
    assert plain(markup) == markdown


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"type": "str"}, "text"),
        ({"type": "bool"}, "true or false"),
        ({"type": "list", "elements": "str"}, "list of texts"),
        ({"type": "list", "elements": "dict"}, "list of dictionaries"),
        ({"type": "dict"}, "dictionary"),
    ],
)
def test_types_are_said_in_words(option: dict, words: str):
    assert kind(option) == words


@pytest.mark.parametrize(
    ("path", "option", "words"),
    [
        ("name", TEXT | {"required": True}, "none; required"),
        ("wsgi", TEXT, "none; required unless the app is absent"),
        ("requirements", TEXT, "none"),
        ("url", TEXT | {"default": "/static/"}, "`/static/`"),
        ("purge", {"type": "bool", "description": "", "default": False}, "`false`"),
        ("workers", {"type": "int", "description": "A number. By default from the host."}, "as described"),
        ("health", {"type": "dict", "description": "", "options": {"a": {"default": 1}}}, "that of each option in it"),
        ("static", {"type": "dict", "description": "", "options": {"a": {"required": True}}}, "none"),
    ],
)
def test_defaults(path: str, option: dict, words: str):
    assert default(path, option) == words


def test_rules_are_sentences():
    assert rules("source.version") == ["Must be a branch, a tag or a full commit id."]
    assert rules("domains")[0].startswith("Each must be a full domain name")
    assert [line.split(" must ")[0] for line in rules("env")] == ["Each name", "Each value"]
    assert rules("state") == []


@pytest.mark.parametrize(
    ("path", "option", "line"),
    [
        ("name", TEXT, "name: shop"),
        ("source.pypi", TEXT, "source: {pypi: httpbin==0.10.2}"),
        ("domains", {"type": "list"}, "domains: [shop.example.com]"),
        ("env", {"type": "dict"}, "env: {FLASK_MAIL_SERVER: mail.example.com}"),
        ("processes[].schedule", TEXT, "schedule: Mon..Fri 06:00"),
        ("workers", {"type": "int"}, ""),
        ("state", TEXT, ""),
    ],
)
def test_examples_are_yaml_on_one_line(path: str, option: dict, line: str):
    assert example(path, option) == line
    assert not line or path.split("[].")[-1].split(".")[0] in yaml.safe_load(line)


def test_an_example_that_several_options_share_is_not_shown(monkeypatch: pytest.MonkeyPatch):
    rule = docs.all_rules()["name"]
    monkeypatch.setattr(docs, "all_rules", lambda: {"a": rule, "b": rule})
    assert example("a", TEXT) == ""


@pytest.mark.parametrize(("kind", "heading"), [("dict", "### outer.inner"), ("list", "### outer[].inner")])
def test_an_option_within_an_option_has_a_section_below_it(kind: str, heading: str):
    outer = {"type": kind, "elements": "dict", "description": "Outer.", "options": {"inner": TEXT}}
    headings = [section.splitlines()[0] for section in described("outer", outer)]
    assert headings == ["## outer", heading]
