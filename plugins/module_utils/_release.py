# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Releases: directories that hold an app's code and its virtual environment, and never change once complete.

    /srv/shop/
      current -> releases/3f2c9a1b7d20-5e1c88aa     what is in traffic (kept by the switch)
      previous -> releases/9be01c44f1aa-5e1c88aa    what was before it
      releases/<id>/
        app/        the code                         root:shop, not writable by the app
        venv/       its virtual environment          root:shop, not writable by the app
        static/     its static files                 readable by nginx
        REVISION    where it came from
        .complete   written last: without it, the release is rebuilt
        .migrated   the migration has been run from this release
      shared/       what the app may write; outlives every release
      .build/       repository and package cache of the builds

This module util is private to the collection.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import glob
import grp
import hashlib
import json
import os
import pwd
import re
import shlex
import shutil
import stat
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.flask_ops.production.plugins.module_utils._command import CommandError, run, systemctl
from ansible_collections.flask_ops.production.plugins.module_utils._files import own, remove, write
from ansible_collections.flask_ops.production.plugins.module_utils._sandbox import SANDBOX
from ansible_collections.flask_ops.production.plugins.module_utils._uv import SETTINGS, ensure_uv

ID_FORMAT = "1"
"""Goes into every release id. Raised when the same inputs no longer give the same release."""

LOCKS = "/run/flask-ops"

EXTRACT = ("tar", "--extract", "--no-same-owner")
"""Always run as the app's user, who cannot write anywhere else, whatever names an archive holds."""

IMPORT_APP = """
import importlib, sys
module, _, expression = sys.argv[1].partition(":")
app = eval(expression, vars(importlib.import_module(module)))
sys.exit(None if callable(app) else f"{sys.argv[1]} is {app!r}, which cannot be called")
"""
"""What gunicorn does with its argument, too. The expression keeps the rule for ``wsgi``: a name, or a call of one."""


class ReleaseError(Exception):
    """A release could not be made. The message says of which app, at which step, and why."""


@dataclass(frozen=True)
class App:
    """One app as the ``python_release`` module gets it. Paths are absolute unless said otherwise."""

    name: str
    user: str
    root: str
    source: dict[str, t.Any]
    python: str
    wsgi: str
    requirements: str = ""
    extra_requirements: tuple[str, ...] = ()
    shared_paths: tuple[str, ...] = ()
    static_path: str = ""
    environment_file: str = ""
    migrate: str = ""
    migrate_timeout: int = 300
    keep: int = 3
    archive: str = ""
    """The uploaded archive of a source that is a directory on the controller."""

    @property
    def releases(self) -> str:
        return os.path.join(self.root, "releases")

    @property
    def build(self) -> str:
        return os.path.join(self.root, ".build")

    def linked_release(self, name: str) -> str | None:
        """The release that the link ``current`` or ``previous`` points to."""
        try:
            return os.path.basename(os.readlink(os.path.join(self.root, name)))
        except OSError:
            return None


@dataclass(frozen=True)
class Release:
    """One directory below ``releases/``."""

    app: App
    id: str
    revision: str
    python_version: str

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
        }


# --- where the code comes from ----------------------------------------------------------------------------------


