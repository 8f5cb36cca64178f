# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The switch: an app's traffic goes from one slot to the other, and nobody notices.

An app has two slots, blue and green. Each has a socket and a service of its own; one is in traffic. nginx's
upstream is a socket below the link ``current``, which rename(2) replaces atomically: nginx is not reloaded.

    idle slot prepared -> started -> healthy -> in traffic -> seen through nginx -> old drained -> old stopped

Until the link is flipped, every failure stops the idle slot and leaves the old one as it was. A failure after it
flips the link back first. An interrupted switch leaves a state that the next run recognises: the link decides
which slot is in traffic, and whatever else runs is stopped or prepared anew.

This module util is private to the collection. :class:`Host` is all that it asks of the host; the unit tests give
it another one.
"""

from __future__ import annotations

import contextlib
import datetime
import getpass
import glob
import http.client
import json
import os
import re
import socket
import time
import typing as t
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ansible_collections.flask_ops.production.plugins.module_utils._host.command import (
    CommandError,
    journal,
    run,
    systemctl,
    unit_properties,
    units_properties,
)
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import (
    Entry,
    State,
    Transaction,
    ensure_directory,
    link,
    own,
    remove,
)
from ansible_collections.flask_ops.production.plugins.module_utils._host.lock import Run, Step

SLOTS = ("blue", "green")

DEPLOYS = "/var/log/flask-ops/deploys.jsonl"
"""One line for each switch on this host, also for one that failed."""

PATIENCE = 300
"""Seconds that a switch waits for another run of the same app."""

KILLED_AFTER = 5
"""Seconds after the grace, when systemd kills what the server did not end: the role's units say the same."""

RELOADED_AFTER = 10
"""Seconds within which nginx serves by its new configuration after a reload."""

LONGEST_START = 100_000
"""Seconds to wait for a start, more than any ``TimeoutStartSec``: it is systemd that knows when to give up."""

OLDEST_GUNICORN = (27, 0, 1)
"""Older ones with gthread drop 11 to 179 of 10,000 requests whenever a worker stops (gunicorn issue 3821)."""


class SwitchError(Exception):
    """The switch did not happen. The message says at which step, why, and what serves now."""


@dataclass(frozen=True)
class Health:
    """What counts as a healthy slot. Times are in seconds."""

    path: str
    status: int | None
    """The status to expect. By default 200, but for the top of the site, which may redirect or ask who is there."""
    timeout: float = 5
    interval: float = 0.5
    deadline: float = 60
    top: str = "/"
    """The path of the app's root."""

    @classmethod
    def of(cls, app: Mapping) -> Health:
        """From an app's options, in which the path is relative to that of the app."""
        prefix = (app.get("path") or "/").rstrip("/")
        return cls(**{**app["health"], "path": prefix + app["health"]["path"], "top": f"{prefix}/"})

    @property
    def lenient(self) -> bool:
        """The default: the root of an app may redirect, or be nothing."""
        return self.status is None and self.path == self.top

    @property
    def expected(self) -> str:
        return "a status below 500" if self.lenient else str(self.status or 200)

    def accepts(self, status: int) -> bool:
        return status < 500 if self.lenient else status == (self.status or 200)


@dataclass(frozen=True)
class App:
    """One app as the switch sees it."""

    name: str
    host: str
    """The Host header of health checks: an app may refuse names that it does not know."""
    health: Health
    release: str
    """The release directory that the new slot serves."""
    venv: str
    """The virtual environment of that release."""
    release_link: str
    """The link that names the release in traffic, for people and for nginx' static files. Empty: none is kept."""
    files: dict[str, list[Entry]]
    """By slot: the files of the slot, complete."""
    boot: dict[str, Entry]
    """By slot: the file by which the link to this slot comes back after a reboot."""
    grace: float
    """How long the old slot may take to finish its requests."""
    server: str = "gunicorn"
    by: str = ""
    """Who runs this, as the controller says."""
    probe_socket: str = ""
    """The socket at which nginx passes requests to the app, asked after the flip. Empty: there is no nginx."""
    instances: int = 1
    """How many sockets each slot has, with a worker of its own behind each if there is more than one."""

    @property
    def runtime(self) -> str:
        return f"/run/flask-ops/{self.name}"

    @property
    def slot_link(self) -> str:
        return f"{self.runtime}/current"

    def socket_path(self, slot: str, instance: int = 1) -> str:
        return f"{self.runtime}/{slot}/{instance}.sock"

    def units(self, slot: str) -> tuple[str, str]:
        return f"{self.name}-{slot}.socket", f"{self.name}-{slot}.service"


