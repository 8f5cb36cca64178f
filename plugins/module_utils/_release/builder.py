# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases: directories that hold an app's code and its virtual environment, and never change once complete.

    /srv/shop/
      current -> releases/3f2c9a1b7d20-5e1c88aa     what is in traffic (kept by the switch)
      previous -> releases/9be01c44f1aa-5e1c88aa    what was before it
      releases/<id>/
        app/        the code                         root:shop, not writable by the app
        venv -> ../../environments/0c1f8e7d9b2a      its virtual environment
        static/     its static files                 readable by nginx
        REVISION    where it came from
        .complete   written last: without it, the release is rebuilt
        .migrated   the migration has been run from this release
        .live       it has been in traffic
        .checked    what the pre-flight has judged, and what it has warned of
      environments/ virtual environments, see _environments.py
      old-static/   static files that a deploy took away, for pages from before it
      shared/       what the app may write; outlives every release
      .build/       repository and package cache of the builds

This module util is private to the collection.
"""

from __future__ import annotations

import contextlib
import datetime
import glob
import grp
import hashlib
import json
import os
import pwd
import re
import shlex
import signal
import tempfile
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.flask_ops.production.plugins.module_utils._host.advice import with_advice
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import (
    State,
    ensure_directory,
    own,
    remove,
    write,
)
from ansible_collections.flask_ops.production.plugins.module_utils._host.ownership import MARK
from ansible_collections.flask_ops.production.plugins.module_utils._host.systemd import systemctl
from ansible_collections.flask_ops.production.plugins.module_utils._release import preflight as _preflight
from ansible_collections.flask_ops.production.plugins.module_utils._release import probe as _probe
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import (
    App,
    ReleaseError,
    build_environment,
    hand_over,
)
from ansible_collections.flask_ops.production.plugins.module_utils._release.build import GROUP, Build
from ansible_collections.flask_ops.production.plugins.module_utils._release.environments import Environment, unused
from ansible_collections.flask_ops.production.plugins.module_utils._release.sources import (
    KEYS,
    key_prefix,
    pointers,
    rewound,
    seal,
    source_of,
)
from ansible_collections.flask_ops.production.plugins.module_utils._release.static import keep, publish

ID_FORMAT = "2"
"""Goes into every release id. Raised when the same inputs no longer give the same release."""

LIVE = ".live"
"""The marker of a release that has been in traffic."""

OLDEST_PYTHON = (3, 11)
"""The oldest version of Python that still gets fixes of security holes."""

PROVENANCE = ("git", "version", "subdirectory", "archive", "path", "wheel", "pypi")
"""The options of a source that say where it came from, in the order in which they are told."""


@dataclass(frozen=True)
class Release:
    """One directory below ``releases/``."""

    app: App
    id: str
    revision: str
    python_version: str
    version: str = ""
    """The version of the source that people know, where it has one: a branch, a tag, or a package's version."""
    origin: str = ""
    """Where its code came from, in words."""

    @property
    def path(self) -> str:
        return os.path.join(self.app.releases, self.id)

    @property
    def code(self) -> str:
        return os.path.join(self.path, "app")

    @property
    def venv(self) -> str:
        return os.path.join(self.path, "venv")

    def has(self, marker: str) -> bool:
        return os.path.exists(os.path.join(self.path, marker))

    def migrated_before(self, other: Release) -> bool:
        """Whether both have been migrated, and the other one after this one."""
        try:
            mine, theirs = (os.stat(os.path.join(release.path, ".migrated")) for release in (self, other))
        except FileNotFoundError:
            return False
        return mine.st_mtime < theirs.st_mtime

    def mark(self, marker: str) -> None:
        write(os.path.join(self.path, marker), b"", 0o644, "root", "root")

    @property
    def complete(self) -> bool:
        # A Python that an upgrade took away leaves a dangling link behind.
        return self.has(".complete") and os.path.exists(os.path.join(self.venv, "bin", "python"))

    def facts(self) -> dict[str, t.Any]:
        return {
            "id": self.id,
            "path": self.path,
            "directory": self.code,
            "venv": self.venv,
            "revision": self.revision,
            "version": self.version or self.revision[:12],
            "summary": f"{self.app.name}: release {self.id} is {self.origin} at {self.revision}",
        }


