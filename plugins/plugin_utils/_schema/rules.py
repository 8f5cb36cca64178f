# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules that values keep beyond their type, read from the roles' ``meta/rules.yml``.

This plugin util is private to the collection.
"""

from __future__ import annotations

import functools
import re
import typing as t

from ansible_collections.flask_ops.production.plugins.plugin_utils._schema import predicates
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import ROLE_NAMES, load

REQUIRED_IF = "required_if"


class Rule(t.NamedTuple):
    """One rule: the values that it accepts, the error for any other, and an example of a value that it accepts."""

    accepts: t.Callable[[t.Any], bool]
    error: str
    example: str


def rule(
    *,
    example: t.Any,
    error: str = "",
    check: str = "",
    pattern: str = "",
    one_of: str = "",
    minimum: int = 0,
    maximum: int = 0,
    unit: str = "",
    or_empty: bool = False,
) -> Rule:
    """A rule as ``rules.yml`` describes it."""
    accepts: t.Callable[[t.Any], bool]
    if check:
        accepts = getattr(predicates, check)
    elif pattern:
        # fullmatch: in a regular expression `$` also matches before a newline at the end.
        def accepts(value: t.Any) -> bool:
            return isinstance(value, str) and re.fullmatch(pattern, value) is not None
    elif one_of:
        accepts = predicates.SETS[one_of].__contains__
        error = f"must be one of {', '.join(sorted(predicates.SETS[one_of]))}"
    else:

        def accepts(value: t.Any) -> bool:
            return minimum <= value <= maximum

        error = f"must be from {minimum} to {maximum}{unit and ' ' + unit}"
    if or_empty:
        strict = accepts
        return Rule(
            lambda value: value == "" or strict(value), f"must be empty, or {error.removeprefix('must be ')}", example
        )
    return Rule(accepts, error, str(example))


@functools.cache
def role_rules(role: str) -> dict[str, dict[str, t.Any]]:
    """The rules of a role as its ``meta/rules.yml`` has them, by the path of the option."""
    return {path: given for path, given in load(role, "meta/rules.yml").items() if path != REQUIRED_IF}


def required_if(path: str, roles: t.Iterable[str]) -> list[list[t.Any]]:
    """Options that are required if another one has a value, as ansible-core describes them.

    :param path: the path of the dictionary that has the options; empty for an app itself.
    """
    return [rule for role in roles for rule in _required_if(role).get(path or "app", [])]


@functools.cache
def _required_if(role: str) -> dict[str, list[list[t.Any]]]:
    return load(role, "meta/rules.yml").get(REQUIRED_IF, {})


@functools.cache
def all_rules() -> dict[str, Rule]:
    """The rules of all roles, by the path of the option."""
    return {path: rule(**given) for role in ROLE_NAMES for path, given in role_rules(role).items()}


def example(path: str) -> str:
    """The part of an error that shows a value which would be right, or nothing."""
    return f"; a good value is {all_rules()[path].example}" if path in all_rules() else ""
