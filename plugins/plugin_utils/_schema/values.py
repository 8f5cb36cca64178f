# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks values against the options of the roles and their rules, and fills in defaults.

ansible-core finds unknown options and wrong choices and knows the defaults. Added here are strict types, the rules, the
place of each error, and a value that would be right. The value of a secret is never repeated.

This plugin util is private to the collection.
"""

from __future__ import annotations

import copy
import difflib
import re
import typing as t
from collections.abc import Iterable, Mapping

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.validation import check_required_if
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.origin import is_changed
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.rules import all_rules, example, required_if
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import ROLE_NAMES, Options

TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "a text"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "list": ((list, tuple), "a list"),
    "dict": ((Mapping,), "a dictionary"),
}


def complete(
    given: Mapping[str, t.Any], options: Options, place: str, path: str = "", roles: Iterable[str] = ROLE_NAMES
) -> tuple[dict[str, t.Any], list[str]]:
    """A dictionary with the default of each option that is not given, or None where it has none; and all its errors.

    :param place: where the dictionary stands, for the errors.
    :param path: the path of the dictionary in the rules.
    :param roles: the roles whose conditions hold.
    """
    # Types are checked below: core would convert them.
    spec = {
        key: {"type": "raw", "default": option.get("default")}
        | ({"choices": option["choices"]} if "choices" in option and _has_type(given.get(key), option) else {})
        for key, option in options.items()
    }
    checked = ArgumentSpecValidator(spec).validate({str(key): value for key, value in given.items()})
    unknown = checked.unsupported_parameters
    errors = [f"{place}.{key}: is not a known option{nearest(key, options)}" for key in given if str(key) in unknown]
    completed = {
        str(key): checked.validated_parameters.get(str(key)) for key in [*given, *options] if str(key) not in unknown
    }
    needed = _needed({key: value for key, value in completed.items() if value is not None}, path, roles)
    for key, option in options.items():
        where, below = f"{place}.{key}", f"{path}.{key}".lstrip(".")
        value = given.get(key)
        if value is not None:
            completed[key], wrong = _value(value, option, where, below)
            errors += wrong
        elif option.get("required") or key in needed or (key in given and option.get("default", ...) is not None):
            errors.append(_missing(where, below, bool(option.get("required") or key in needed)))
        elif completed[key] is not None or _has_defaults(option):
            default = {} if completed[key] is None else copy.deepcopy(completed[key])
            completed[key], _none = _value(default, option, where, below)
    return completed, errors


def _needed(values: Mapping[str, t.Any], path: str, roles: Iterable[str]) -> set[str]:
    """The options that the values of others require, and that are not given."""
    needed = set()
    for parameter, value, names in required_if(path, roles):
        for name in names:
            try:
                check_required_if([[parameter, value, [name]]], values)
            except TypeError:
                needed.add(name)
    return needed


def value_errors(value: t.Any, option: dict[str, t.Any], name: str) -> list[str]:
    """The errors of a variable."""
    return _value(value, option, name, name)[1]


def _value(value: t.Any, option: dict[str, t.Any], place: str, path: str) -> tuple[t.Any, list[str]]:
    """A value with the defaults within it, and its errors."""
    if not _has_type(value, option):
        return value, [_wrong_type(value, option, place, path)]
    if "choices" in option and value not in option["choices"]:
        return value, [f"{place}: {shown(value)} is not one of {', '.join(map(str, option['choices']))}"]
    if option["type"] == "list" and "elements" in option:
        element: dict[str, t.Any] = {"type": option["elements"], "options": option.get("options")}
        items = [_value(item, element, f"{place}[{index}]", f"{path}[]") for index, item in enumerate(value)]
        return [item for item, _errors in items], [error for _item, errors in items for error in errors]
    if option["type"] == "dict":
        if option.get("options"):
            return complete(value, option["options"], place, path)
        return value, [error for key, item in value.items() for error in _pair_errors(key, item, place, path)]
    rule = all_rules().get(path)
    if rule and not rule.accepts(value):
        quoted = "" if option.get("no_log") else f"{shown(value)} "
        return value, [f"{place}: {quoted}{rule.error}{example(path)}"]
    return value, []


def _has_type(value: t.Any, option: dict[str, t.Any]) -> bool:
    types, _words = TYPES.get(option["type"], ((object,), ""))
    # In Python, as in YAML 1.1, True is also 1: an integer must not be a boolean.
    return isinstance(value, types) and (option["type"] == "bool" or not isinstance(value, bool))


def _wrong_type(value: t.Any, option: dict[str, t.Any], place: str, path: str) -> str:
    words = TYPES[option["type"]][1]
    if option.get("no_log"):
        return f"{place}: must be {words}"
    quote = "; put it in quotes" if option["type"] == "str" and isinstance(value, (int, float)) else ""
    # KEY=value in the place of a dictionary would be a whole secret.
    pairs = option["type"] == "dict" and not option.get("options")
    seen = "a text" if pairs and isinstance(value, str) else shown(value)
    return f"{place}: must be {words}, not {seen}{quote}{example(path)}"


def _pair_errors(key: t.Any, value: t.Any, place: str, path: str) -> list[str]:
    """A key of the user's own choice, and its value, which may be a secret and is not repeated."""
    rules = all_rules()
    key_rule, value_rule = rules.get(f"{path}{{key}}"), rules.get(f"{path}{{value}}")
    if key_rule and not (isinstance(key, str) and key_rule.accepts(key)):
        # KEY=value in the place of a name would be a whole secret.
        name = re.split(r"[=:\s]", str(key), maxsplit=1)[0]
        return [f"{place}: the name {shown(name)} {key_rule.error}{example(f'{path}{{key}}')}"]
    if is_changed(key, value):
        return [f"{place}.{key}: YAML reads the value as something else than it is written; put it in quotes"]
    if value_rule and not value_rule.accepts(value):
        return [f"{place}.{key}: the value {value_rule.error}{example(f'{path}{{value}}')}"]
    return []


def _missing(place: str, path: str, needed: bool) -> str:
    hint = example(path) or example(f"{path}[]")
    if path == "source":
        hint = "; a good value is {git: 'https://git.example.com/acme/shop.git', version: v1.4.2}"
    return f"{place}: {'is missing' if needed else 'is empty'}{hint or '; leave it out for the default'}"


def _has_defaults(option: dict[str, t.Any]) -> bool:
    """Whether a dictionary that is not given has defaults: those of a dictionary with a required option make no sense."""
    options = option.get("options") or {}
    return (
        option["type"] == "dict"
        and any("default" in inner for inner in options.values())
        and not any(inner.get("required") for inner in options.values())
    )


def nearest(name: t.Any, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(name), sorted(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else f"; known are {', '.join(sorted(known))}"


def shown(value: t.Any) -> str:
    """A value as a message may repeat it: on one line, not a whole page of it, and no password in a URL.

    Of a list or a dictionary only the kind: it may hold the secrets of an app that is written in the wrong place.
    """
    if isinstance(value, Mapping):
        return "a dictionary"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = re.sub(r"//.*@", "//...@", repr(str(value))) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def dictionary(value: t.Any) -> Mapping[str, t.Any]:
    """The value if it is a dictionary, else an empty one."""
    return value if isinstance(value, Mapping) else {}
