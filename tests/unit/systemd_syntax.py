"""How systemd reads the files that are written for it, as its manual describes it."""

from __future__ import annotations

from collections.abc import Iterator


def read_by_systemd(text: str) -> dict[str, str]:
    """An environment file as systemd.exec(5) describes it, EnvironmentFile=: comments, quotes, escapes, continuation."""
    found: dict[str, str] = {}
    rest = iter(text)
    for first in rest:
        if first in " \t\n\r":
            continue
        if first in "#;":
            comment_ends(rest)
            continue
        key, value, quote, kept = first, "", "", 0
        for character in rest:
            if character == "=":
                break
            key += character
        for character in rest:
            if quote and character == quote:
                quote, kept = "", len(value)
            elif quote == "'":
                value += character
            elif character == "\\":
                escaped = next(rest, "")
                if quote and escaped not in '"\\`$\n':
                    value += "\\"
                value += "" if escaped == "\n" else escaped
                kept = len(value)
            elif quote:
                value += character
            elif character in "\n\r":
                break
            elif character in "\"'" and (not value.strip() or kept == len(value)):
                quote = character
            elif character not in " \t" or value:
                value += character
                kept = len(value) if character not in " \t" else kept
        found[key.strip()] = value[:kept]
    return found


def comment_ends(rest: Iterator[str]) -> None:
    for character in rest:
        if character == "\\":
            next(rest, "")
        elif character in "\n\r":
            return
