# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The migrations of a release, and the warning that a rollback does not undo them."""

from __future__ import annotations

import os

from ansible_collections.flask_ops.production.plugins.module_utils._release.release import Release

MIGRATED = ".migrated"
"""The marker of a release whose migration has been run."""


def rollback_warnings(release: Release) -> list[str]:
    """The warning that a rollback goes behind a migration, which nothing undoes."""
    app = release.app
    current = app.linked_release("current")
    if not app.migrate or not current or current == release.id:
        return []
    live = Release(app, current, "", "")
    if not migrated_before(release, live):
        return []
    applied = migration_files(live)
    if applied and applied <= migration_files(release):
        return []
    words = f"goes back behind the migration of release {current}, which is not undone"
    return [f"{app.name}: {words}: {release.id} must work with the database as it is"]


def migration_files(release: Release) -> set[str]:
    """The files of a release by which its database is brought up to date, as Alembic and Django keep them."""
    found: set[str] = set()
    # The release alone: a link may point to where the app writes.
    for directory, _directories, names in os.walk(release.code, followlinks=False):
        if os.path.basename(directory) in ("versions", "migrations"):
            found.update(os.path.relpath(f"{directory}/{name}", release.code) for name in names if name.endswith(".py"))
    return found


def migrated_before(release: Release, other: Release) -> bool:
    """Whether both have been migrated, and the other one after this one."""
    try:
        times = [os.stat(os.path.join(each.path, MIGRATED)).st_mtime for each in (release, other)]
    except FileNotFoundError:
        return False
    return times[0] < times[1]
