# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of files that are changed as one transaction: planned, shown, written, reverted."""

from __future__ import annotations

import base64
import contextlib
import grp
import hashlib
import json
import os
import pwd
import stat
import time
import typing as t
import zlib
from dataclasses import dataclass, field

from ansible_collections.flask_ops.production.plugins.module_utils._host.files import (
    NEW_PREFIX,
    link,
    own,
    remove,
    write,
)
from ansible_collections.flask_ops.production.plugins.module_utils._host.secrets import decode_secret

ASIDE_PREFIX = ".flask-ops-removed."
"""What is removed is first renamed to a hidden sibling, so that it can be put back."""

TEXT = ("utf-8", "surrogateescape")
"""How files are read into a JSON object, which holds texts alone: of any bytes."""

LEFT_BEHIND = 3600
"""Seconds after which a hidden sibling cannot belong to a run that still works."""


@dataclass(frozen=True)
class Entry:
    """What one path should be.

    ``kind`` is ``file`` (with ``content``), ``touch`` (a file with whatever others write into it, such as a log),
    ``directory``, ``files`` (a directory with these files and no others; ``content`` is what :func:`packed` returns),
    ``link`` (with ``target``) or ``absent``.
    ``mode`` is an integer as for :func:`os.chmod`; ``owner`` and ``group`` are names.
    The content of a ``secret`` file never appears in a diff. ``item`` is the name of the item that it is for, if any.
    """

    dest: str
    kind: str = "file"
    content: bytes = b""
    target: str = ""
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    secret: bool = False
    item: str = ""

    @classmethod
    def from_params(
        cls, item: dict[str, t.Any], must_exist: bool = True, secrets: t.Mapping[str, str] | None = None
    ) -> Entry:
        """From a module's parameters, as the action plugins send them.

        :param must_exist: whether a file to copy must be there; in check mode, a real run may have made it.
        :param secrets: by path, the encoded contents of secret files.
        :raises OSError: when it is not.
        """
        dest, kind, source = item["dest"], item["state"], item.get("copy_of")
        text = decode_secret(secrets[dest]) if secrets and dest in secrets else item.get("content") or ""
        content = zlib.decompress(base64.b64decode(item["binary"])) if item.get("binary") else text.encode()
        if kind == "files":
            content = packed(source) if source and os.path.isdir(source) else _canonical(json.loads(text or "{}"))
        elif source and kind == "file" and (must_exist or os.path.exists(source)):
            with open(source, "rb") as stream:
                content = stream.read()
        if source and source in (item.get("copy_changes") or ()):
            content += b"\0"  # something else, which is not known yet
        return cls(
            dest=dest,
            kind=kind,
            content=content,
            target=item.get("target") or "",
            mode=int(item.get("mode") or ("0755" if kind == "directory" else "0644"), 8),
            owner=item.get("owner") or "root",
            group=item.get("group") or "root",
            secret=bool(item.get("secret")),
            item=item.get("item") or "",
        )


@dataclass(frozen=True)
class State:
    """What one path is now."""

    kind: str
    content: bytes = b""
    target: str = ""
    mode: int = 0
    owner: str = ""
    group: str = ""
    path: str = field(default="", compare=False)
    """Where a directory is, whose files are read only when they are asked for."""

    @classmethod
    def read(cls, path: str, content: bool = True) -> State:
        """What is there.

        :param content: whether that of a file is wanted: a log may be larger than the memory.
        """
        try:
            info = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return cls("absent")
        who: dict[str, t.Any] = {
            "mode": stat.S_IMODE(info.st_mode),
            "owner": _user(info.st_uid),
            "group": _group(info.st_gid),
        }
        if stat.S_ISLNK(info.st_mode):
            return cls("link", target=os.readlink(path), **who)
        if stat.S_ISDIR(info.st_mode):
            return cls("directory", path=path, **who)
        if stat.S_ISREG(info.st_mode):
            if not content:
                return cls("file", **who)
            with open(path, "rb") as stream:
                return cls("file", content=stream.read(), **who)
        return cls("special", **who)

    @property
    def text(self) -> bytes:
        """The content of a file, or that of the files in a directory, packed."""
        return packed(self.path) if self.kind == "directory" and self.path else self.content

    def satisfies(self, entry: Entry) -> bool:
        if self.kind != _kind(entry):
            return False
        if self.kind == "absent":
            return True
        if self.kind == "link":
            return self.target == entry.target
        if entry.kind in ("file", "files") and self.text != entry.content:
            return False
        return (self.mode, self.owner, self.group) == (entry.mode, entry.owner, entry.group)


@dataclass(frozen=True)
class Change:
    """One path that is not yet what it should be."""

    entry: Entry
    before: State

    def diff(self) -> dict[str, str]:
        """The change in the form that ``ansible-playbook --diff`` prints."""
        return {
            "before_header": f"{self.entry.dest} ({_describe(self.before)})",
            "after_header": f"{self.entry.dest} ({_describe(self.entry)})",
            "before": _text(self.before, self.entry.secret)
            if self.entry.kind != "touch"
            else f"{_describe(self.before)}\n",
            "after": _text(self.entry, self.entry.secret),
        }


