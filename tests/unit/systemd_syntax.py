"""How systemd reads the files that are written for it, as its manual describes it."""

from __future__ import annotations

from collections.abc import Iterator

SCHEDULES = [
    "minutely", "hourly", "daily", "weekly", "monthly", "Mon", "*-*-15", "quarterly", "semiannually", "yearly", "daily UTC", "06:00",
    "06:00:30", "Mon 06:00", "Mon..Fri 06:00", "Sat,Sun 6:5", "*:0/15", "*:*:0/2", "*-*-01 04:00", "*-01,07-01 00:00",
    "2027-*-1/2 3..5:00", "*-*~01 23:59:59", "Fri *-*-13 13:13 Europe/Berlin", "Mon..Wed,Fri *-2..4-* 00:00 UTC",
    "06:00 America/Port-au-Prince", "06:00 Etc/GMT+3", "Monday 06:00", "Monday..Friday,Sun 06:00", "annually", "06:00 GMT",
    "06:00 America/Argentina/Buenos_Aires", "daily Asia/Ho_Chi_Minh", "9..12/2:15", "00/5:30",
]  # fmt: skip
"""Calendar events as systemd.time(7) has them. The scenario app_processes asks a real systemd about each."""


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


def command_read_by_systemd(line: str, instance: str = "") -> list[str]:
    """The words of a command as systemd.service(5), COMMAND LINES, and systemd.unit(5), SPECIFIERS, describe them."""
    words: list[str] = []
    word, quote, inside = "", "", False
    rest = iter(line)
    for character in rest:
        if character == "\\":
            escaped = next(rest)
            assert escaped in "\\\"'", f"an escape that is not looked into here: {escaped}"
            word, inside = word + escaped, True
        elif character == "%":
            specifier = next(rest)
            word, inside = word + {"%": "%", "i": instance}[specifier], True
        elif character == "$":
            assert next(rest) == "$", f"a variable would be expanded in {line}"
            word, inside = word + "$", True
        elif quote:
            quote, word = ("", word) if character == quote else (quote, word + character)
        elif character in "\"'":
            quote, inside = character, True
        elif character in " \t\n\r":
            words += [word] if inside else []
            word, inside = "", False
        else:
            word, inside = word + character, True
    assert not quote
    return words + ([word] if inside else [])