@dataclass
class Result:
    """What happened, in words that a person can read."""

    changed: bool = False
    slot: str | None = None
    checked: bool = True
    """Whether the release has been checked through nginx."""
    summary: str = ""
    steps: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)


class Host:
    """The host's side of the switch: systemd, the file system, sockets."""

    def __init__(self, run: Run | None = None) -> None:
        """:param run: the run that changes something; without it, nothing can be locked."""
        self._attempt = time.time()
        self._owner = run

    def state(self, unit: str) -> str:
        return unit_properties(unit, "ActiveState").get("ActiveState", "")

    def restarts(self, unit: str) -> int:
        return int(unit_properties(unit, "NRestarts").get("NRestarts") or 0)

    def enabled(self, unit: str) -> bool:
        return unit_properties(unit, "UnitFileState").get("UnitFileState") == "enabled"

    def any_trace(self, *units: str) -> bool:
        """Whether one of these units runs, has failed, or would start at boot."""
        told = units_properties(units, "ActiveState", "UnitFileState")
        return any(
            one.get("ActiveState") not in ("inactive", "") or one.get("UnitFileState") == "enabled" for one in told
        )

    def enable(self, *units: str) -> None:
        systemctl("enable", "--quiet", *units)

    def disable(self, *units: str) -> None:
        # systemctl refuses a unit whose file somebody deleted; one that is not enabled needs nothing.
        told = units_properties(units, "UnitFileState")
        enabled = [unit for unit, one in zip(units, told, strict=True) if one.get("UnitFileState") == "enabled"]
        if enabled:
            systemctl("disable", "--quiet", *enabled)

    def start(self, *units: str) -> None:
        self._attempt = time.time()
        with contextlib.suppress(CommandError):
            systemctl("reset-failed", *units)
        systemctl("start", *units, timeout=LONGEST_START)

    def stop(self, *units: str, sockets: str, grace: float) -> int:
        """Stop units; return how many connections to the sockets of that directory had to be cut after the grace."""
        began, connected = self.now(), 0
        systemctl("stop", "--no-block", *units)
        while any(self.state(unit) not in ("inactive", "failed", "") for unit in units):
            if self.now() - began > grace + KILLED_AFTER + 30:
                raise CommandError(f"{' and '.join(units)} did not stop within {self.now() - began:.0f} s")
            if self.now() - began < grace:
                # An idle connection is closed soon after the server was told to stop: what stays has a request.
                connected = len(self._sockets(sockets))
            self.sleep(0.1)
        took = self.now() - began
        # A process that ends with an error while it is being stopped leaves a failed unit, which nobody needs to see.
        with contextlib.suppress(CommandError):
            systemctl("reset-failed", *units)
        return connected if took >= grace else 0

    def reload_units(self) -> None:
        systemctl("daemon-reload")

    def journal(self, unit: str) -> str:
        return journal(unit, since=self._attempt)

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

    def write(self, entries: list[Entry]) -> None:
        """Bring files to their state."""
        transaction = Transaction(entries)
        transaction.apply()
        transaction.commit()

    def clean(self, entries: list[Entry]) -> None:
        """Remove what a killed run has left of these files."""
        Transaction(entries).clean()

    def ask_socket(self, path: str, request: str, host: str, timeout: float) -> int:
        """The status of a GET over a slot's own socket."""
        return _status(path, request, host, timeout, {"X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1"})

    def ask_nginx(self, path: str, request: str, host: str, timeout: float) -> int | None:
        """The status of a GET through nginx, or None if it does not run or does not serve this app."""
        try:
            return _status(path, request, host, timeout, {})
        except (FileNotFoundError, ConnectionRefusedError):
            return None

    def server_version(self, server: str, venv: str) -> str:
        """The version of a server in a virtual environment; empty where there is none.

        By the name of its directory of metadata, as the packaging specification "Recording installed projects" has it:
        nothing that an app may have written is read.
        """
        found = glob.glob(f"{glob.escape(venv)}/lib/python3*/site-packages/{server}-*.dist-info")
        return found[0].removesuffix(".dist-info").rpartition("-")[2] if found else ""

    def waiting(self, directory: str) -> int:
        """How many connections wait in the accept queues of a directory's listening sockets (Recv-Q of ``ss``)."""
        return sum(int(row[2]) for row in self._sockets(directory, "--listening"))

    def _sockets(self, directory: str, *options: str) -> list[list[str]]:
        """What ``ss`` says of the sockets in a directory; without options, of the connections to them."""
        rows = [row.split() for row in run(["ss", "--no-header", "--unix", *options]).splitlines()]
        return [row for row in rows if len(row) > 4 and os.path.dirname(row[4]) == directory]

    def lock(self, app: str) -> contextlib.AbstractContextManager[Step]:
        """One run at a time: what a second one would see while the first works would not be true for long."""
        return t.cast("Run", self._owner).lock(app, PATIENCE)

    def record(self, deploy: dict[str, object]) -> None:
        """Append a line to the log of the deploys."""
        directory = os.path.dirname(DEPLOYS)
        ensure_directory(directory)
        fresh = not os.path.exists(DEPLOYS)
        # One write(2) to a file that is opened to append: two apps' runs cannot mix their lines.
        with open(DEPLOYS, "ab", buffering=0) as stream:
            if fresh:
                own(DEPLOYS, 0o640, "root", "adm")
            stream.write(json.dumps(deploy).encode() + b"\n")

    def login(self) -> str:
        """The user who came to this host, before sudo."""
        return os.environ.get("SUDO_USER") or getpass.getuser()

    def seal(self, path: str) -> None:
        """Leave a directory to root alone, with all that is in it; none there is fine."""
        with contextlib.suppress(FileNotFoundError):
            own(path, 0o700, "root", "root")

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


