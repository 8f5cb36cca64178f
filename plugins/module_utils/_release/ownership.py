# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who owns an app's files: root has what was built, the app's user what the app writes."""

from __future__ import annotations

import glob
import grp
import os
import pwd
import stat

from ansible_collections.flask_ops.production.plugins.module_utils._host.command import run
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import ensure_directory, remove
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import App
from ansible_collections.flask_ops.production.plugins.module_utils._release.build import GROUP


def transfer_to_root(tree: str, group: str) -> None:
    """Give a tree that the app's user made to root, readable by the app's group and not writable by it.

    Top-down by file descriptor: nobody can swap a directory for a link to somewhere else once it is root's. One
    descriptor at a time, so that a tree may be of any depth: the way back up is ``..``, which is root's by then.
    """
    gid = grp.getgrnam(group).gr_gid

    def transfer(descriptor: int) -> list[str]:
        os.fchown(descriptor, 0, gid)
        os.fchmod(descriptor, 0o750)
        with os.scandir(descriptor) as found:
            return [entry.name for entry in found]

    def enter(name: str, parent: int | None) -> int:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)

    directory = enter(tree, None)
    try:
        pending = [transfer(directory)]
        while pending:
            if not pending[-1]:
                pending.pop()
                if pending:
                    above = enter("..", directory)
                    os.close(directory)
                    directory = above
                continue
            name = pending[-1].pop()
            mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                below = enter(name, directory)
                os.close(directory)
                directory = below
                pending.append(transfer(directory))
                continue
            os.chown(name, 0, gid, dir_fd=directory, follow_symlinks=False)
            if stat.S_ISREG(mode):
                os.chmod(name, 0o750 if mode & 0o100 else 0o640, dir_fd=directory)
    finally:
        os.close(directory)


def claim_shared(app: App) -> bool:
    """Give ``shared/`` to the app's user, also where root has it since an app of that name was removed."""
    shared = os.path.join(app.root, "shared")
    if not os.path.isdir(shared):
        ensure_directory(shared, 0o750)
    if os.stat(shared).st_uid == pwd.getpwnam(app.user).pw_uid:
        return False
    run(["chown", "--recursive", "--no-dereference", f"{app.user}:{app.user}", shared])
    os.chmod(shared, 0o750)
    return True


def claim_build_directory(app: App) -> bool:
    """Make the directory of the builds, also where it belongs to a former user of the app."""
    outer = os.path.dirname(app.build_directory)
    exists = os.path.isdir(app.build_directory)
    if exists and os.stat(app.build_directory).st_uid != pwd.getpwnam(app.user).pw_uid:
        # Caches: it is safer to make them again than to give them to another user.
        remove(app.build_directory)
        exists = False
    ensure_directory(outer, 0o710, "root", GROUP)
    ensure_directory(app.build_directory, 0o700, app.user, app.user)
    return not exists


def claim_releases(app: App) -> bool:
    """Give releases and environments to the app's group, where that has another number since."""
    gid = grp.getgrnam(app.user).gr_gid
    places = [*glob.glob(f"{glob.escape(app.releases)}/*/app"), *glob.glob(f"{glob.escape(app.environments)}/*")]
    foreign = [place for place in places if os.stat(place).st_uid == 0 and os.stat(place).st_gid != gid]
    for place in foreign:
        transfer_to_root(place, app.user)
    for revision in glob.glob(f"{glob.escape(app.releases)}/*/REVISION") if foreign else []:
        os.chown(revision, 0, gid)
    return bool(foreign)
