# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets taken out of texts that people read.

This module util is private to the collection.
"""

from __future__ import annotations

import contextlib
import json
import re
import typing as t

from ansible_collections.flask_ops.production.plugins.module_utils._host.transaction import State
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import App


def secret_values(app: App) -> list[str]:
    """The values of an app that must not be shown, from the files that the app gets them from."""
    environment = State.read(app.environment_file).content.decode() if app.environment_file else ""
    found = re.findall(r'^(\w+)="((?:[^"\\]|\\.)*)"$', environment, re.MULTILINE | re.DOTALL)
    values = [re.sub(r"\\(.)", r"\1", quoted) for name, quoted in found if name in app.secret_names]
    for name, text in app.credentials().items():
        values.append(text.strip())
        # Of a file in JSON, the app prints one of its values rather than a line. Short ones of others are no secrets.
        with contextlib.suppress(ValueError):
            values += [value for value in scalars(json.loads(text)) if name == "secrets.json" or len(value) > 16]
    # Of a value of several lines, each by itself.
    return values + [line for value in values for line in value.splitlines() if len(line) > 16]


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
