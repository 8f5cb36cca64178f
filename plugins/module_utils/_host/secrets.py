# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets: as arguments of a module, which Ansible must not log, and masked in texts that people read."""

from __future__ import annotations

import base64
import re
import typing as t


def encode_secret(text: str) -> str:
    """A secret as one word, to travel inside a list of a module's arguments.

    Ansible writes a module's arguments into the host's journal, with secrets (``no_log``) taken out. It looks for a
    secret in the printed form of the list around it, where a line break is a backslash and an n, and so does not find a
    text of several lines. A word of base64 it finds.
    """
    return base64.b64encode(text.encode()).decode()


def decode_secret(word: str) -> str:
    """The secret that :func:`encode_secret` made one word of."""
    return base64.b64decode(word).decode()


def scalars(value: t.Any) -> list[str]:
    """The values in what JSON describes, as texts.

    >>> scalars({"a": ["b", 1], "c": {"d": "e"}})
    ['b', '1', 'e']
    """
    if isinstance(value, (dict, list)):
        inner = value.values() if isinstance(value, dict) else value
        return [leaf for part in inner for leaf in scalars(part)]
    return [str(value)]


def masked(text: str, values: t.Iterable[str]) -> str:
    """A text without the values of secrets.

    >>> masked("cannot connect to db://me:geheimnis@db/", ["geheimnis"])
    'cannot connect to db://me:***@db/'
    """
    for value in sorted(filter(lambda value: len(value) >= 6, values), key=len, reverse=True):
        text = text.replace(value, "***")
    return text


def without_passwords(text: str, *urls: str) -> str:
    """A text without the names and passwords that some URLs hold.

    >>> without_passwords("cannot read https://me:geheim@a.example/x or geheim", "https://me:geheim@a.example/")
    'cannot read https://...@a.example/x or ...'
    """
    for found in filter(None, (re.match(r"[a-z]+://([^/@]*)@", url) for url in urls)):
        text = text.replace(f"{found[1]}@", "...@")
        password = found[1].partition(":")[2]
        text = text.replace(password, "...") if password else text
    return text