class GitSource:
    """A git repository, of which one branch, tag or commit is wanted."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.url: str = app.source["git"]
        self.version: str = app.source["version"]
        self.repository = os.path.join(app.build, "repository")

    def revision(self) -> str:
        """The commit that the version means now. A full commit id needs no look at the remote."""
        if re.fullmatch(r"[0-9a-f]{40}", self.version):
            return self.version
        # The last of these that exists wins: an annotated tag is peeled to its commit, a tag goes before a branch.
        wanted = [f"refs/heads/{self.version}", f"refs/tags/{self.version}", f"refs/tags/{self.version}^{{}}"]
        listed = self._git("ls-remote", self.url, *wanted)
        commits = {ref: commit for commit, ref in (line.split("\t", 1) for line in listed.splitlines() if "\t" in line)}
        for ref in reversed(wanted):
            if ref in commits:
                return commits[ref]
        raise ReleaseError(f"source.version: {self.url} has no branch or tag '{self.version}'")

    def unpack(self, commit: str, directory: str) -> None:
        if not os.path.exists(os.path.join(self.repository, "HEAD")):
            remove(self.repository)
            self._git("init", "--quiet", "--bare", self.repository)
        if not self._known(commit):
            self._in_repository(
                "fetch", "--quiet", "--prune", self.url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"
            )
        if not self._known(commit):
            # Not on any branch or tag. Servers that allow it hand out a commit by its id.
            self._in_repository("fetch", "--quiet", self.url, commit)
        # Read by the app's user as it was written: root does not open what that user may have replaced.
        archive = os.path.join(self.app.build, "source.tar")
        self._in_repository("archive", "--format=tar", f"--output={archive}", commit)
        run([*EXTRACT, f"--directory={directory}", f"--file={archive}"], user=self.app.user)
        run(["rm", archive], user=self.app.user)

    def _known(self, commit: str) -> bool:
        with contextlib.suppress(CommandError):
            self._in_repository("cat-file", "-e", f"{commit}^{{commit}}")
            return True
        return False

    def _in_repository(self, *arguments: str) -> str:
        return self._git(f"--git-dir={self.repository}", *arguments)

    def _git(self, *arguments: str) -> str:
        environment = {
            **build_environment(self.app),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
        }
        return run(["git", *arguments], env=environment, cwd="/", user=self.app.user)


class ArchiveSource:
    """A directory on the controller, which the action plugin has packed into an archive."""

    def __init__(self, app: App) -> None:
        self.app = app

    def revision(self) -> str:
        return str(self.app.source["archive_sha256"])

    def unpack(self, checksum: str, directory: str) -> None:
        with open(self.app.archive, "rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != checksum:
            raise ReleaseError(f"the archive of {self.app.source['path']} arrived damaged: {found} is not {checksum}")
        with open(self.app.archive, "rb") as stream:
            run([*EXTRACT, f"--directory={directory}", "--file=-"], user=self.app.user, stdin=stream)


class PyPISource:
    """A published package: the environment holds the code, and there is nothing to unpack."""

    def __init__(self, app: App) -> None:
        self.requirement: str = app.source["pypi"]

    def revision(self) -> str:
        return self.requirement

    def unpack(self, requirement: str, directory: str) -> None:
        pass


Source = GitSource | ArchiveSource | PyPISource


def source_of(app: App) -> Source:
    if app.source.get("git"):
        return GitSource(app)
    if app.source.get("pypi"):
        return PyPISource(app)
    return ArchiveSource(app)


# --- which release these inputs give -----------------------------------------------------------------------------


def resolve(app: App) -> Release:
    """Find out, without changing anything, which release the app's inputs give.

    The id holds the first twelve characters of the revision, which a person can recognise, and a digest of all
    that goes into the release.
    """
    revision = source_of(app).revision()
    python_version = run([app.python, "-c", "import sys; print(sys.implementation.cache_tag)"]).strip()
    inputs = {
        "format": ID_FORMAT,
        "revision": revision,
        "python": [app.python, python_version],
        "requirements": app.requirements,
        "extra_requirements": app.extra_requirements,
        "shared_paths": app.shared_paths,
        "static_path": app.static_path,
    }
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", revision if app.source.get("pypi") else revision[:12])
    return Release(app, f"{readable}-{digest}", revision, python_version)


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
    return Release(app, release_id, provenance["revision"], provenance["python"])


# --- building it ---------------------------------------------------------------------------------------------------


@dataclass
class Builder:
    """Makes one release of one app; every step names itself, so that an error says where it happened."""

    release: Release
    steps: list[str] = field(default_factory=list)

    def ensure(self) -> bool:
        """Build, check and migrate the release as far as that has not been done. Return whether anything was."""
        app, release = self.release.app, self.release
        with lock(app):
            adopted = adopt_shared(app)
            if not release.complete:
                try:
                    self._step("build", self._build)
                except ReleaseError:
                    remove(release.path)
                    raise
            if app.linked_release("current") != release.id:
                # What is in traffic has proved itself; what is not must import before it may go there.
                self._step("pre-flight", self._preflight)
            if app.migrate and not release.has(".migrated"):
                self._step("migrate", self._migrate)
            if obsolete(release):
                self._step("prune", self._prune)
        return adopted or any(step != "pre-flight" for step in self.steps)

    def _step(self, name: str, action: t.Callable[[], None]) -> None:
        self.steps.append(name)
        try:
            action()
        except (CommandError, ReleaseError, OSError) as error:
            current = self.release.app.linked_release("current")
            serving = f"{current} still serves" if current else "nothing was serving before"
            raise ReleaseError(
                f"{self.release.app.name}: {name} of release {self.release.id} failed; {serving}. {error}"
            ) from error

    def _build(self) -> None:
        app, release = self.release.app, self.release
        remove(release.path)
        temporary = build_environment(app)["TMPDIR"]
        run(["rm", "--recursive", "--force", temporary], user=app.user)
        run(["mkdir", temporary], user=app.user)
        os.mkdir(release.path, 0o755)
        for directory in (release.code, release.venv):
            os.mkdir(directory)
            own(directory, 0o700, app.user, app.user)
        source_of(app).unpack(release.revision, release.code)
        self._link_shared_paths()
        self._install()
        run([f"{release.venv}/bin/python", "-m", "compileall", "-q", release.code], user=app.user)
        for directory in (release.code, release.venv):
            hand_over(directory, app.user)
        self._collect_static()
        write(f"{release.path}/REVISION", self._provenance().encode(), 0o644, "root", "root")
        os.sync()
        release.mark(".complete")

    def _link_shared_paths(self) -> None:
        """Put a link to ``shared/`` where the app expects to write. What the source holds there is not used."""
        app, release = self.release.app, self.release
        for path in app.shared_paths:
            shared = os.path.join(app.root, "shared", path)
            place = os.path.join(release.code, path)
            run(["mkdir", "--parents", shared, os.path.dirname(place)], user=app.user)
            run(["rm", "--recursive", "--force", place], user=app.user)
            run(["ln", "--symbolic", shared, place], user=app.user)

    def _install(self) -> None:
        app, release = self.release.app, self.release
        self._uv("venv", "--quiet", "--python", app.python, "--allow-existing", release.venv)
        lines = self._dependencies()
        if lines:
            self._uv_pip(*lines)
        for requirement in app.extra_requirements:
            if not self._installed(distribution(requirement)):
                listed = os.path.join(release.path, "extra-requirements.txt")
                write(listed, f"{requirement}\n".encode(), 0o644, "root", "root")
                self._uv_pip("--requirement", listed, *(["--require-hashes"] if "--hash" in requirement else []))

    def _dependencies(self) -> list[str]:
        """The arguments by which uv installs what the app needs, from the best description that it brings."""
        app, release = self.release.app, self.release
        if app.source.get("pypi"):
            return [app.source["pypi"]]
        if not app.requirements and os.path.exists(f"{release.code}/uv.lock"):
            self._uv("sync", "--quiet", "--frozen", "--no-dev", "--no-editable", "--project", release.code)
            return []
        requirements = os.path.join(release.code, app.requirements or "requirements.txt")
        if os.path.exists(requirements):
            with open(requirements, encoding="utf-8") as stream:
                hashed = "--hash=" in stream.read()
            return ["--requirement", requirements, *(["--require-hashes"] if hashed else [])]
        if app.requirements:
            raise ReleaseError(f"requirements: the source has no file '{app.requirements}'")
        return [release.code] if os.path.exists(f"{release.code}/pyproject.toml") else []

    def _installed(self, name: str) -> bool:
        check = "import sys; from importlib.metadata import distribution; distribution(sys.argv[1])"
        with contextlib.suppress(CommandError):
            run([f"{self.release.venv}/bin/python", "-c", check, name], user=self.release.app.user)
            return True
        return False

    def _uv_pip(self, *arguments: str) -> None:
        self._uv("pip", "install", "--quiet", "--python", f"{self.release.venv}/bin/python", *arguments)

    def _uv(self, *arguments: str) -> None:
        app = self.release.app
        environment = {
            **build_environment(app),
            "UV_CACHE_DIR": os.path.join(app.build, "cache"),
            "UV_PROJECT_ENVIRONMENT": self.release.venv,
            # Among them copies instead of hard links: the release is handed to root, and the cache stays the app's.
            **SETTINGS,
        }
        run([ensure_uv(), *arguments], env=environment, cwd=app.build, user=app.user, timeout=1800)

    def _collect_static(self) -> None:
        """Copy the static files to where nginx, which cannot read the code, may read them."""
        app, release = self.release.app, self.release
        if not app.static_path:
            return
        origin = os.path.join(release.code, app.static_path)
        inside = os.path.realpath(release.code) + os.sep
        if not os.path.isdir(origin) or not os.path.realpath(origin).startswith(inside):
            raise ReleaseError(f"static.path: the source has no directory '{app.static_path}'")
        # A link could lead nginx to what the app alone may read, so none is copied.
        shutil.copytree(origin, f"{release.path}/static", symlinks=True, ignore=links_in)
        for directory, _directories, files in os.walk(f"{release.path}/static"):
            os.chmod(directory, 0o755)
            for file in files:
                os.chmod(os.path.join(directory, file), 0o644)

    def _provenance(self) -> str:
        origin = {
            key: self.release.app.source[key]
            for key in ("git", "version", "path", "pypi")
            if key in self.release.app.source
        }
        lines = {
            "release": self.release.id,
            "revision": self.release.revision,
            **{f"source.{key}": value for key, value in origin.items()},
            "python": self.release.python_version,
            "built": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        return "".join(f"{key}: {value}\n" for key, value in lines.items())

    def _preflight(self) -> None:
        app, release = self.release.app, self.release
        try:
            self._in_sandbox("preflight", [f"{release.venv}/bin/python", "-c", IMPORT_APP, app.wsgi], 120)
        except CommandError as error:
            raise ReleaseError(f"The app '{app.wsgi}' cannot be imported. {error}") from error

    def _migrate(self) -> None:
        app = self.release.app
        self._in_sandbox("migrate", ["/usr/bin/env", *shlex.split(app.migrate)], app.migrate_timeout)
        self.release.mark(".migrated")

    def _in_sandbox(self, purpose: str, argv: list[str], timeout: int) -> None:
        """Run a command as the app would run it: its user, its environment, its sandbox."""
        app, release = self.release.app, self.release
        unit = f"{app.name}-{purpose}.service"
        wait_until_gone(unit, timeout)
        properties = [
            *SANDBOX,
            ("WorkingDirectory", release.code),
            ("ReadWritePaths", os.path.join(app.root, "shared")),
            ("RuntimeMaxSec", str(timeout)),
            ("Environment", f"PATH={release.venv}/bin:/usr/bin:/bin"),
            *([("EnvironmentFile", app.environment_file)] if app.environment_file else []),
        ]
        run(
            ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", f"--unit={unit}"]
            + [f"--uid={app.user}", f"--gid={app.user}"]
            + [f"--property={name}={value}" for name, value in properties]
            + ["--"]
            + [word.replace("$", "$$") for word in argv],
            timeout=timeout + 30,
        )

    def _prune(self) -> None:
        for path in obsolete(self.release):
            remove(path)


def obsolete(new: Release) -> list[str]:
    """The releases to delete: half-built ones, and all but the newest, sparing what is or may go into traffic."""
    app = new.app
    spared = {new.id, app.linked_release("current"), app.linked_release("previous")}
    with os.scandir(app.releases) as found:
        others = [entry.path for entry in found if entry.name not in spared]
    complete = [path for path in others if os.path.exists(f"{path}/.complete")]
    complete.sort(key=lambda path: os.stat(f"{path}/.complete").st_mtime, reverse=True)
    return [path for path in others if path not in complete[: app.keep]]


def distribution(requirement: str) -> str:
    """The name of the distribution in a line of a requirements file.

    >>> distribution("gunicorn[gevent]==27.0.1 --hash=sha256:00")
    'gunicorn'
    """
    return re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0]


def build_environment(app: App) -> dict[str, str]:
    """The whole environment of a build: nothing of whoever runs Ansible leaks into a release."""
    return {
        "HOME": app.build,
        "TMPDIR": os.path.join(app.build, "tmp"),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
    }


def hand_over(tree: str, group: str) -> None:
    """Give a tree that the app's user made to root, readable by the app's group and not writable by it.

    Top-down by file descriptor: a process that the build left behind cannot swap a directory for a link to
    somewhere else once that directory is root's.
    """
    gid = grp.getgrnam(group).gr_gid

    def descend(descriptor: int) -> None:
        os.fchown(descriptor, 0, gid)
        os.fchmod(descriptor, 0o750)
        with os.scandir(descriptor) as found:
            names = [entry.name for entry in found]
        for name in names:
            mode = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                child = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
                try:
                    descend(child)
                finally:
                    os.close(child)
            else:
                os.chown(name, 0, gid, dir_fd=descriptor, follow_symlinks=False)
                if stat.S_ISREG(mode):
                    os.chmod(name, 0o750 if mode & 0o100 else 0o640, dir_fd=descriptor)

    top = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        descend(top)
    finally:
        os.close(top)


def links_in(directory: str, names: list[str]) -> list[str]:
    """For :func:`shutil.copytree`: which names not to copy."""
    return [name for name in names if os.path.islink(os.path.join(directory, name))]


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


@contextlib.contextmanager
def lock(app: App) -> t.Iterator[None]:
    """One build at a time per app. A second run waits for the first."""
    os.makedirs(LOCKS, exist_ok=True)
    with open(os.path.join(LOCKS, f"{app.name}.lock"), "a", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def adopt_shared(app: App) -> bool:
    """Make ``shared/`` the app's, also where root kept it after an earlier app of that name was removed."""
    shared = os.path.join(app.root, "shared")
    os.makedirs(shared, mode=0o750, exist_ok=True)
    if os.stat(shared).st_uid == pwd.getpwnam(app.user).pw_uid:
        return False
    run(["chown", "--recursive", "--no-dereference", f"{app.user}:{app.user}", shared])
    os.chmod(shared, 0o750)
    return True


def retire(app: App, purge: bool, check_mode: bool = False) -> bool:
    """Remove an app's releases; with ``purge`` what it wrote, too. Return whether anything was there.

    What is kept becomes root's, and nobody else's: the user's number may be given to somebody else later.
    """
    shared = os.path.join(app.root, "shared")
    doomed = [os.path.join(app.root, name) for name in ("current", "previous", "releases", ".build")]
    if purge:
        doomed.append(shared)
    doomed = [path for path in doomed if os.path.lexists(path)]
    kept = not purge and os.path.isdir(shared) and os.stat(shared).st_uid != 0
    empty = os.path.isdir(app.root) and set(os.listdir(app.root)) <= {os.path.basename(path) for path in doomed}
    if not check_mode:
        for path in doomed:
            remove(path)
        if kept:
            own(shared, 0o700, "root", "root")
        if empty:
            os.rmdir(app.root)
    return bool(doomed) or kept or empty
