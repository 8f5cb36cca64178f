# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets among a module's arguments, which Ansible must not log.

This module util is private to the collection.
"""

from __future__ import annotations

import base64


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
