# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes that a unit has not read yet, remembered on the host.

A handler is lost when a run is interrupted between a change and the handler. This is not: the next run reloads.

This module util is private to the collection.
"""

from __future__ import annotations

import contextlib
import os

from ansible_collections.flask_ops.production.plugins.module_utils._host.files import ensure_directory, lock_file

DIRECTORY = "/run/flask-ops"
"""Empty after a reboot, when every unit starts afresh and has read everything."""


def mark_pending(unit: str) -> None:
    ensure_directory(DIRECTORY)
    with lock_file(_marker(unit)):
        pass


def is_pending(unit: str | None) -> bool:
    return bool(unit) and os.path.exists(_marker(str(unit)))


def clear_pending(unit: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_marker(unit))


def _marker(unit: str) -> str:
    return os.path.join(DIRECTORY, f"{unit}.pending")
