# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a value was written in the user's file, before YAML made a number of 01234 or 12:30.

This plugin util is private to the collection.
"""

from __future__ import annotations

import datetime
import functools
import json
import re
import typing as t
from pathlib import Path

try:
    from ansible._internal._datatag._tags import Origin
except ImportError:  # a later ansible-core may keep it elsewhere
    Origin = None


def is_changed(key: t.Any, value: t.Any) -> bool:
    """Whether a value of a dictionary is not what its text in the file says; false where the file is not known."""
    if isinstance(value, datetime.date):
        return True
    if not isinstance(value, (int, float)):
        return False
    text = _written(key)
    return text is not None and text not in (str(value), json.dumps(value, default=repr))


def _written(key: t.Any) -> str | None:
    """The text after a key, where both are on one line."""
    origin = Origin.get_tag(key) if Origin else None
    if not origin or not origin.path or not origin.line_num or not origin.col_num:
        return None
    lines = _lines(origin.path)
    if origin.line_num > len(lines):
        return None
    line = lines[origin.line_num - 1][origin.col_num - 1 :]
    found = re.match(rf"""(['"]?){re.escape(str(key))}\1\s*:\s+([^\s,\]}}#'"!&*|>]+)\s*([,}}]|#|$)""", line)
    return found.group(2) if found else None


@functools.cache
def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
