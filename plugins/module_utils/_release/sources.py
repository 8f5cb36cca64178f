# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an app's code comes from: which revision its inputs mean, and how that revision is unpacked.

All that reads or runs code of others is done in the build's unit, as the app's user.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import pwd
import re
import tempfile
import typing as t
import urllib.parse

from ansible.module_utils.urls import open_url
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import ensure_directory, remove
from ansible_collections.flask_ops.production.plugins.module_utils._host.lock import LOCKS
from ansible_collections.flask_ops.production.plugins.module_utils._release import unpack as _unpack
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import (
    App,
    ReleaseError,
    build_environment,
)
from ansible_collections.flask_ops.production.plugins.module_utils._release.build import GROUP, Build
from ansible_collections.flask_ops.production.plugins.module_utils._release.program import program

KEYS = f"{LOCKS}/.build"
"""In memory. Only builds can enter it, and no other process of the same user."""

MAX_ARCHIVE_SIZE = 4 << 30
"""In bytes: the largest archive, packed or not."""


class GitSource:
    """A git repository, of which one branch, tag or commit is wanted."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.url: str = app.source["git"]
        self.version: str = app.source["version"]
        self.subdirectory: str = app.source.get("subdirectory", "")
        self.repository = os.path.join(app.build_directory, "repository")

    def revision(self) -> str:
        """The commit that the version means now. A full commit id needs no look at the remote."""
        if re.fullmatch(r"[0-9a-f]{40}", self.version):
            return self.version
        # The last of these that exists wins: an annotated tag is peeled to its commit, a tag goes before a branch.
        wanted = [f"refs/heads/{self.version}", f"refs/tags/{self.version}", f"refs/tags/{self.version}^{{}}"]
        # Asks the remote and reads nothing from a repository on the host: it needs no unit.
        listed = self._git(None, "ls-remote", self.url, *wanted)
        commits = {ref: commit for commit, ref in (line.split("\t", 1) for line in listed.splitlines() if "\t" in line)}
        for ref in reversed(wanted):
            if ref in commits:
                return commits[ref]
        hint = "; a commit needs its full id of 40 digits" if re.fullmatch(r"[0-9a-f]{7,39}", self.version) else ""
        raise ReleaseError(f"source.version: {self.url} has no branch or tag '{self.version}'{hint}")

    def unpack(self, build: Build, commit: str, directory: str) -> None:
        """Check the commit out. Build backends that derive a version from tags find the repository (see :func:`remove_git_directories`)."""

        def git(*arguments: str) -> str:
            return self._git(build, f"--git-dir={self.repository}", *arguments)

        def has(name: str, kind: str) -> bool:
            with contextlib.suppress(CommandError):
                return git("cat-file", "-t", name).strip() == kind
            return False

        self._git(build, "init", "--quiet", "--bare", self.repository)
        # What the address of a submodule is relative to.
        git("config", "remote.origin.url", self.url)
        if not has(commit, "commit"):
            git("fetch", "--quiet", "--prune", self.url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        if not has(commit, "commit"):
            # Not on any branch or tag. Servers that allow it hand out a commit by its id.
            git("fetch", "--quiet", self.url, commit)
        if self.subdirectory and not has(f"{commit}:{self.subdirectory}", "tree"):
            raise ReleaseError(
                f"source.subdirectory: commit {commit[:12]} of {self.url} has no directory '{self.subdirectory}'"
            )
        place = os.path.join(self.app.build_directory, "checkout") if self.subdirectory else directory
        environment = build_environment(self.app)
        if self.subdirectory:
            build.run(["rm", "--recursive", "--force", place], env=environment)
        git("worktree", "prune")
        git("worktree", "add", "--quiet", "--force", "--detach", place, commit)
        if self.app.source.get("submodules", True) and has(f"{commit}:.gitmodules", "blob"):
            self._git(build, "-C", place, "submodule", "--quiet", "update", "--init", "--recursive")
        if self.subdirectory:
            inside = os.path.join(place, self.subdirectory)
            copy = ["cp", "--recursive", "--no-dereference", "--preserve=mode", f"{inside}/.", directory]
            build.run(copy, env=environment)
            build.run(["rm", "--recursive", "--force", place], env=environment)

    def _git(self, build: Build | None, *arguments: str) -> str:
        with credentials(self.app, self.url) as variables:
            environment = {**build_environment(self.app), **variables, "GIT_TERMINAL_PROMPT": "0"}
            argv = ["git", *arguments]
            try:
                if build:
                    return build.run(argv, env=environment)
                return run(argv, env=environment, cwd="/", user=self.app.user, group=GROUP)
            except CommandError as error:
                raise self._explained(error) from error

    def _explained(self, error: CommandError) -> CommandError | ReleaseError:
        text = str(error)
        if "Host key verification failed" in text:
            return ReleaseError(
                f"source.known_hosts: the key of the server in {self.url} is not known or not the right one, and it "
                "is never accepted unseen. Put the line that 'ssh-keyscan' prints into source.known_hosts, after "
                f"comparing it with what the server's owner publishes.\n{text}"
            )
        if "Permission denied (publickey" in text:
            option = "may not read it" if self.app.deploy_key else "is missing"
            return ReleaseError(f"source.deploy_key: the key for {self.url} {option}.\n{text}")
        if re.search(r"Authentication failed|could not read Username|terminal prompts disabled", text):
            option = "is not accepted" if self.app.git_token else "is missing, or the URL is wrong"
            return ReleaseError(f"source.token: the token for {self.url} {option}.\n{text}")
        return error


@contextlib.contextmanager
def credentials(app: App, url: str) -> t.Iterator[dict[str, str]]:
    """How git reaches a server: the variables that name the files with its credentials.

    The files are in memory, as long as git runs. What a killed run left there goes with the next one. ssh offers the
    deploy key alone, and only to servers whose key is known; a token is sent to the server of the URL alone.
    """
    ssh = "ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=yes"
    # What an earlier build left in its home, or as a hook in its repository, is not used.
    variables = {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "core.hooksPath",
        "GIT_CONFIG_VALUE_0": "/dev/null",
        "GIT_CONFIG_KEY_1": "core.fsmonitor",
        "GIT_CONFIG_VALUE_1": "false",
    }
    known_hosts = app.source.get("known_hosts") or []
    if not (app.deploy_key or app.git_token or known_hosts):
        yield {**variables, "GIT_SSH_COMMAND": ssh}
        return
    user = pwd.getpwnam(app.user)
    ensure_directory(LOCKS)
    ensure_directory(KEYS, 0o710, *(("root", GROUP) if os.geteuid() == 0 else ()))
    with tempfile.TemporaryDirectory(prefix=key_prefix(app), dir=KEYS) as home:

        def private(name: str, text: str) -> str:
            path = os.path.join(home, name)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
                stream.write(text.rstrip("\n") + "\n")
            os.chown(path, user.pw_uid, -1)
            return path

        if known_hosts:
            ssh += f" -o UserKnownHostsFile={private('known_hosts', chr(10).join(known_hosts))}"
        if app.deploy_key:
            ssh += f" -o IdentitiesOnly=yes -i {private('key', app.deploy_key)}"
        if app.git_token:
            address = urllib.parse.urlsplit(url)
            word = base64.b64encode(f"{app.source.get('token_user', TOKEN_USER)}:{app.git_token}".encode()).decode()
            section = f'[http "{address.scheme}://{address.netloc}/"]\n\textraHeader = "Authorization: Basic {word}"\n'
            variables["GIT_CONFIG_GLOBAL"] = private("gitconfig", section)
        os.chown(home, user.pw_uid, -1)
        yield {**variables, "GIT_SSH_COMMAND": ssh}


TOKEN_USER = "x-token-auth"
"""The user name that goes with a token: Bitbucket wants this one, GitHub, GitLab and Gitea take any."""


def key_prefix(app: App) -> str:
    return f"{app.name}."


class ArchiveSource:
    """An archive with a checksum: of a directory on the controller, of a file there, or behind a URL."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.place: str = app.source.get("archive") or app.source["path"]

    def revision(self) -> str:
        return str(self.app.source["sha256"])

    def unpack(self, build: Build, checksum: str, directory: str) -> None:
        with self._archive() as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
            if found != checksum:
                raise ReleaseError(f"source.checksum: the archive of {self.place} is {found}, and not {checksum}")
            subdirectory = self.app.source.get("subdirectory", "")
            whole = "" if self.app.source.get("path") else "strip"
            argv = [
                "/usr/bin/python3",
                "-I",
                "-c",
                program(_unpack),
                directory,
                str(MAX_ARCHIVE_SIZE),
                whole,
                subdirectory,
            ]
            try:
                build.run(argv, env=build_environment(self.app), stdin=rewind(stream), name="unpack", timeout=1800)
            except CommandError as error:
                known = re.search(r"^REFUSED: (source\.subdirectory: )?(.*)", str(error), re.MULTILINE)
                raise (ReleaseError(f"{known[1] or f'source: {self.place}: '}{known[2]}") if known else error) from None

    @contextlib.contextmanager
    def _archive(self) -> t.Iterator[t.Any]:
        if "source" in self.app.uploads:
            with open(self.app.uploads["source"], "rb") as stream:
                yield stream
            return
        # Not in /tmp, which is memory on some hosts.
        with tempfile.TemporaryFile(dir="/var/tmp") as stream:
            try:
                with contextlib.closing(open_url(self.place, timeout=60)) as answer:
                    while part := answer.read(1 << 20):
                        stream.write(part)
                        if stream.tell() > MAX_ARCHIVE_SIZE:
                            raise ReleaseError(
                                f"source.archive: {self.place} is larger than {MAX_ARCHIVE_SIZE >> 30} GiB"
                            )
            except OSError as error:
                raise ReleaseError(f"source.archive: {self.place}: {error}") from error
            stream.seek(0)  # to be hashed
            yield stream


