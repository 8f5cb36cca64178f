# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that a deploy asks of the host: units, files, sockets, the app's lock, the clock.

The unit tests replace :class:`Host` by a host in memory.
"""

from __future__ import annotations

import contextlib
import getpass
import glob
import http.client
import json
import os
import socket
import time
import typing as t

from ansible_collections.flask_ops.production.plugins.module_utils._host import reload as _reload
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import (
    ensure_directory,
    link,
    own,
    remove,
)
from ansible_collections.flask_ops.production.plugins.module_utils._host.lock import Run, Step
from ansible_collections.flask_ops.production.plugins.module_utils._host.systemd import INACTIVE, Systemd, systemctl
from ansible_collections.flask_ops.production.plugins.module_utils._host.transaction import Entry, State, Transaction

DEPLOYS = "/var/log/flask-ops/deploys.jsonl"
"""One line for each switch on this host, also for one that failed."""

LOCK_TIMEOUT = 300
"""Seconds to wait for another run of the same app."""


class Host(Systemd):
    """The host that a deploy changes."""

    def __init__(self, run: Run | None = None) -> None:
        """:param run: the run that changes something; without it, nothing can be locked."""
        super().__init__()
        self._run = run

    # --- files -------------------------------------------------------------------------------------------------------

    def link_target(self, path: str) -> str | None:
        try:
            return os.readlink(path)
        except OSError:
            return None

    def link(self, path: str, target: str) -> None:
        link(path, target)

    def remove(self, path: str) -> None:
        remove(path)

    def read(self, path: str) -> State:
        return State.read(path)

    def directories(self, path: str) -> list[str]:
        """The names of the directories in a directory; none where it does not exist."""
        return sorted(os.path.basename(found[:-1]) for found in glob.glob(f"{path}/*/"))

    def transaction(self, entries: list[Entry]) -> Transaction:
        return Transaction(entries)

    def write(self, entries: list[Entry]) -> None:
        transaction = Transaction(entries)
        transaction.apply()
        transaction.commit()

    def make_private(self, path: str) -> None:
        """Close a directory, and so all that is in it, to everybody but root; no directory is fine."""
        with contextlib.suppress(FileNotFoundError):
            own(path, 0o700, "root", "root")

    # --- sockets -----------------------------------------------------------------------------------------------------

    def stop_after_requests(self, *units: str, sockets: str, grace: float) -> int:
        """Stop units; return how many connections to the sockets of a directory were still open after the grace."""
        began, connected = self.now(), 0
        systemctl("stop", "--no-block", *units)
        while any(self.state(unit) not in INACTIVE for unit in units):
            if self.now() - began > grace + 35:
                raise CommandError(f"{' and '.join(units)} did not stop within {self.now() - began:.0f} s")
            if self.now() - began < grace:
                # The server closes idle connections soon after it was asked to stop: what stays has a request.
                connected = len(self._sockets(sockets))
            self.sleep(0.1)
        took = self.now() - began
        self._reset_failed(*units)
        return connected if took >= grace else 0

    def waiting(self, directory: str) -> int:
        """How many connections wait in the accept queues of a directory's listening sockets (Recv-Q of ``ss``)."""
        return sum(int(row[2]) for row in self._sockets(directory, "--listening"))

    def _sockets(self, directory: str, *options: str) -> list[list[str]]:
        """The rows of ``ss`` about the sockets in a directory; without options, about the connections to them."""
        rows = [row.split() for row in run(["ss", "--no-header", "--unix", *options]).splitlines()]
        return [row for row in rows if len(row) > 4 and os.path.dirname(row[4]) == directory]

    def ask_socket(self, path: str, request: str, host: str, timeout: float) -> int:
        """The status of a GET over a slot's own socket."""
        return _status(path, request, host, timeout, {"X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1"})

    def ask_nginx(self, path: str, request: str, host: str, timeout: float) -> int | None:
        """The status of a GET through nginx, or None if it does not run or does not serve this app."""
        try:
            return _status(path, request, host, timeout, {})
        except (FileNotFoundError, ConnectionRefusedError):
            return None

    # --- all else ----------------------------------------------------------------------------------------------------

    def lock(self, app: str) -> contextlib.AbstractContextManager[Step]:
        """One run at a time: what a second one would see while the first works would not be true for long."""
        return t.cast("Run", self._run).lock(app, LOCK_TIMEOUT)

    def mark_pending(self, unit: str) -> None:
        _reload.mark_pending(unit)

    def is_pending(self, unit: str) -> bool:
        """Whether a unit still runs with files of before."""
        return _reload.is_pending(unit)

    def clear_pending(self, unit: str) -> None:
        _reload.clear_pending(unit)

    def server_version(self, server: str, venv: str) -> str:
        """The version of a server in a virtual environment; empty where there is none.

        By the name of its directory of metadata, as the packaging specification "Recording installed projects" has it:
        nothing that an app may have written is read.
        """
        found = glob.glob(f"{glob.escape(venv)}/lib/python3*/site-packages/{server}-*.dist-info")
        return found[0].removesuffix(".dist-info").rpartition("-")[2] if found else ""

    def log_deploy(self, deploy: dict[str, object]) -> None:
        directory = os.path.dirname(DEPLOYS)
        ensure_directory(directory)
        is_new = not os.path.exists(DEPLOYS)
        # One write(2) to a file that is opened to append: the runs of two apps cannot mix their lines.
        with open(DEPLOYS, "ab", buffering=0) as stream:
            if is_new:
                own(DEPLOYS, 0o640, "root", "adm")
            stream.write(json.dumps(deploy).encode() + b"\n")

    def login(self) -> str:
        """The user who logged in to this host, before sudo."""
        return os.environ.get("SUDO_USER") or getpass.getuser()

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def _status(path: str, request: str, host: str, timeout: float, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection(host, timeout=timeout)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(timeout)
    try:
        connection.sock.connect(path)
        connection.request("GET", request, headers={"User-Agent": "flask-ops-health", "Connection": "close", **headers})
        return connection.getresponse().status
    finally:
        connection.close()