class Switch:
    """Brings one app to its desired slot: finds out where it is, and takes only the steps that are missing."""

    def __init__(self, app: App, host: Host) -> None:
        self.app = app
        self.host = host
        self.result = Result()
        self._remarks: list[str] = []
        self._left_undone: list[str] = []

    # --- what is -------------------------------------------------------------------------------------------------

    def slot_in_traffic(self) -> str | None:
        """The slot that the link names, or None before the first switch."""
        return slot_named(self.host.link_target(self.app.slot_link))

    def release_in_traffic(self) -> str | None:
        """The id of the release in traffic, where a link says so."""
        target = self.host.link_target(self.app.release_link) if self.app.release_link else None
        return os.path.basename(target) if target else None

    def differences(self, slot: str) -> list[Entry]:
        return [entry for entry in self.app.files[slot] if not self.host.read(entry.dest).satisfies(entry)]

    def running(self, slot: str) -> bool:
        return all(self.host.state(unit) == "active" for unit in self.app.units(slot))

    # --- what should be --------------------------------------------------------------------------------------------

    def run(self, check_mode: bool = False) -> Result:
        with contextlib.nullcontext() if check_mode else self.host.lock(self.app.name):
            if not check_mode:
                # Of both slots, in every run: a leftover may hold secrets.
                self.host.clean([entry for slot in SLOTS for entry in [*self.app.files[slot], self.app.boot[slot]]])
            current = self.slot_in_traffic()
            if current and not self.differences(current):
                self._keep(current, check_mode)
            else:
                self._switch(current, other(current), check_mode)
        self.result.checked = self.host.read(unchecked_mark(self.app.name)).kind == "absent"
        self.result.summary = "; ".join([self.result.summary, *self._remarks])
        return self.result

    def _keep(self, slot: str, check_mode: bool) -> None:
        """The right files are in traffic: see that they run, and that nothing else does."""
        self.result.slot = slot
        self.result.summary = f"{self.app.name}: {slot} serves {os.path.basename(self.app.release)}"
        repairs: list[tuple[str, Callable[[], object]]] = []
        if not self.running(slot):
            repairs.append((f"start {slot}", lambda: self._start_and_check(slot)))
        if not all(map(self.host.enabled, self.app.units(slot))):
            repairs.append((f"enable {slot}", lambda: self.host.enable(*self.app.units(slot))))
        if not self.host.read(self.app.boot[slot].dest).satisfies(self.app.boot[slot]):
            repairs.append(("remember the slot", lambda: self.host.write([self.app.boot[slot]])))
        if self.app.release_link and self.host.link_target(self.app.release_link) != self._release_target():
            repairs.append(("point to the release", self._point_to_release))
        stray = other(slot)
        if self._any_trace(stray):
            repairs.append((f"stop {stray}", lambda: self._stop(stray)))
        for name, repair in repairs:
            self._step(name)
            if not check_mode:
                repair()
        if not check_mode and self.result.steps[:1] != [f"start {slot}"]:
            # New settings of the health check would otherwise fail the next release, which has no part in it.
            try:
                self._healthy_answer(slot)
            except SwitchError as error:
                raise SwitchError(f"{error}\nNothing was stopped: {slot} is in traffic, as before.") from error

    def _switch(self, old: str | None, new: str, check_mode: bool) -> None:
        self.result.slot = new
        self.result.diff = self._diff(old, new)
        self.result.summary = (
            f"{self.app.name}: traffic went from {old or 'nowhere'} to {new}, "
            f"which serves {os.path.basename(self.app.release)}"
        )
        self._step(f"start {new}")
        if check_mode:
            return
        began, was = self.host.now(), self.release_in_traffic()
        try:
            self._carry_out(old, new)
        except (SwitchError, CommandError, OSError) as error:
            self._record(began, was, str(error).splitlines()[0])
            raise
        self._record(began, was, None)
        self.result.summary += f", in {self.host.now() - began:.1f} s"

    def _record(self, began: float, was: str | None, reason: str | None) -> None:
        deploy: dict[str, object] = {
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "app": self.app.name,
            "by": " as ".join(filter(None, (self.app.by, self.host.login()))),
            "from": was,
            "to": os.path.basename(self.app.release),
            "slot": self.result.slot,
            "result": "failed" if reason else "ok",
            "seconds": round(self.host.now() - began, 1),
            "reason": reason,
        }
        try:
            self.host.record(deploy)
        except OSError as error:
            # The switch is done, or undone. A full disk must not make it look otherwise.
            self._remarks.append(f"not written to {DEPLOYS}: {error}")

    def _carry_out(self, old: str | None, new: str) -> None:
        self._check_server(old)
        if old:
            # A flip that was interrupted may have left the name of the slot that is now prepared anew.
            self.host.write([self.app.boot[old]])
        try:
            self._prepare(new)
            self._start_and_check(new)
        except (SwitchError, CommandError, OSError) as error:
            self._back(self._retire_trace, new)
            raise self._with_what_serves(error, old) from error
        links = {path: self.host.link_target(path) for path in self._release_links()}
        try:
            self._flip(new)
            self._point_to_release()
            self._probe()
        except (SwitchError, CommandError, OSError) as error:
            self._flip_back(old, new, links)
            raise self._with_what_serves(error, old) from error
        try:
            if old:
                self._drain(old)
            if self._any_trace(other(new)):
                self._retire(other(new))
        except (CommandError, OSError) as error:
            raise SwitchError(
                f"{self.app.name}: {new} serves {os.path.basename(self.app.release)}, but {other(new)} could not be "
                f"stopped: {error}\nThe next run stops it."
            ) from error

    def _check_server(self, old: str | None) -> None:
        """Refuse what is known to drop requests: an app may bring a gunicorn of its own."""
        server = self.app.server
        version = self.host.server_version(server, self.app.venv)
        if server != "gunicorn":
            if not version:
                raise SwitchError(f"{self.app.name}: its environment has no {server}.\n{self._what_serves(old)}")
        elif tuple(int(number) for number in re.findall(r"\d+", version)[:3]) < OLDEST_GUNICORN:
            oldest = ".".join(map(str, OLDEST_GUNICORN))
            raise SwitchError(
                f"{self.app.name}: its environment has {f'gunicorn {version}' if version else 'no gunicorn'}, and "
                f"{oldest} or newer is needed, since older ones drop requests. Take gunicorn out of the app's "
                f"requirements, or raise it there.\n{self._what_serves(old)}"
            )

    def _prepare(self, slot: str) -> None:
        """Write an idle slot's files. What an interrupted run left running there is stopped first."""
        if self._any_trace(slot):
            self._retire(slot)
        self.host.write(self.app.files[slot])
        # Enabled before it is in traffic: whichever slot the link names, a reboot starts it. After that, systemd reads
        # the units anew, also if they were enabled before (systemctl(1), enable).
        self.host.enable(*self.app.units(slot))

    def _start_and_check(self, slot: str) -> None:
        service = self.app.units(slot)[1]
        try:
            self.host.start(*self.app.units(slot))
        except CommandError as error:
            raise SwitchError(self._failure(slot, f"{service} did not start: {error}")) from error
        self._wait_until_healthy(slot)

    def _wait_until_healthy(self, slot: str) -> None:
        health, answer = self.app.health, self._healthy_answer(slot)
        self._step(f"GET {health.path} on {slot}: {answer}")
        if health.lenient:
            self._remarks.append(f"no health.path is given, GET / gave {answer} and {health.expected} will do")

    def _healthy_answer(self, slot: str) -> int:
        """Ask the slot's own socket until it answers. Type=notify says ready before the app is imported."""
        health, service = self.app.health, self.app.units(slot)[1]
        deadline = self.host.now() + health.deadline
        restarts = self.host.restarts(service)
        while True:
            answer = self._answer(slot)
            if isinstance(answer, int) and health.accepts(answer):
                return answer
            if self.host.state(service) == "failed" or self.host.restarts(service) >= restarts + 3:
                raise SwitchError(self._failure(slot, f"{service} ends again and again"))
            if self.host.now() >= deadline:
                raise SwitchError(
                    self._failure(
                        slot,
                        f"GET {health.path} on {slot}'s own socket gave {answer} instead of {health.expected} "
                        f"for {health.deadline:g} s{self._advice(answer)}",
                    )
                )
            self.host.sleep(health.interval)

    def _advice(self, answer: int | str) -> str:
        """Flask answers 400 to a Host that is not in its TRUSTED_HOSTS."""
        return f"; if the app sets TRUSTED_HOSTS itself, add {self.app.host} to it" if answer == 400 else ""

    def _answer(self, slot: str) -> int | str:
        """What all instances of a slot answer: a status, or of the first that is not healthy what is wrong with it."""
        health, answer = self.app.health, 0
        for instance in range(1, self.app.instances + 1):
            path = self.app.socket_path(slot, instance)
            try:
                answer = self.host.ask_socket(path, health.path, self.app.host, health.timeout)
            except (OSError, http.client.HTTPException) as error:
                return f"'{error or type(error).__name__}'"
            if not health.accepts(answer):
                break
        return answer

    def _flip(self, slot: str) -> None:
        # First what a reboot would do, then what nginx does from this moment on.
        self.host.write([self.app.boot[slot]])
        self.host.link(self.app.slot_link, slot)
        self._step(f"traffic to {slot}")

    def _flip_back(self, old: str | None, new: str, links: dict[str, str | None]) -> None:
        for path, target in links.items():
            self._back(self._put_back, path, target)
        if old:
            self._back(self._flip, old)
        else:
            self._back(self.host.remove, self.app.slot_link)
            self._back(self.host.remove, self.app.boot[new].dest)
        if self.slot_in_traffic() != new:
            self._back(self._drain, new)
            self._back(self._retire, new)

    def _put_back(self, path: str, target: str | None) -> None:
        if target:
            self.host.link(path, target)
        else:
            self.host.remove(path)

    def _back(self, step: Callable[..., object], *args: str | None) -> None:
        """Take one step of the way back. A failure of it is reported after the reason, and the other steps follow."""
        try:
            step(*args)
        except (SwitchError, CommandError, OSError) as error:
            self._left_undone.append(f"On the way back: {error}")

    def _with_what_serves(self, error: Exception, old: str | None) -> SwitchError:
        return SwitchError("\n".join([str(error), *self._left_undone, self._what_serves(old)]))

    def _probe(self) -> None:
        """Ask through nginx, which connects anew to whatever slot the link names: the old one cannot answer."""
        app, mark = self.app, unchecked_mark(self.app.name)
        if not app.probe_socket:
            return
        answer = ask_through_nginx(app.name, app.host, app.health, app.probe_socket, self.host)
        if answer is None:
            self.host.write([Entry(mark)])
            self._remarks.append("not checked through nginx, which does not run or does not serve this app yet")
            return
        self._step(f"GET {app.health.path} through nginx: {answer}")
        if self.host.read(mark).kind != "absent":
            self.host.remove(mark)

    def _point_to_release(self) -> None:
        """Keep the links ``current`` and ``previous`` for people, for static files and for what is never deleted."""
        if not self.app.release_link:
            return
        current, previous = self._release_links()
        was = self.host.link_target(current)
        if was and was != self._release_target():
            self.host.link(previous, was)
        self.host.link(current, self._release_target())

    def _release_links(self) -> tuple[str, ...]:
        path = self.app.release_link
        return (path, os.path.join(os.path.dirname(path), "previous")) if path else ()

    def _release_target(self) -> str:
        return os.path.relpath(self.app.release, os.path.dirname(self.app.release_link))

    def _drain(self, slot: str) -> None:
        """Wait until the old slot has accepted every connection that reached its socket before the flip."""
        limit = self._grace_of(slot)
        deadline = self.host.now() + limit
        while self.host.waiting(f"{self.app.runtime}/{slot}"):
            if self.host.now() >= deadline:
                self._step(f"{slot} still had connections waiting after {limit:g} s")
                return
            self.host.sleep(0.05)

    def _retire_trace(self, slot: str) -> None:
        if self._any_trace(slot):
            self._retire(slot)

    def _retire(self, slot: str) -> None:
        self._step(f"stop {slot}")
        self._stop(slot)

    def _stop(self, slot: str) -> None:
        """Take a slot out of service: it finishes its requests, and does not come back by itself."""
        units, grace = self.app.units(slot), self._grace_of(slot)
        self.host.disable(*units)
        # One call for both: systemd stops the service first, then the socket that it requires, so that a late
        # connection cannot start the service again.
        cut = self.host.stop(*reversed(units), sockets=f"{self.app.runtime}/{slot}", grace=grace)
        if cut:
            requests = "1 request" if cut == 1 else f"{cut} requests"
            self._remarks.append(f"{requests} of {slot} did not end within {grace:g} s and had to be cut")

    def _grace_of(self, slot: str) -> float:
        """How long the slot has to finish its requests, by its own unit: the app's value may be a new one."""
        paths = (entry.dest for entry in self.app.files[slot] if entry.dest.endswith(".service"))
        said = [re.search(rb"(?m)^TimeoutStopSec=(\d+)$", self.host.read(path).content) for path in paths]
        return next((float(found.group(1)) - KILLED_AFTER for found in said if found), self.app.grace)

    def _any_trace(self, slot: str) -> bool:
        return self.host.any_trace(*self.app.units(slot))

    def _failure(self, slot: str, what: str) -> str:
        service = self.app.units(slot)[1]
        return f"{self.app.name}: {what}. The last lines of {service}:\n{self.host.journal(service)}"

    def _what_serves(self, old: str | None) -> str:
        now = self.slot_in_traffic()
        if not old and not now:
            return "Nothing was serving before, and nothing is now."
        try:
            if old and now == old and self.running(old):
                return f"{old} still serves, as before."
            units = [f"{unit} is {self.host.state(unit)}" for slot in SLOTS for unit in self.app.units(slot)]
        except CommandError as error:
            units = [f"systemd does not answer: {error}"]
        return f"Traffic goes to {now or 'no slot'}: {'; '.join(units)}."

    def _diff(self, old: str | None, new: str) -> list[dict[str, str]]:
        """The files of the new slot beside those of the old one, which they replace in the app's life."""
        before = {_by_slot(entry.dest, old): self.host.read(entry.dest) for entry in self.app.files.get(old or "", [])}
        shown = []
        for entry in self.app.files[new]:
            if entry.kind not in ("file", "files"):
                continue
            was = before.get(_by_slot(entry.dest, new))
            text = was.text.decode("utf-8", "replace") if was else ""
            after = entry.content.decode("utf-8", "replace")
            if _by_slot(text, old) == _by_slot(after, new):
                continue
            shown.append(
                {
                    "before_header": f"{self.app.name} {old or 'no'} slot: {entry.dest}",
                    "after_header": f"{self.app.name} {new} slot: {entry.dest}",
                    "before": "(secret, not shown)\n" if entry.secret and text else text,
                    "after": "(secret, changed, not shown)\n" if entry.secret else after,
                }
            )
        return shown

    def _step(self, words: str) -> None:
        self.result.changed = self.result.changed or not words.startswith("GET")
        self.result.steps.append(words)


