# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One deploy at a time per app, from the build to the last process.

The file ``/run/flask-ops/<app>.lock`` is locked by flock(2) while a module works on the app. Between two modules of a
run, its text names the owner of the app: JSON about the run, and whether it has finished. Another run waits for the end, or
until the first one has been idle for so long that its controller must be dead, and takes over. A later step of a run
that was taken over from changes nothing any more.

The file stays when the app is removed, until the next reboot: a run that was taken over from must still find that in it, and
must not set the app up again. So nobody unlinks a file for which another run may wait, either.

The file is for root alone: flock(2) needs no more than a descriptor, so any user who may read it could block every deploy.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.flask_ops.production.plugins.module_utils._host.files import ensure_directory, lock_file

LOCKS = "/run/flask-ops"

RUN: dict[str, t.Any] = {"type": "dict"}
"""How a module's argument spec declares a :class:`Run`. The action plugins send it."""

REMEMBERED = 20
"""How many runs that were taken over from an app's file names: they learn it at their next step."""


class LockedError(Exception):
    """The app belongs to another run. The message names it."""


@dataclass(frozen=True)
class Run:
    """One run of ``ansible-playbook``, as its controller describes it."""

    id: str
    by: str
    """User and controller."""
    process: int
    """The process of ``ansible-playbook`` on the controller."""
    idle: float
    """Seconds without a step after which another run may take over."""
    last: bool
    """Whether the app is finished with this step."""

    @contextlib.contextmanager
    def lock(self, app: str, timeout: float) -> t.Iterator[Step]:
        """Hold an app's lock during one step. A failure of the step finishes the app for this run.

        :param timeout: seconds to wait for another run.
        :raises LockedError: when that run does not end in time, or has taken over from this one.
        """
        ensure_directory(LOCKS)
        with lock_file(os.path.join(LOCKS, f"{app}.lock")) as stream:
            record = self._wait(app, stream, timeout)
            step = Step(self.last)
            before = record.get("over", [])
            if record.get("run") != self.id:
                taken_from = [] if record.get("finished", True) else [record["run"]]
                record = {
                    "run": self.id,
                    "by": self.by,
                    "process": self.process,
                    "idle": self.idle,
                    "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                    "over": [*before, *taken_from][-REMEMBERED:],
                }
            try:
                _write(stream, {**record, "finished": False})
                yield step
            except BaseException:
                step.last = True
                raise
            finally:
                _write(stream, {**record, "finished": step.last})

    def _wait(self, app: str, stream: t.IO[str], timeout: float) -> dict[str, t.Any]:
        """Take the lock when the app is free, and return the record in the file."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                record, working = _read(stream), False
            except BlockingIOError:
                record, working = _read(stream), True
            if not working:
                if self.id in record.get("over", ()):
                    raise LockedError(
                        f"{app}: {_holder(record)} has taken over this app, since this run had been idle for more than "
                        f"{self.idle:g} s. This run changed nothing more of it. Run again when that one is done."
                    )
                idle_for = time.monotonic() - record.get("active", 0)
                if record.get("finished", True) or record["run"] == self.id or idle_for >= record["idle"]:
                    return record
                fcntl.flock(stream, fcntl.LOCK_UN)
            if time.monotonic() >= deadline:
                raise LockedError(
                    f"{app}: {_holder(record)} works on this app. Waited {timeout:g} s for it; nothing was changed. Run "
                    "again when that one is done."
                )
            time.sleep(0.2)


@dataclass
class Step:
    """What a module does with an app while it holds the lock."""

    last: bool
    """Whether the app is finished with it."""


def _read(stream: t.IO[str]) -> dict[str, t.Any]:
    """The record in the file; empty where a run was killed while it wrote, and left only a part."""
    stream.seek(0)
    try:
        record = json.loads(stream.read())
    except ValueError:
        return {}
    return record if isinstance(record, dict) and {"run", "idle"} <= record.keys() else {}


def _write(stream: t.IO[str], record: dict[str, t.Any]) -> None:
    stream.seek(0)
    stream.truncate()
    # CLOCK_MONOTONIC, which all processes of the host share: nobody sets it.
    stream.write(json.dumps({**record, "active": time.monotonic()}) + "\n")
    stream.flush()


def _holder(record: dict[str, t.Any]) -> str:
    if not record:
        return "another run"
    return f"{record['by']} (ansible-playbook, process {record['process']}, since {record['since']})"
