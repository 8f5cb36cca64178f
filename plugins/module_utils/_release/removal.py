# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The removal of an app's releases, and of its data where that is asked for.

This module util is private to the collection.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import time

from ansible_collections.flask_ops.production.plugins.module_utils._host.files import own, remove
from ansible_collections.flask_ops.production.plugins.module_utils._host.ownership import MARK
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import App


def kill_processes(user: str) -> None:
    """Kill all processes of a user, whatever started them: the user cannot be deleted before."""
    try:
        uid = pwd.getpwnam(user).pw_uid
    except KeyError:
        return
    if uid in (0, os.geteuid()):
        return
    for _attempt in range(50):
        running = [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit() and owner_of(entry) == uid]
        if not running:
            return
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.1)


def owner_of(entry: os.DirEntry[str]) -> int | None:
    with contextlib.suppress(OSError):
        return entry.stat().st_uid
    return None


def remove_app(app: App, purge: bool, check_mode: bool = False) -> bool:
    """Remove an app's releases; with ``purge`` what it wrote, too. Return whether anything was there.

    What is kept becomes root's, and nobody else's: the user's number may be given to somebody else later.
    """
    shared = os.path.join(app.root, "shared")
    obsolete = [
        os.path.join(app.root, name)
        for name in ("current", "previous", "releases", "environments", "old-static", ".build", ".wheelhouse")
    ]
    mark = os.path.join(app.root, MARK)
    if purge:
        obsolete.append(shared)
    obsolete = [path for path in obsolete if os.path.lexists(path)]
    kept = not purge and os.path.isdir(shared) and os.stat(shared).st_uid != 0
    empty = os.path.isdir(app.root) and set(os.listdir(app.root)) <= {
        os.path.basename(path) for path in [*obsolete, mark]
    }
    if not check_mode:
        kill_processes(app.user)
        for path in obsolete:
            remove(path)
        if kept:
            own(shared, 0o700, "root", "root")
        if empty:
            remove(mark)
            os.rmdir(app.root)
    return bool(obsolete) or kept or empty