@dataclass
class Transaction:
    """Entries that are brought to their state together, or not at all."""

    entries: list[Entry]
    _undo: list[t.Callable[[], None]] = field(default_factory=list)
    _aside: list[str] = field(default_factory=list)

    def plan(self) -> list[Change]:
        """Compare every entry with the file system; return what differs."""
        states = [(entry, State.read(entry.dest, content=entry.kind != "touch")) for entry in self.entries]
        return [Change(entry, before) for entry, before in states if not before.satisfies(entry)]

    def apply(self) -> None:
        """Make the changes that are needed. An error on the way takes back those already made."""
        self.clean()
        try:
            for entry in self.entries:
                # Read again: a change before this one may have taken its directory away, or replaced it.
                change = Change(entry, State.read(entry.dest, content=entry.kind != "touch"))
                if not change.before.satisfies(entry):
                    self._apply(change)
        except BaseException:
            self.revert()
            raise

    def clean(self) -> None:
        """Remove hidden siblings that a killed run has left behind: there may be secrets in them."""
        ours = {_aside(entry.dest) for entry in self.entries}
        for directory in {os.path.dirname(entry.dest) for entry in self.entries}:
            for path in _hidden(directory):
                with contextlib.suppress(FileNotFoundError):  # another run cleans up, too
                    if path in ours or time.time() - os.lstat(path).st_ctime > LEFT_BEHIND:
                        remove(path)

    def revert(self) -> None:
        """Put back what was there before :meth:`apply`, newest change first."""
        while self._undo:
            self._undo.pop()()
        self._aside.clear()

    def commit(self) -> None:
        """Forget the way back: delete what was only moved aside."""
        for path in self._aside:
            remove(path)
        self._aside.clear()
        self._undo.clear()

    def _apply(self, change: Change) -> None:
        entry, before = change.entry, change.before
        if before.kind == _kind(entry) and entry.kind in ("directory", "touch"):
            own(entry.dest, entry.mode, entry.owner, entry.group)
            self._undo.append(lambda: own(entry.dest, before.mode, before.owner, before.group))
            return
        if before.kind == "file" == entry.kind:
            # Replaced by rename(2): at every moment the path holds the old text or the new one.
            write(entry.dest, entry.content, entry.mode, entry.owner, entry.group)
            self._undo.append(lambda: write(entry.dest, before.content, before.mode, before.owner, before.group))
            return
        if before.kind != "absent" and not (before.kind == "link" == entry.kind):
            self._move_aside(entry.dest)
        if entry.kind == "absent":
            return
        if before.kind == "link" == entry.kind:
            self._undo.append(lambda: link(entry.dest, before.target))
        else:
            self._undo.append(lambda: remove(entry.dest))
        if entry.kind in ("directory", "files"):
            os.mkdir(entry.dest, 0o700)
            for name, text in json.loads(entry.content or "{}").items():
                write(f"{entry.dest}/{name}", text.encode(*TEXT), entry.mode & 0o666, entry.owner, entry.group)
            own(entry.dest, entry.mode, entry.owner, entry.group)
        elif entry.kind == "link":
            link(entry.dest, entry.target)
        else:
            write(entry.dest, entry.content, entry.mode, entry.owner, entry.group)

    def _move_aside(self, path: str) -> None:
        aside = _aside(path)
        remove(aside)
        os.rename(path, aside)
        self._aside.append(aside)
        self._undo.append(lambda: os.rename(aside, path))


def packed(directory: str) -> bytes:
    """The files in a directory as one text: a JSON object of their contents by name."""
    files = {}
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if not os.path.isfile(path):
            continue
        with open(path, "rb") as stream:
            files[name] = stream.read().decode(*TEXT)
    return _canonical(files)


def _canonical(files: dict[str, str]) -> bytes:
    return json.dumps(files, sort_keys=True).encode()


def _aside(path: str) -> str:
    return os.path.join(os.path.dirname(path), ASIDE_PREFIX + os.path.basename(path))


def _hidden(directory: str) -> list[str]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return [entry.path for entry in os.scandir(directory) if entry.name.startswith((ASIDE_PREFIX, NEW_PREFIX))]
    return []


def _kind(entry: State | Entry) -> str:
    """What is there once the entry is in its state."""
    return {"touch": "file", "files": "directory"}.get(entry.kind, entry.kind)


def _describe(thing: State | Entry) -> str:
    if thing.kind == "absent":
        return "absent"
    if thing.kind == "link":
        return f"link to {thing.target}"
    return f"{_kind(thing)} {thing.mode:04o} {thing.owner}:{thing.group}"


def _text(thing: State | Entry, secret: bool) -> str:
    if thing.kind != "file":
        # A diff shows nothing where the texts are equal: kind, mode and owner are in the header alone.
        return f"{_describe(thing)}\n"
    if secret:
        return "(secret, not shown)\n"
    if thing.content.startswith(b"PK"):
        return f"(archive, SHA-256 {hashlib.sha256(thing.content).hexdigest()})\n"
    return thing.content.decode("utf-8", "replace")


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
