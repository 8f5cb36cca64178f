# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The build of a release, step by step."""

from __future__ import annotations

import glob
import os
import shlex
import tempfile
import typing as t
from dataclasses import dataclass, field

from ansible_collections.flask_ops.production.plugins.module_utils._host.advice import with_advice
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import ensure_directory, remove, write
from ansible_collections.flask_ops.production.plugins.module_utils._host.secrets import masked
from ansible_collections.flask_ops.production.plugins.module_utils._release import preflight as _preflight
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import (
    ReleaseError,
    build_environment,
    secret_values,
)
from ansible_collections.flask_ops.production.plugins.module_utils._release.build import Build
from ansible_collections.flask_ops.production.plugins.module_utils._release.cleanup import (
    incomplete_environments,
    mark_live,
    obsolete,
)
from ansible_collections.flask_ops.production.plugins.module_utils._release.environments import Environment
from ansible_collections.flask_ops.production.plugins.module_utils._release.migrations import (
    MIGRATED,
    rollback_warnings,
)
from ansible_collections.flask_ops.production.plugins.module_utils._release.ownership import (
    claim_build_directory,
    claim_releases,
    claim_shared,
    transfer_to_root,
)
from ansible_collections.flask_ops.production.plugins.module_utils._release.release import Release
from ansible_collections.flask_ops.production.plugins.module_utils._release.sandboxed import run_in_sandbox
from ansible_collections.flask_ops.production.plugins.module_utils._release.sources import (
    KEYS,
    key_prefix,
    lfs_pointers,
    remove_git_directories,
    rewind,
    source_of,
)
from ansible_collections.flask_ops.production.plugins.module_utils._release.static import keep_static, publish_static

KEEP_STATIC = 86400
"""Seconds for which old static files are kept where the app has no option ``static`` any more."""