# --- which release these inputs give -----------------------------------------------------------------------------


def resolve(app: App) -> Release:
    """Find out, without changing anything, which release the app's inputs give.

    The id holds the first twelve characters of the revision, which a person can recognise, and a digest of all
    that goes into the release.
    """
    python_version = version_of(app)
    revision = source_of(app).revision()
    inputs = {
        "format": ID_FORMAT,
        "revision": revision,
        "subdirectory": app.source.get("subdirectory"),
        "submodules": app.source.get("submodules"),
        "python": [app.python, python_version],
        "requirements": app.requirements,
        "constraints": app.constraints,
        "installer": app.installer,
        "index": app.extra_index,
        "wheelhouse": app.wheelhouse,
        "extra_requirements": app.extra_requirements,
        "shared_paths": app.shared_paths,
        "static_path": app.static_path,
        "extras": app.extras,
        "groups": app.groups,
        "additional_requirements": app.additional_requirements,
        "files": app.files,
        "build": [app.build_command, app.build_env],
    }
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", revision if app.source.get("pypi") else revision[:12])
    origin = " ".join(str(app.source[key]) for key in PROVENANCE if app.source.get(key))
    return Release(app, f"{readable}-{digest}", revision, python_version, version_in(app.source), origin)


def version_in(source: t.Mapping[str, t.Any]) -> str:
    """The version that a source names."""
    return str(source.get("version") or str(source.get("pypi") or "").partition("==")[2])


def version_of(app: App) -> str:
    """The version of an app's interpreter, as bytecode files are named after it."""
    python, asked = app.python, "import sys; print(sys.implementation.cache_tag, *sys.version_info[:2])"
    if changeable(os.path.realpath(python), pwd.getpwnam(app.user).pw_uid):
        raise ReleaseError(f"python: the app can change {python}, or replace it; name an interpreter that is root's")
    try:
        told = run([python, "-I", "-c", asked], user=app.user, env=build_environment(app), cwd="/").split()
    except (CommandError, OSError) as error:
        there = sorted({*glob.glob("/usr/bin/python3.[0-9]*[0-9]"), *glob.glob("/usr/local/bin/python3.[0-9]*[0-9]")})
        raise ReleaseError(
            f"python: {python} does not run on this host; there are {', '.join(there)}. {error}"
        ) from None
    if tuple(map(int, told[1:])) < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        raise ReleaseError(
            f"python: {python} is {'.'.join(told[1:])}, which gets no fixes any more; {oldest} is the oldest"
        )
    return told[0]


def changeable(path: str, uid: int) -> bool:
    """Whether a user owns a file, or one of the directories that lead to it. Root may change everything anyway."""
    if uid == 0 or not os.path.exists(path):
        return False
    while os.stat(path).st_uid != uid:
        if path == "/":
            return False
        path = os.path.dirname(path)
    return True


def find(app: App, wanted: str) -> Release:
    """Find a release that is on the host already, complete: by its id, or as the ``previous`` one."""
    kept = sorted(
        os.path.basename(path) for path in glob.glob(f"{app.releases}/*") if os.path.exists(f"{path}/.complete")
    )
    known = f"kept are {', '.join(kept) or 'none'}; in traffic is {app.linked_release('current') or 'none'}"
    release_id = app.linked_release("previous") if wanted == "previous" else wanted
    if release_id is None:
        raise ReleaseError(f"there is no previous release to go back to; {known}")
    if release_id not in kept:
        raise ReleaseError(f"there is no complete release '{release_id}' on this host; {known}")
    with open(os.path.join(app.releases, release_id, "REVISION"), encoding="utf-8") as stream:
        provenance = dict(line.rstrip("\n").split(": ", 1) for line in stream)
    origin = " ".join(value for key, value in provenance.items() if key.startswith("source."))
    source = {key.removeprefix("source."): value for key, value in provenance.items()}
    return Release(app, release_id, provenance["revision"], provenance["python"], version_in(source), origin)


