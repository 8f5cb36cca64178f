# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where an app's code comes from: which revision its inputs mean, and how that revision is unpacked.

All that reads or runs what others wrote is done as the app's user.

This module util is private to the collection.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import lzma
import os
import pwd
import re
import shutil
import tempfile
import typing as t

from ansible.module_utils.urls import open_url
from ansible_collections.flask_ops.production.plugins.module_utils._app import (
    EXTRACT,
    App,
    ReleaseError,
    build_environment,
)
from ansible_collections.flask_ops.production.plugins.module_utils._command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._files import ensure_directory, remove
from ansible_collections.flask_ops.production.plugins.module_utils._lock import LOCKS

COMPRESSIONS: dict[bytes, t.Any] = {b"\x1f\x8b": gzip, b"BZh": bz2, b"\xfd7zXZ": lzma}
"""By the first bytes of a file. Unpacked here, so that a host needs no more tools for it."""

UNZIP = "import sys, zipfile; zipfile.ZipFile(sys.stdin.buffer).extractall(sys.argv[1])"


class GitSource:
    """A git repository, of which one branch, tag or commit is wanted."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.url: str = app.source["git"]
        self.version: str = app.source["version"]
        self.subdirectory: str = app.source.get("subdirectory", "")
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
        if not self._has(commit, "commit"):
            self._in_repository(
                "fetch", "--quiet", "--prune", self.url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"
            )
        if not self._has(commit, "commit"):
            # Not on any branch or tag. Servers that allow it hand out a commit by its id.
            self._in_repository("fetch", "--quiet", self.url, commit)
        if self.subdirectory and not self._has(f"{commit}:{self.subdirectory}", "tree"):
            raise ReleaseError(
                f"source.subdirectory: commit {commit[:12]} of {self.url} has no directory '{self.subdirectory}'"
            )
        if self.app.source.get("submodules", True) and self._has(f"{commit}:.gitmodules", "blob"):
            self._unpack_with_submodules(commit, directory)
        else:
            self._unpack_archive(commit, directory)

    def _unpack_archive(self, commit: str, directory: str) -> None:
        # Read by the app's user as it was written: root does not open what that user may have replaced.
        archive = os.path.join(self.app.build, "source.tar")
        tree = f"{commit}:{self.subdirectory}" if self.subdirectory else commit
        self._in_repository("archive", "--format=tar", f"--output={archive}", tree)
        run([*EXTRACT, f"--directory={directory}", f"--file={archive}"], user=self.app.user)
        run(["rm", archive], user=self.app.user)

    def _unpack_with_submodules(self, commit: str, directory: str) -> None:
        """`git archive` leaves submodules out, so they are checked out, and what git wrote is taken away again."""
        checkout = os.path.join(self.app.build, "checkout")
        within = ("-C", checkout)
        run(["rm", "--recursive", "--force", checkout], user=self.app.user)
        self._git("clone", "--quiet", "--shared", "--no-checkout", self.repository, checkout)
        # What a submodule's address is relative to.
        self._git(*within, "remote", "set-url", "origin", self.url)
        self._git(*within, "checkout", "--quiet", "--detach", commit)
        self._git(*within, "submodule", "--quiet", "update", "--init", "--recursive")
        remove_git = ["find", checkout, "-name", ".git", "-prune", "-exec", "rm", "-rf", "{}", "+"]
        run(remove_git, cwd="/", user=self.app.user)
        copy_tree(self.app, os.path.join(checkout, self.subdirectory), directory)
        run(["rm", "--recursive", "--force", checkout], user=self.app.user)

    def _has(self, name: str, kind: str) -> bool:
        with contextlib.suppress(CommandError):
            return self._in_repository("cat-file", "-t", name).strip() == kind
        return False

    def _in_repository(self, *arguments: str) -> str:
        return self._git(f"--git-dir={self.repository}", *arguments)

    def _git(self, *arguments: str) -> str:
        with ssh_command(self.app) as ssh:
            environment = {**build_environment(self.app), "GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": ssh}
            try:
                return run(["git", *arguments], env=environment, cwd="/", user=self.app.user)
            except CommandError as error:
                if "Host key verification failed" not in str(error):
                    raise
                raise ReleaseError(
                    f"source.known_hosts: the key of the server in {self.url} is not known or not the right one, and it "
                    "is never accepted unseen. Put the line that 'ssh-keyscan' prints into source.known_hosts, after "
                    f"comparing it with what the server's owner publishes.\n{error}"
                ) from error


@contextlib.contextmanager
def ssh_command(app: App) -> t.Iterator[str]:
    """How git calls ssh: with the deploy key alone, and only to servers whose key is known.

    The key is in memory (/run), readable by the app's user, and only as long as git runs. What a killed run left
    there goes with the next one.
    """
    base = "ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=yes"
    known_hosts = app.source.get("known_hosts") or []
    if not app.deploy_key and not known_hosts:
        yield base
        return
    user = pwd.getpwnam(app.user)
    ensure_directory(LOCKS)
    with tempfile.TemporaryDirectory(prefix=ssh_prefix(app), dir=LOCKS) as home:

        def private(name: str, text: str) -> str:
            path = os.path.join(home, name)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
                stream.write(text.rstrip("\n") + "\n")
            os.chown(path, user.pw_uid, user.pw_gid)
            return path

        if known_hosts:
            base += f" -o UserKnownHostsFile={private('known_hosts', chr(10).join(known_hosts))}"
        if app.deploy_key:
            base += f" -o IdentitiesOnly=yes -i {private('key', app.deploy_key)}"
        os.chown(home, user.pw_uid, user.pw_gid)
        yield base


def ssh_prefix(app: App) -> str:
    return f"ssh-{app.name}."


class ArchiveSource:
    """An archive with a checksum: of a directory on the controller, of a file there, or behind a URL."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.place: str = app.source.get("archive") or app.source["path"]

    def revision(self) -> str:
        return str(self.app.source["sha256"])

    def unpack(self, checksum: str, directory: str) -> None:
        with self._archive() as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
            if found != checksum:
                raise ReleaseError(f"source.checksum: the archive of {self.place} is {found}, and not {checksum}")
            if self.app.source.get("path"):
                extract(self.app, stream, directory)
                return
            unpacked = os.path.join(self.app.build, "unpacked")
            run(["rm", "--recursive", "--force", unpacked], user=self.app.user)
            run(["mkdir", unpacked], user=self.app.user)
            extract(self.app, stream, unpacked)
        copy_tree(self.app, os.path.join(source_top(unpacked), self.app.source.get("subdirectory", "")), directory)
        run(["rm", "--recursive", "--force", unpacked], user=self.app.user)

    @contextlib.contextmanager
    def _archive(self) -> t.Iterator[t.Any]:
        if "source" in self.app.uploads:
            with open(self.app.uploads["source"], "rb") as stream:
                yield stream
            return
        with tempfile.TemporaryFile() as stream:
            try:
                with contextlib.closing(open_url(self.place, timeout=60)) as answer:
                    shutil.copyfileobj(answer, stream)
            except OSError as error:
                raise ReleaseError(f"source.archive: {self.place}: {error}") from error
            stream.seek(0)  # to be hashed
            yield stream


