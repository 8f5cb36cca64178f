"""Values that a rule accepts, as strange as it lets them be."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.rules import all_rules

STRANGE = [
    *"abzAZ019._-/:@+~=,;{}()[]<>$%&|!?*^#\"'`\\ \t\n\r\0\x07\x7f",
    *("é", "٣", "\x85", "\u2028", "\ufeff", "😀", "..", "//", "--", "$$", "${x}", "%h", "%%", "{{", "}}", "{%", "{name}", "{instance}"),
    *("\\n", "\\x41", "\\", "' '", '" "', "#!", "&&", "$(id)", "`id`", " ; ", "\\\\", "True", "None", "''"),
]  # fmt: skip
"""What means something to somebody."""


def walk(path: str, steps: int = 40) -> Iterator[str]:
    """Values without end: from the rule's own example, step by step, wherever the rule lets one go."""
    chance, rule = random.Random(path), all_rules()[path]
    while True:
        value = rule.example
        for _ in range(steps):
            changed = mutated(value, chance)
            if len(changed) < 200 and rule.accepts(changed):
                value = changed
        yield value


def mutated(value: str, chance: random.Random) -> str:
    start = chance.randint(0, len(value))
    end = min(len(value), start + chance.choice((0, 0, 1, 3)))
    return value[:start] + "".join(chance.choices(STRANGE, k=chance.choice((0, 1, 1, 2)))) + value[end:]


def unique(values: Iterator[str], same: Callable[[str], str] = str.lower) -> Iterator[str]:
    """Each value once, by what it is the same as."""
    seen = set()
    for value in values:
        if same(value) not in seen:
            seen.add(same(value))
            yield value