def unchecked_mark(name: str) -> str:
    """The file that marks an app whose release has not been checked through nginx."""
    return f"/run/flask-ops/{name}/unchecked"


def ask_through_nginx(name: str, domain: str, health: Health, path: str, host: Host) -> int | None:
    """The status of the health path through nginx, or None if nginx does not run or does not serve this app.

    :raises SwitchError: when the answer is not the expected one.
    """
    try:
        answer = host.ask_nginx(path, health.path, domain, health.timeout)
    except (OSError, http.client.HTTPException) as error:
        raise SwitchError(
            f"{name}: GET {health.path} through nginx gave no answer: {error or type(error).__name__}"
        ) from error
    if answer is not None and not health.accepts(answer):
        raise SwitchError(
            f"{name}: GET {health.path} gave {answer} through nginx, {health.expected} is expected. On its own socket "
            f"the release answers as expected: look at its use of X-Forwarded-* and X-Real-IP"
        )
    return answer


def check_app(name: str, domain: str, health: Health, path: str, host: Host) -> None:
    """Check an app through nginx once nginx has been reloaded. One that fails is marked, so that it is checked again.

    :raises SwitchError: when it does not answer as expected.
    """
    mark, deadline = unchecked_mark(name), host.now() + RELOADED_AFTER
    while True:
        reason = f"{name}: nginx does not listen on {path}; restart it on the host: systemctl restart nginx.service"
        try:
            if ask_through_nginx(name, domain, health, path, host) is not None:
                if host.read(mark).kind != "absent":
                    host.remove(mark)
                return
        except SwitchError as error:
            reason = str(error)
        if host.now() >= deadline:
            host.write([Entry(mark)])
            raise SwitchError(reason)
        host.sleep(health.interval)