def extract(app: App, stream: t.IO[bytes], directory: str) -> None:
    """Unpack a tar, compressed or not, or a zip."""
    stream.seek(0)
    start = stream.read(6)
    if start.startswith(b"PK"):
        run(["/usr/bin/python3", "-c", UNZIP, directory], user=app.user, stdin=rewound(stream))
        return
    compression = next((module for magic, module in COMPRESSIONS.items() if start.startswith(magic)), None)
    if compression is None:
        run([*EXTRACT, f"--directory={directory}", "--file=-"], user=app.user, stdin=rewound(stream))
        return
    stream.seek(0)
    with tempfile.TemporaryFile() as plain:
        with compression.open(stream) as packed:
            shutil.copyfileobj(packed, plain)
        run([*EXTRACT, f"--directory={directory}", "--file=-"], user=app.user, stdin=rewound(plain))


def rewound(stream: t.IO[bytes]) -> t.IO[bytes]:
    """A file for another program to read from its start. To seek in Python's buffer does not move what it sees."""
    stream.flush()
    os.lseek(stream.fileno(), 0, os.SEEK_SET)
    return stream


def source_top(unpacked: str) -> str:
    """The top of the source: the one directory that an archive holds, as GitHub makes it, or else all of it."""
    names = os.listdir(unpacked)
    only = os.path.join(unpacked, names[0]) if len(names) == 1 else ""
    package = os.path.exists(os.path.join(only, "__init__.py"))
    return only if only and os.path.isdir(only) and not os.path.islink(only) and not package else unpacked


def copy_tree(app: App, origin: str, directory: str) -> None:
    """Copy a part of what was unpacked below ``.build``, which must not lead out of it."""
    inside = os.path.realpath(app.build) + os.sep
    if not os.path.isdir(origin) or not os.path.realpath(origin).startswith(inside):
        raise ReleaseError(f"source.subdirectory: the source has no directory '{app.source.get('subdirectory')}'")
    run(["cp", "--recursive", "--no-dereference", "--preserve=mode", f"{origin}/.", directory], user=app.user)


class PackageSource:
    """A package: the environment holds the code, and there is nothing to unpack."""

    def __init__(self, app: App) -> None:
        self.app = app

    def revision(self) -> str:
        return str(self.app.source.get("sha256") or self.app.source["pypi"])

    def unpack(self, revision: str, directory: str) -> None:
        """Put a wheel that the controller sent where the app's user can install it from."""
        if self.app.source.get("pypi"):
            return
        with open(self.app.uploads["source"], "rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
            if found != revision:
                raise ReleaseError(f"{self.app.source['wheel']} arrived damaged: {found} is not {revision}")
            place = os.path.join(directory, os.path.basename(self.app.source["wheel"]))
            run(["dd", "status=none", f"of={place}"], user=self.app.user, stdin=rewound(stream))


Source = GitSource | ArchiveSource | PackageSource


def source_of(app: App) -> Source:
    if app.source.get("git"):
        return GitSource(app)
    if app.source.get("pypi") or app.source.get("wheel"):
        return PackageSource(app)
    return ArchiveSource(app)


def take_wheelhouse(app: App) -> str:
    """The directory of the wheels that the controller sent; root's, so that the app cannot put others there."""
    home = os.path.join(app.root, ".wheelhouse")
    place = os.path.join(home, app.wheelhouse)
    if "wheelhouse" in app.uploads:
        remove(home)
        ensure_directory(home, 0o750, "root", app.user)
        ensure_directory(f"{place}.new")
        # Made by our own action plugin, and names files alone: root can unpack it.
        run([*EXTRACT, f"--directory={place}.new", f"--file={app.uploads['wheelhouse']}"])
        os.rename(f"{place}.new", place)
    return place


def has_wheelhouse(app: App) -> bool:
    return os.path.isdir(os.path.join(app.root, ".wheelhouse", app.wheelhouse))