@dataclass
class Builder:
    """Builds one release of one app. An error names the step that failed.

    The caller holds the app's lock.
    """

    release: Release
    changed: bool = False
    warnings: list[str] = field(default_factory=list)

    def ensure(self) -> None:
        """Build and check the release as far as that has not been done."""
        app, release = self.release.app, self.release
        for left_behind in glob.glob(f"{KEYS}/{key_prefix(app)}*"):
            remove(left_behind)
        self.changed = any([claim_shared(app), claim_build_directory(app), claim_releases(app)])
        if not release.complete:
            try:
                self._step("build", self._build)
            except ReleaseError:
                for path in (release.path, *incomplete_environments(app)):
                    remove(path)
                raise
        # Also of the live release: its settings may be others.
        self._step("pre-flight", self._check, changes=False)
        self.warnings += rollback_warnings(release)
        mark_live(app)
        if obsolete(release):
            self._step("prune", self._prune)
        if app.linked_release("current") not in (None, release.id):
            self._keep_static()

    @property
    def unmigrated(self) -> bool:
        return bool(self.release.app.migrate) and not self.release.has(MIGRATED)

    def migrate(self) -> None:
        if self.unmigrated:
            self._step("migrate", self._migrate)

    def _step(self, name: str, action: t.Callable[[], None], changes: bool = True) -> None:
        self.changed = self.changed or changes
        try:
            action()
        except (CommandError, ReleaseError, OSError, ValueError) as error:
            app = self.release.app
            current = app.linked_release("current")
            serving = f"{current} still serves" if current else "nothing was serving before"
            reason = with_advice(masked(str(error), secret_values(app)))
            raise ReleaseError(
                f"{app.name}: {name} of release {self.release.id} failed; {serving}. {reason}"
            ) from error

    def _build(self) -> None:
        app, release = self.release.app, self.release
        remove(release.path)
        ensure_directory(release.path)
        ensure_directory(release.code, 0o700, app.user, app.user)
        ensure_directory(app.environments)
        for path in app.shared_paths:
            shared = os.path.join(app.root, "shared", path)
            run(["mkdir", "--parents", shared], user=app.user, env=build_environment(app), cwd="/")
        with Build(app, release.code, app.environments) as build:
            environment = self._unpack_and_install(build)
        # Nothing of the build runs any more.
        environment.finish()
        os.symlink(os.path.relpath(environment.path, release.path), release.venv)
        transfer_to_root(release.code, app.user)
        self._collect_static()
        write(f"{release.path}/REVISION", release.provenance().encode(), 0o640, "root", release.app.name)
        os.sync()
        release.mark(".complete")

    def _unpack_and_install(self, build: Build) -> Environment:
        """Unpack the source and build the environment: all that reads or runs code of others."""
        app, release = self.release.app, self.release
        variables = build_environment(app)
        temporary = variables["TMPDIR"]
        build.run(["rm", "--recursive", "--force", temporary], env=variables)
        build.run(["mkdir", temporary], env=variables)
        source_of(app).unpack(build, release.revision, release.code)
        for path in lfs_pointers(build, release.code)[:3]:
            self.warnings.append(
                f"{app.name}: {path} is a pointer of Git LFS and not the file. For a git source, add packages: [git-lfs]."
            )
        for path, content in sorted(app.files.items()):
            place = os.path.join(release.code, path)
            build.run(["mkdir", "--parents", os.path.dirname(place)], env=variables)
            with tempfile.TemporaryFile() as stream:
                stream.write(content.encode())
                build.run(["dd", "status=none", f"of={place}"], env=variables, stdin=rewind(stream))
        environment = Environment(app, release.code, release.id, release.python_version, build)
        environment.ensure()
        self.warnings += [f"{app.name}: {note}" for note in environment.notes]
        remove_git_directories(build, release.code)
        if app.build["command"]:
            path = f"{environment.path}/bin:{variables['PATH']}"
            build.run(
                ["/usr/bin/env", *shlex.split(app.build["command"])],
                env={**variables, **dict(app.build_env), "PATH": path, "VIRTUAL_ENV": environment.path},
                cwd=release.code,
                timeout=app.build["timeout"],
                name=app.build["command"],
            )
        for path in app.shared_paths:
            place = os.path.join(release.code, path)
            self.warnings += hidden_files(build, place, f"{app.name}: shared_paths: {path}")
            build.run(["mkdir", "--parents", os.path.dirname(place)], env=variables)
            build.run(["rm", "--recursive", "--force", place], env=variables)
            build.run(["ln", "--symbolic", os.path.join(app.root, "shared", path), place], env=variables)
        build.run([f"{environment.path}/bin/python", "-I", "-m", "compileall", "-q", release.code], env=variables)
        return environment

    def _collect_static(self) -> None:
        """Copy the static files to where nginx, which cannot read the code, may read them."""
        app, release = self.release.app, self.release
        if not app.static:
            return
        folder = app.static["path"]
        origin = os.path.join(release.code, folder)
        for path in app.shared_paths:
            if f"{folder}/".startswith(f"{path}/"):
                raise ReleaseError(
                    f"static.path: {folder} is in shared_paths, and so holds what the app writes, which nginx "
                    f"cannot read. Take {path} out of shared_paths, or name a directory of the source."
                )
        inside = os.path.realpath(release.code) + os.sep
        if not os.path.isdir(origin) or not os.path.realpath(origin).startswith(inside):
            raise ReleaseError(f"static.path: the source has no directory '{folder}'")
        left_out = publish_static(origin, f"{release.path}/static")
        if left_out:
            shown = ", ".join(left_out[:3]) + (", ..." if len(left_out) > 3 else "")
            self.warnings.append(
                f"{app.name}: static.path: {shown} {'is a link' if len(left_out) == 1 else 'are links'} that nginx does not "
                f"follow, since {'it leads' if len(left_out) == 1 else 'they lead'} out of {folder} or in a circle"
            )

    def _keep_static(self) -> None:
        """Keep the static files of the live release for the pages that it made, which still ask for them."""
        app = self.release.app
        try:
            keep_static(
                f"{app.root}/current/static",
                f"{app.root}/old-static",
                app.static["keep"] if app.static else KEEP_STATIC,
            )
        except OSError as error:
            # The way off a release that has filled the disk must not end here.
            self.warnings.append(
                f"{app.name}: the static files of the release before were not kept: pages that it made may lack some. {error}"
            )

    def _check(self) -> None:
        self.warnings += _preflight.check(self.release)

    def _migrate(self) -> None:
        app = self.release.app
        run_in_sandbox(
            self.release, "migrate", ["/usr/bin/env", *shlex.split(app.migrate)], app.migrate_timeout, app.migrate
        )
        self.release.mark(MIGRATED)

    def _prune(self) -> None:
        for path in obsolete(self.release):
            remove(path)


def hidden_files(build: Build, place: str, option: str) -> list[str]:
    """The warning that the source has files where the app is to write, which it will not see."""
    argv = ["find", place, "!", "-type", "d", "-printf", "%P\\n"]
    try:
        names = sorted(build.run(argv, env=build_environment(build.app)).splitlines())
    except CommandError:
        return []  # nothing is there
    if not [name for name in names if os.path.basename(name) not in (".gitkeep", ".gitignore", ".keep")]:
        return []
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return [
        f"{option} is in the source with {len(names)} files ({shown}), which the app does not see: it finds those of 'shared'"
    ]
