"""Rows of values for tests of the rules: each kind of value once for each rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.rules import RULES


def rows(values: Mapping[str, Sequence[Any]]) -> list[tuple[str, Any]]:
    """Paths with their values. Of options that have one and the same rule, the first has all values, and each other one
    has one, which shows that it has the rule."""
    known, found = set(), []
    for path, of_path in values.items():
        rule = _identity(path)
        found += [(path, value) for value in (of_path[:1] if rule in known else of_path)]
        known.add(rule)
    return found


def _identity(path: str) -> object:
    """The function of a rule, with what it was made with. An option without a rule is like no other."""
    accepts: Any = RULES[path].accepts if path in RULES else None
    if not hasattr(accepts, "__code__"):
        return accepts or path
    return accepts.__code__, tuple(repr(cell.cell_contents) for cell in accepts.__closure__ or ())
