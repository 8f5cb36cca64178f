# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files logrotate's patterns name, and what logrotate says about a configuration.

This module util is private to the collection.
"""

from __future__ import annotations

import functools
import re
import subprocess
import typing as t

from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError

MARKER = "Managed by Ansible (flask_ops.production)"


class Answer(t.NamedTuple):
    """What ``logrotate -d`` says about a configuration. It changes nothing."""

    patterns: list[str]
    errors: list[str]


def ask(configuration: str) -> Answer:
    """Let logrotate read a file of its configuration."""
    try:
        done = subprocess.run(
            ["logrotate", "-d", configuration], capture_output=True, text=True, timeout=60, check=False
        )
    except FileNotFoundError as error:
        raise CommandError("logrotate is not installed on this host") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError("'logrotate -d' did not end within 60 s") from error
    lines = (done.stderr + done.stdout).splitlines()
    rotated = [line.removeprefix("rotating pattern: ") for line in lines if line.startswith("rotating pattern: ")]
    # An option that logrotate does not know is an error to 3.21 and a warning to 3.22, and neither ends with status 1.
    errors = [line for line in lines if line.startswith("error: ") or " unknown option " in line]
    return Answer([pattern for line in rotated for pattern in _leading_paths(line)], errors)


def _leading_paths(line: str) -> t.Iterator[str]:
    """The patterns of a block; after them comes, in words, when it is rotated."""
    for word in line.split():
        if not word.startswith("/"):
            return
        yield word


def filled(log: dict[str, t.Any]) -> dict[str, t.Any]:
    """A log with ``{name}`` replaced by its name."""

    def fill(value: t.Any) -> t.Any:
        if isinstance(value, list):
            return [fill(item) for item in value]
        return value.replace("{name}", log["name"]) if isinstance(value, str) else value

    return {key: fill(value) for key, value in log.items()}


def overlap(first: str, second: str) -> bool:
    """Whether two patterns can name one file. A wildcard stays within its directory.

    >>> overlap("/var/log/*/*.log", "/var/log/shop/access.log")
    True
    >>> overlap("/var/log/*.log", "/var/log/shop/access.log")
    False
    """
    firsts, seconds = first.split("/"), second.split("/")
    return len(firsts) == len(seconds) and all(
        _meet(_simple(a), _simple(b)) for a, b in zip(firsts, seconds, strict=True)
    )


def _simple(part: str) -> str:
    """A set of characters is taken for any character: refusing too much is said, rotating twice is not."""
    return re.sub(r"\[[^]]*\]", "?", part)


@functools.cache
def _meet(first: str, second: str) -> bool:
    """Whether some name fits both patterns."""
    if not first or not second:
        return not (first + second).strip("*")
    if first[0] == "*":
        return _meet(first[1:], second) or _meet(first, second[1:])
    if second[0] == "*":
        return _meet(second, first)
    return (first[0] == second[0] or "?" in (first[0], second[0])) and _meet(first[1:], second[1:])
