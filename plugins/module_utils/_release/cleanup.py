# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is deleted: releases and environments that are not kept, and all of an app that is removed."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import signal
import time
import typing as t

from ansible_collections.flask_ops.production.plugins.module_utils._host.files import own, remove
from ansible_collections.flask_ops.production.plugins.module_utils._host.ownership import MARK
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import App
from ansible_collections.flask_ops.production.plugins.module_utils._release.release import Release

LIVE = ".live"
"""The marker of a release that has been live."""


def obsolete(new: Release) -> list[str]:
    """What to delete when a release becomes live: incomplete releases, older ones than those to keep, and environments
    that no other release needs. The live release and the one before it stay."""
    app = new.app
    spared = {new.id, app.linked_release("current"), app.linked_release("previous")}
    with os.scandir(app.releases) as found:
        present = [entry.path for entry in found]
    others = [path for path in present if os.path.basename(path) not in spared]
    complete = [path for path in others if os.path.exists(f"{path}/.complete")]
    # A release that was never live, since it failed, takes no place of one that was.
    complete.sort(
        key=lambda path: (os.path.exists(f"{path}/{LIVE}"), os.stat(f"{path}/.complete").st_mtime), reverse=True
    )
    # Once the new one is live, what is previous now is one of the others. It stays until then, and is counted.
    previous = app.linked_release("previous")
    takes_its_place = previous is not None and app.linked_release("current") != new.id != previous
    kept = complete[: max(app.keep - takes_its_place, 0)]
    obsolete_paths = [path for path in others if path not in kept]
    return obsolete_paths + unused_environments(app, [path for path in present if path not in obsolete_paths])


def incomplete_environments(app: App) -> list[str]:
    """The environments that no build has completed."""
    found = glob.glob(f"{glob.escape(app.environments)}/*")
    return [path for path in found if not os.path.exists(f"{path}/.complete")]


def mark_live(app: App) -> None:
    """Mark the releases that have been live. Each was current or previous when the next one is built."""
    for name in filter(None, map(app.linked_release, ("current", "previous"))):
        release = Release(app, name, "", "")
        if release.complete and not release.has(LIVE):
            with contextlib.suppress(OSError):  # on a full disk, the next run does
                release.mark(LIVE)


def unused_environments(app: App, releases: t.Iterable[str]) -> list[str]:
    """The environments that none of some release directories links to."""
    used = {os.path.realpath(os.path.join(release, "venv")) for release in releases}
    if not os.path.isdir(app.environments):
        return []
    with os.scandir(app.environments) as found:
        return sorted(entry.path for entry in found if os.path.realpath(entry.path) not in used)


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