# --- building it ---------------------------------------------------------------------------------------------------


@dataclass
class Builder:
    """Makes one release of one app; every step names itself, so that an error says where it happened.

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
        self.changed = adopt_shared(app)
        self.changed |= adopt_build(app)
        self.changed |= adopt_releases(app)
        if not release.complete:
            try:
                self._step("build", self._build)
            except ReleaseError:
                for path in (release.path, *half_built(app)):
                    remove(path)
                raise
        # Also of the live release: its settings may be others.
        self._step("pre-flight", self._preflight, changes=False)
        self.warnings += stepped_over(release)
        mark_live(app)
        if obsolete(release):
            self._step("prune", self._prune)
        if app.linked_release("current") not in (None, release.id):
            self._keep_static()

    @property
    def unmigrated(self) -> bool:
        return bool(self.release.app.migrate) and not self.release.has(".migrated")

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
            reason = with_advice(_preflight.masked(str(error), _preflight.secret_values(app)))
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
            environment = self._make(build)
        # Nothing of the build runs any more.
        environment.seal()
        os.symlink(os.path.relpath(environment.path, release.path), release.venv)
        hand_over(release.code, app.user)
        self._collect_static()
        write(f"{release.path}/REVISION", self._provenance().encode(), 0o640, "root", release.app.name)
        os.sync()
        release.mark(".complete")

    def _make(self, build: Build) -> Environment:
        """Have everything made that others' code is read or run for."""
        app, release = self.release.app, self.release
        variables = build_environment(app)
        temporary = variables["TMPDIR"]
        build.run(["rm", "--recursive", "--force", temporary], env=variables)
        build.run(["mkdir", temporary], env=variables)
        source_of(app).unpack(build, release.revision, release.code)
        for path in pointers(build, release.code)[:3]:
            self.warnings.append(
                f"{app.name}: {path} is a pointer of Git LFS and not the file. For a git source, add packages: [git-lfs]."
            )
        for path, content in app.files:
            place = os.path.join(release.code, path)
            build.run(["mkdir", "--parents", os.path.dirname(place)], env=variables)
            with tempfile.TemporaryFile() as stream:
                stream.write(content.encode())
                build.run(["dd", "status=none", f"of={place}"], env=variables, stdin=rewound(stream))
        environment = Environment(app, release.code, release.id, release.python_version, build)
        environment.ensure()
        self.warnings += [f"{app.name}: {note}" for note in environment.notes]
        seal(build, release.code)
        if app.build_command:
            path = f"{environment.path}/bin:{variables['PATH']}"
            build.run(
                ["/usr/bin/env", *shlex.split(app.build_command)],
                env={**variables, **dict(app.build_env), "PATH": path, "VIRTUAL_ENV": environment.path},
                cwd=release.code,
                timeout=app.build_timeout,
                name=app.build_command,
            )
        for path in app.shared_paths:
            place = os.path.join(release.code, path)
            self.warnings += hidden(build, place, f"{app.name}: shared_paths: {path}")
            build.run(["mkdir", "--parents", os.path.dirname(place)], env=variables)
            build.run(["rm", "--recursive", "--force", place], env=variables)
            build.run(["ln", "--symbolic", os.path.join(app.root, "shared", path), place], env=variables)
        build.run([f"{environment.path}/bin/python", "-I", "-m", "compileall", "-q", release.code], env=variables)
        return environment

    def _collect_static(self) -> None:
        """Copy the static files to where nginx, which cannot read the code, may read them."""
        app, release = self.release.app, self.release
        if not app.static_path:
            return
        origin = os.path.join(release.code, app.static_path)
        for path in app.shared_paths:
            if f"{app.static_path}/".startswith(f"{path}/"):
                raise ReleaseError(
                    f"static.path: {app.static_path} is in shared_paths, and so holds what the app writes, which nginx "
                    f"cannot read. Take {path} out of shared_paths, or name a directory of the source."
                )
        inside = os.path.realpath(release.code) + os.sep
        if not os.path.isdir(origin) or not os.path.realpath(origin).startswith(inside):
            raise ReleaseError(f"static.path: the source has no directory '{app.static_path}'")
        left_out = publish(origin, f"{release.path}/static")
        if left_out:
            shown = ", ".join(left_out[:3]) + (", ..." if len(left_out) > 3 else "")
            self.warnings.append(
                f"{app.name}: static.path: {shown} {'is a link' if len(left_out) == 1 else 'are links'} that nginx does not "
                f"follow, since {'it leads' if len(left_out) == 1 else 'they lead'} out of {app.static_path} or in a circle"
            )

    def _keep_static(self) -> None:
        """The release in traffic is about to leave it. Pages that it made still ask for its static files."""
        app = self.release.app
        try:
            keep(f"{app.root}/current/static", f"{app.root}/old-static", app.static_keep)
        except OSError as error:
            # The way off a release that has filled the disk must not end here.
            self.warnings.append(
                f"{app.name}: the static files of the release before were not kept: pages that it made may lack some. {error}"
            )

    def _provenance(self) -> str:
        source = self.release.app.source
        origin = {key: source[key] for key in PROVENANCE if source.get(key)}
        lines = {
            "release": self.release.id,
            "revision": self.release.revision,
            **{f"source.{key}": value for key, value in origin.items()},
            "python": self.release.python_version,
            "built": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        return "".join(f"{key}: {value}\n" for key, value in lines.items())

    def _preflight(self) -> None:
        """Have the app imported where it will run, and judge it; not again while nothing that decides has changed."""
        app, release = self.release.app, self.release
        marker, inputs = os.path.join(release.path, ".checked"), self._preflight_inputs()
        checked = read_json(marker)
        if checked.get("inputs") == inputs:
            return
        argv = [f"{release.venv}/bin/python", "-c", _probe.source(), json.dumps(_preflight.request(app))]
        limit = _preflight.limit(app)
        # The probe has its own clock, and reports where the app was; systemd's is for a probe that hangs.
        answer = self._in_sandbox("preflight", argv, limit + 30, "the pre-flight")
        try:
            told = json.loads(answer)
        except ValueError:
            raise ReleaseError(f"The pre-flight of '{app.wsgi}' gave no result: {answer[-500:]!r}") from None
        reason = _preflight.explain(app, told)
        if reason:
            raise ReleaseError(reason)
        found = _preflight.judge(app, told)
        stopping = [finding for finding in found if finding.stops or app.fail_on_insecure]
        if stopping:
            names = ", ".join(dict.fromkeys(finding.name for finding in stopping))
            reasons = " ".join(map(str, stopping))
            raise ReleaseError(
                f"The app '{app.wsgi}' is not safe to serve: {reasons}\n=> accept_insecure: [{names}] releases it as it is."
            )
        warned = {finding.name: str(finding) for finding in found}
        # Once per release: what was reported of it before is known.
        self.warnings += [
            f"{app.name}: {text}" for name, text in warned.items() if name not in checked.get("warned", [])
        ]
        with contextlib.suppress(OSError):  # on a full disk, it is judged again next time
            content = {"inputs": inputs, "warned": sorted({*warned, *checked.get("warned", [])})}
            write(marker, json.dumps(content).encode(), 0o600, "root", "root")

    def _preflight_inputs(self) -> str:
        """A digest of what decides about a pre-flight, besides the release."""
        app = self.release.app
        how = [app.server, app.worker_class, app.sandbox, app.static_url]
        judged = [app.fail_on_insecure, sorted(app.accept_insecure)]
        digest = hashlib.sha256(json.dumps([_preflight.request(app), how, judged]).encode())
        for path in filter(None, (app.environment_file, app.credentials_directory)):
            digest.update(State.read(path).text)
        return digest.hexdigest()

    def _migrate(self) -> None:
        app = self.release.app
        self._in_sandbox("migrate", ["/usr/bin/env", *shlex.split(app.migrate)], app.migrate_timeout, app.migrate)
        self.release.mark(".migrated")

    def _in_sandbox(self, purpose: str, argv: list[str], timeout: int, shown: str) -> str:
        """Run a command as the app would run it: its user, its environment, its sandbox. Return its output.

        :param shown: the command in the user's words.
        """
        app, release = self.release.app, self.release
        unit = f"{app.name}-{purpose}.service"
        wait_until_gone(unit, timeout)
        environment = {
            "FLASK_OPS_RELEASE": release.id,
            "FLASK_OPS_VERSION": release.version or release.revision[:12],
            "FLASK_OPS_SLOT": purpose,
            "PATH": f"{release.venv}/bin:/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        properties = [
            *app.sandbox,
            ("WorkingDirectory", release.code),
            ("ReadWritePaths", os.path.join(app.root, "shared")),
            ("RuntimeMaxSec", str(timeout)),
            # Of a process that is killed for its memory, the pre-flight itself reports the end.
            ("OOMPolicy", "continue"),
            *(("Environment", f"{name}={value}") for name, value in environment.items()),
            *([("EnvironmentFile", app.environment_file)] if app.environment_file else []),
            *(("LoadCredential", f"{name}:{app.credentials_directory}/{name}") for name in app.credentials()),
        ]
        began = time.monotonic()
        try:
            return run(
                ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", f"--unit={unit}"]
                + [f"--description={app.name}: {purpose} of release {release.id}"]
                + [f"--uid={app.user}", f"--gid={app.user}"]
                + [f"--property={name}={value}" for name, value in properties]
                + ["--"]
                + [word.replace("$", "$$") for word in argv],
                timeout=timeout + 30,
                shown=shown,
            )
        except CommandError as error:
            if time.monotonic() - began < timeout:
                raise
            # systemd ends it, and prints nothing.
            option = f" ({purpose}_timeout)" if purpose == "migrate" else ""
            raise CommandError(f"It was stopped after {timeout} seconds{option}. {error}") from error

    def _prune(self) -> None:
        for path in obsolete(self.release):
            remove(path)


def obsolete(new: Release) -> list[str]:
    """What to delete: half-built releases, all but the newest, sparing what is or may go into traffic; and the
    environments that no other release needs."""
    app = new.app
    spared = {new.id, app.linked_release("current"), app.linked_release("previous")}
    with os.scandir(app.releases) as found:
        present = [entry.path for entry in found]
    others = [path for path in present if os.path.basename(path) not in spared]
    complete = [path for path in others if os.path.exists(f"{path}/.complete")]
    # A release that was never in traffic, since it failed, takes no place of one that was.
    complete.sort(
        key=lambda path: (os.path.exists(f"{path}/{LIVE}"), os.stat(f"{path}/.complete").st_mtime), reverse=True
    )
    # Once the new one is in traffic, what is previous now is one of the others. It stays until then, and is counted.
    previous = app.linked_release("previous")
    takes_its_place = previous is not None and app.linked_release("current") != new.id != previous
    kept = complete[: max(app.keep - takes_its_place, 0)]
    doomed = [path for path in others if path not in kept]
    return doomed + unused(app, [path for path in present if path not in doomed])


def half_built(app: App) -> list[str]:
    """The environments that no build has completed."""
    found = glob.glob(f"{glob.escape(app.environments)}/*")
    return [path for path in found if not os.path.exists(f"{path}/.complete")]


def mark_live(app: App) -> None:
    """Remember which releases have been in traffic. Every one was current or previous when the next one is built."""
    for name in filter(None, map(app.linked_release, ("current", "previous"))):
        release = Release(app, name, "", "")
        if release.complete and not release.has(LIVE):
            with contextlib.suppress(OSError):  # on a full disk, the next run does
                release.mark(LIVE)


def hidden(build: Build, place: str, option: str) -> list[str]:
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


def stepped_over(release: Release) -> list[str]:
    """The warning that traffic goes back to a release behind a migration, which nothing undoes."""
    app = release.app
    current = app.linked_release("current")
    if not app.migrate or not current or current == release.id:
        return []
    live = Release(app, current, "", "")
    if not release.migrated_before(live):
        return []
    theirs = migrations(live)
    if theirs and theirs <= migrations(release):
        return []
    words = f"goes back behind the migration of release {current}, which is not undone"
    return [f"{app.name}: {words}: {release.id} must work with the database as it is"]


def migrations(release: Release) -> set[str]:
    """The files of a release by which its database is brought up to date, as Alembic and Django keep them."""
    found: set[str] = set()
    # The release alone: a link may lead to where the app writes.
    for directory, _directories, names in os.walk(release.code, followlinks=False):
        if os.path.basename(directory) in ("versions", "migrations"):
            found.update(os.path.relpath(f"{directory}/{name}", release.code) for name in names if name.endswith(".py"))
    return found


def read_json(path: str) -> dict[str, t.Any]:
    """The object in a file; an empty one if there is none."""
    try:
        found = json.loads(State.read(path).content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def wait_until_gone(unit: str, timeout: float) -> None:
    """Wait for a unit of an earlier, interrupted run to end: two migrations at once would be worse than a wait."""
    deadline = time.monotonic() + timeout
    while True:
        with contextlib.suppress(CommandError):
            systemctl("reset-failed", unit)
        try:
            systemctl("is-active", "--quiet", unit)
        except CommandError:
            return
        if time.monotonic() > deadline:
            raise CommandError(f"{unit} of an earlier run is still active after {timeout:g} s")
        time.sleep(0.5)


def adopt_shared(app: App) -> bool:
    """Make ``shared/`` the app's, also where root kept it after an earlier app of that name was removed."""
    shared = os.path.join(app.root, "shared")
    if not os.path.isdir(shared):
        ensure_directory(shared, 0o750)
    if os.stat(shared).st_uid == pwd.getpwnam(app.user).pw_uid:
        return False
    run(["chown", "--recursive", "--no-dereference", f"{app.user}:{app.user}", shared])
    os.chmod(shared, 0o750)
    return True


def adopt_build(app: App) -> bool:
    """Make the place of the builds, also where it was that of a user of another number."""
    outer = os.path.dirname(app.build)
    there = os.path.isdir(app.build)
    if there and os.stat(app.build).st_uid != pwd.getpwnam(app.user).pw_uid:
        # Caches: to make them again is surer than to give them away.
        remove(app.build)
        there = False
    ensure_directory(outer, 0o710, "root", GROUP)
    ensure_directory(app.build, 0o700, app.user, app.user)
    return not there


def adopt_releases(app: App) -> bool:
    """Open releases and environments to the app's group, where that was made anew with another number."""
    gid = grp.getgrnam(app.user).gr_gid
    places = [*glob.glob(f"{glob.escape(app.releases)}/*/app"), *glob.glob(f"{glob.escape(app.environments)}/*")]
    astray = [place for place in places if os.stat(place).st_uid == 0 and os.stat(place).st_gid != gid]
    for place in astray:
        hand_over(place, app.user)
    for revision in glob.glob(f"{glob.escape(app.releases)}/*/REVISION") if astray else []:
        os.chown(revision, 0, gid)
    return bool(astray)


def end_processes(user: str) -> None:
    """End what still runs as a user, whatever started it: the user cannot be deleted before."""
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


def retire(app: App, purge: bool, check_mode: bool = False) -> bool:
    """Remove an app's releases; with ``purge`` what it wrote, too. Return whether anything was there.

    What is kept becomes root's, and nobody else's: the user's number may be given to somebody else later.
    """
    shared = os.path.join(app.root, "shared")
    doomed = [
        os.path.join(app.root, name)
        for name in ("current", "previous", "releases", "environments", "old-static", ".build", ".wheelhouse")
    ]
    mark = os.path.join(app.root, MARK)
    if purge:
        doomed.append(shared)
    doomed = [path for path in doomed if os.path.lexists(path)]
    kept = not purge and os.path.isdir(shared) and os.stat(shared).st_uid != 0
    empty = os.path.isdir(app.root) and set(os.listdir(app.root)) <= {
        os.path.basename(path) for path in [*doomed, mark]
    }
    if not check_mode:
        end_processes(app.user)
        for path in doomed:
            remove(path)
        if kept:
            own(shared, 0o700, "root", "root")
        if empty:
            remove(mark)
            os.rmdir(app.root)
    return bool(doomed) or kept or empty