def rewind(stream: t.IO[bytes]) -> t.IO[bytes]:
    """Rewind a file for another program, which does not see a seek in Python's buffer."""
    stream.flush()
    os.lseek(stream.fileno(), 0, os.SEEK_SET)
    return stream


class PackageSource:
    """A package: the environment holds the code, and there is nothing to unpack."""

    def __init__(self, app: App) -> None:
        self.app = app

    def revision(self) -> str:
        return str(self.app.source.get("sha256") or self.app.source["pypi"])

    def unpack(self, build: Build, revision: str, directory: str) -> None:
        """Put a wheel that the controller sent where the app's user can install it from."""
        if self.app.source.get("pypi"):
            return
        with open(self.app.uploads["source"], "rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
            if found != revision:
                raise ReleaseError(f"{self.app.source['wheel']} arrived damaged: {found} is not {revision}")
            place = os.path.join(directory, os.path.basename(self.app.source["wheel"]))
            build.run(["dd", "status=none", f"of={place}"], env=build_environment(self.app), stdin=rewind(stream))


Source = GitSource | ArchiveSource | PackageSource


def source_of(app: App) -> Source:
    if app.source.get("git"):
        return GitSource(app)
    if app.source.get("pypi") or app.source.get("wheel"):
        return PackageSource(app)
    return ArchiveSource(app)


def remove_git_directories(build: Build, directory: str) -> None:
    """Remove what git keeps in a checkout. Only the environment is built with it."""
    argv = ["find", directory, "-name", ".git", "-prune", "-exec", "rm", "-rf", "{}", "+"]
    build.run(argv, env=build_environment(build.app))


def lfs_pointers(build: Build, directory: str) -> list[str]:
    """The files of which the source has only a pointer of Git LFS."""
    argv = ["find", directory, "-type", "f", "-size", "-2", "-exec", "grep", "-l", "-m1", "-s"]
    argv += ["^version https://git-lfs.github.com/spec/v1$", "{}", "+"]
    try:
        listed = build.run(argv, env=build_environment(build.app))
    except CommandError:
        return []  # grep ends with 1 where it finds nothing
    return sorted(os.path.relpath(path, directory) for path in listed.splitlines())


def take_wheelhouse(app: App) -> str:
    """The directory of the wheels that the controller sent; root's, so that the app cannot put others there."""
    home = os.path.join(app.root, ".wheelhouse")
    place = os.path.join(home, app.wheelhouse)
    if "wheelhouse" in app.uploads:
        remove(home)
        # Builds read it, and the app does not.
        ensure_directory(home, 0o750, "root", GROUP)
        ensure_directory(f"{place}.new")
        # Made by our own action plugin, and names files alone: root can unpack it.
        argv = [
            "tar",
            "--extract",
            "--no-same-owner",
            f"--directory={place}.new",
            f"--file={app.uploads['wheelhouse']}",
        ]
        run(argv, env=build_environment(app), cwd="/")
        os.rename(f"{place}.new", place)
    return place


def has_wheelhouse(app: App) -> bool:
    return os.path.isdir(os.path.join(app.root, ".wheelhouse", app.wheelhouse))