def slot_named(target: str | None) -> str | None:
    """The slot that the target of the link ``current`` names, or None where it names none."""
    name = os.path.basename(target or "")
    return name if name in SLOTS else None


def other(slot: str | None) -> str:
    return "green" if slot == "blue" else "blue"


def _by_slot(text: str, slot: str | None) -> str:
    """The text without the slot's name, so that the files of two slots can be compared."""
    return re.sub(rf"\b{slot}\b", "<slot>", text) if slot else text


def retire_app(app: App, host: Host, check_mode: bool = False) -> Result:
    """Take an app that is not wanted any more off the host: both slots, their files, the link."""
    with contextlib.nullcontext() if check_mode else host.lock(app.name):
        return _retire_app(Switch(app, host), check_mode)


def _retire_app(switch: Switch, check_mode: bool) -> Result:
    app, host = switch.app, switch.host
    traces = [slot for slot in SLOTS if switch._any_trace(slot)]
    entries = [entry for slot in SLOTS for entry in [*reversed(app.files[slot]), app.boot[slot]]]
    paths = [entry.dest for entry in entries if host.read(entry.dest).kind != "absent"]
    links = (app.runtime, *switch._release_links())
    paths += [path for path in links if host.read(path).kind != "absent"]
    result = switch.result
    result.changed = bool(traces or paths)
    result.summary = f"{app.name}: removed" if result.changed else f"{app.name}: not there"
    if check_mode or not result.changed:
        return result
    for slot in traces:
        switch._retire(slot)
    for path in paths:
        host.remove(path)
    # Logs are kept, but not for the next user who gets the number of this one.
    host.seal(f"/var/log/flask-ops/{app.name}")
    host.reload_units()
    return result
