# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the log of the deploys.

This module util is private to the collection.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import typing as t
from datetime import datetime

MAX_LOG_BYTES = 1 << 18
"""How much of the end of a log is read: more than a thousand deploys."""

KEYS = ("result", "from", "to", "by", "reason")


def deploys_by_app(log: str) -> dict[str, list[dict[str, t.Any]]]:
    """The deploys of each app, the newest last, with ``time`` in seconds of the epoch.

    A line that is not a deploy is skipped; a log that was just rotated is read as well.
    """
    files = [path for path in glob.glob(f"{glob.escape(log)}*") if not path.endswith((".gz", ".xz", ".zst"))]
    found: dict[str, list[dict[str, t.Any]]] = {}
    for path in sorted(files, key=os.path.getmtime)[-2:]:
        with contextlib.suppress(OSError), open(path, "rb") as stream:
            stream.seek(max(0, os.path.getsize(path) - MAX_LOG_BYTES))
            for line in stream.read().splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                    deploy = json.loads(line)
                    numbers = {
                        "time": datetime.fromisoformat(deploy["time"]).timestamp(),
                        "seconds": float(deploy["seconds"]),
                    }
                    found.setdefault(deploy["app"], []).append({key: deploy[key] for key in KEYS} | numbers)
    return found
