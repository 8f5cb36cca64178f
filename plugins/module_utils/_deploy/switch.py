# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The switch: an app's requests go from one slot to the other, and no request is lost.

nginx's upstream is a socket below the link ``current``, which rename(2) replaces atomically: nginx is not reloaded.

    idle slot prepared -> started -> healthy -> live -> checked through nginx -> old slot drained -> stopped

Until the link is replaced, every failure stops the idle slot and leaves the live one as it was. After a later failure,
the link names the old slot again. An interrupted switch leaves a state that the next run recognises: the link decides
which slot is live, and whatever else runs is stopped or prepared anew.
"""

from __future__ import annotations

import contextlib
import datetime
import http.client
import os
import re
from collections.abc import Callable

from ansible_collections.flask_ops.production.plugins.module_utils._deploy.health import (
    ask_through_nginx,
    unchecked_mark,
)
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.host import DEPLOYS, Host
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.outcome import (
    EXPECTED,
    DeployError,
    Outcome,
    Rollback,
)
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.slots import (
    SLOTS,
    SlotApp,
    other_slot,
    slot_named,
    without_slot,
)
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._host.transaction import Entry

KILL_DELAY = 5
"""Seconds between the end of ``graceful_timeout`` and the kill by systemd, as in the template of the service."""

MAX_RESTARTS = 3
"""How often a service may crash before the health check gives up."""

MIN_GUNICORN = (27, 0, 1)
"""Older ones with gthread drop 11 to 179 of 10,000 requests whenever a worker stops (gunicorn issue 3821)."""


class Switch:
    """Makes one release of one app live: finds out what is live, and takes only the steps that are missing."""

    def __init__(self, app: SlotApp, host: Host) -> None:
        self.app = app
        self.host = host
        self.outcome = Outcome()
        self._remarks: list[str] = []
        self._rollback = Rollback()

    # --- the state ---------------------------------------------------------------------------------------------------

    def live_slot(self) -> str | None:
        """The slot that the link names, or None before the first switch."""
        return slot_named(self.host.link_target(self.app.slot_link))

    def live_release(self) -> str | None:
        target = self.host.link_target(self.app.release_link) if self.app.release_link else None
        return os.path.basename(target) if target else None

    def up_to_date(self, slot: str) -> bool:
        return all(self._satisfied(entry) for entry in self.app.files[slot])

    def running(self, slot: str) -> bool:
        return all(self.host.state(unit) == "active" for unit in self.app.units(slot))

    def _satisfied(self, entry: Entry) -> bool:
        return self.host.read(entry.dest).satisfies(entry)

    def _in_use(self, slot: str) -> bool:
        return self.host.any_in_use(*self.app.units(slot))

    # --- a run -------------------------------------------------------------------------------------------------------

    def run(self, check_mode: bool = False) -> Outcome:
        with contextlib.nullcontext() if check_mode else self.host.lock(self.app.name):
            if not check_mode:
                # In both slots, in every run: what a killed run left behind may hold secrets.
                self.host.transaction(self.app.entries).clean()
            live = self.live_slot()
            if live and self.up_to_date(live):
                self._repair(live, check_mode)
            else:
                self._switch(live, other_slot(live), check_mode)
        self.outcome.checked = self.host.read(unchecked_mark(self.app.name)).kind == "absent"
        self.outcome.summary = "; ".join([self.outcome.summary, *self._remarks])
        return self.outcome

    def remove(self, check_mode: bool = False) -> Outcome:
        """Remove the app from the host: both slots, their files, the links."""
        with contextlib.nullcontext() if check_mode else self.host.lock(self.app.name):
            slots = [slot for slot in SLOTS if self._in_use(slot)]
            paths = [entry.dest for entry in reversed(self.app.entries)]
            paths += [self.app.runtime, *self.app.release_links]
            present = [path for path in dict.fromkeys(paths) if self.host.read(path).kind != "absent"]
            self.outcome.changed = bool(slots or present)
            self.outcome.summary = f"{self.app.name}: {'removed' if self.outcome.changed else 'not there'}"
            if self.outcome.changed and not check_mode:
                for slot in slots:
                    self._retire(slot)
                for path in present:
                    self.host.remove(path)
                # Logs are kept, but not for the next user who gets the number of this one.
                self.host.make_private(f"/var/log/flask-ops/{self.app.name}")
                self.host.reload_units()
        return self.outcome

    def _repair(self, slot: str, check_mode: bool) -> None:
        """The live slot has the right files: make sure that it runs, and that nothing else does."""
        app, host = self.app, self.host
        self.outcome.slot = slot
        self.outcome.summary = f"{app.name}: {slot} serves {app.release_id}"
        stray = other_slot(slot)
        repairs: list[tuple[str, bool, Callable[[], object]]] = [
            (f"start {slot}", not self.running(slot), lambda: self._start_and_check(slot)),
            (
                f"enable {slot}",
                not all(map(host.enabled, app.units(slot))),
                lambda: host.enable(*app.units(slot)),
            ),
            ("remember the slot", not self._satisfied(app.boot[slot]), lambda: host.write([app.boot[slot]])),
            (
                "point to the release",
                bool(app.release_link) and host.link_target(app.release_link) != app.release_target,
                self._point_to_release,
            ),
            (f"stop {stray}", self._in_use(stray), lambda: self._stop(stray)),
        ]
        for name, needed, repair in repairs:
            if needed:
                self._step(name)
                if not check_mode:
                    repair()
        if not check_mode and self.outcome.steps[:1] != [f"start {slot}"]:
            # New settings of the health check would otherwise fail the next release, which has no part in it.
            try:
                self._wait_until_healthy(slot)
            except DeployError as error:
                raise DeployError(f"{error}\nNothing was stopped: {slot} is live, as before.") from error

    def _switch(self, old: str | None, new: str, check_mode: bool) -> None:
        self.outcome.slot = new
        self.outcome.diff = self._diff(old, new)
        self.outcome.summary = (
            f"{self.app.name}: traffic went from {old or 'nowhere'} to {new}, which serves {self.app.release_id}"
        )
        self._step(f"start {new}")
        if check_mode:
            return
        began, was = self.host.now(), self.live_release()
        try:
            self._carry_out(old, new)
        except EXPECTED as error:
            self._log(began, was, str(error).splitlines()[0])
            raise
        self._log(began, was, None)
        self.outcome.summary += f", in {self.host.now() - began:.1f} s"

    def _log(self, began: float, was: str | None, reason: str | None) -> None:
        deploy: dict[str, object] = {
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "app": self.app.name,
            "by": " as ".join(filter(None, (self.app.by, self.host.login()))),
            "from": was,
            "to": self.app.release_id,
            "slot": self.outcome.slot,
            "result": "failed" if reason else "ok",
            "seconds": round(self.host.now() - began, 1),
            "reason": reason,
        }
        try:
            self.host.log_deploy(deploy)
        except OSError as error:
            # The switch is done, or undone. A full disk must not make it look otherwise.
            self._remarks.append(f"not written to {DEPLOYS}: {error}")

    def _carry_out(self, old: str | None, new: str) -> None:
        self._check_server(old)
        if old:
            # An interrupted switch may have left the name of the slot that is now prepared anew.
            self.host.write([self.app.boot[old]])
        try:
            self._prepare(new)
            self._start_and_check(new)
        except EXPECTED as error:
            self._rollback.step(self._retire_in_use, new)
            raise self._rolled_back(error, old) from error
        links = {path: self.host.link_target(path) for path in self.app.release_links}
        try:
            self._make_live(new)
            self._point_to_release()
            self._check_through_nginx()
        except EXPECTED as error:
            self._make_live_again(old, new, links)
            raise self._rolled_back(error, old) from error
        try:
            if old:
                self._drain(old)
            self._retire_in_use(other_slot(new))
        except (CommandError, OSError) as error:
            raise DeployError(
                f"{self.app.name}: {new} serves {self.app.release_id}, but {other_slot(new)} could not be "
                f"stopped: {error}\nThe next run stops it."
            ) from error

    # --- the steps ---------------------------------------------------------------------------------------------------

    def _check_server(self, old: str | None) -> None:
        """Refuse a server that drops requests: an app's requirements may pin an old gunicorn."""
        server = self.app.server
        version = self.host.server_version(server, self.app.venv)
        if server != "gunicorn":
            if not version:
                raise DeployError(f"{self.app.name}: its environment has no {server}.\n{self._current_state(old)}")
        elif tuple(int(number) for number in re.findall(r"\d+", version)[:3]) < MIN_GUNICORN:
            oldest = ".".join(map(str, MIN_GUNICORN))
            raise DeployError(
                f"{self.app.name}: its environment has {f'gunicorn {version}' if version else 'no gunicorn'}, and "
                f"{oldest} or newer is needed, since older ones drop requests. Take gunicorn out of the app's "
                f"requirements, or raise it there.\n{self._current_state(old)}"
            )

    def _prepare(self, slot: str) -> None:
        """Write an idle slot's files. What an interrupted run left running there is stopped first."""
        self._retire_in_use(slot)
        self.host.write(self.app.files[slot])
        # Enabled before it is live: whichever slot the link names, a reboot starts it. After that, systemd reads the
        # units anew, also if they were enabled before (systemctl(1), enable).
        self.host.enable(*self.app.units(slot))

    def _start_and_check(self, slot: str) -> None:
        try:
            self.host.start(*self.app.units(slot))
        except CommandError as error:
            raise DeployError(self._failure(slot, f"{self.app.service(slot)} did not start: {error}")) from error
        health, answer = self.app.health, self._wait_until_healthy(slot)
        self._step(f"GET {health.path} on {slot}: {answer}")
        if health.lenient:
            self._remarks.append(f"no health.path is given, GET / gave {answer} and {health.expected} will do")

    def _wait_until_healthy(self, slot: str) -> int:
        """Ask the slot's own sockets until they answer. Type=notify reports ready before the app is imported."""
        health, service = self.app.health, self.app.service(slot)
        deadline = self.host.now() + health.deadline
        restarts = self.host.restarts(service)
        while True:
            answer = self._answer(slot)
            if isinstance(answer, int) and health.accepts(answer):
                return answer
            if self.host.state(service) == "failed" or self.host.restarts(service) >= restarts + MAX_RESTARTS:
                raise DeployError(self._failure(slot, f"{service} keeps crashing"))
            if self.host.now() >= deadline:
                # Flask answers 400 to a Host that is not in its TRUSTED_HOSTS.
                advice = f"; if the app sets TRUSTED_HOSTS itself, add {self.app.host} to it" if answer == 400 else ""
                reason = f"gave {answer} instead of {health.expected} for {health.deadline:g} s{advice}"
                raise DeployError(self._failure(slot, f"GET {health.path} on {slot}'s own socket {reason}"))
            self.host.sleep(health.interval)

    def _answer(self, slot: str) -> int | str:
        """The answer of all instances of a slot: a status, or what is wrong with the first that is not healthy."""
        health, answer = self.app.health, 0
        for path in self.app.socket_paths(slot):
            try:
                answer = self.host.ask_socket(path, health.path, self.app.host, health.timeout)
            except (OSError, http.client.HTTPException) as error:
                return f"'{error or type(error).__name__}'"
            if not health.accepts(answer):
                break
        return answer

    def _make_live(self, slot: str) -> None:
        # First what a reboot would do, then what nginx does from this moment on.
        self.host.write([self.app.boot[slot]])
        self.host.link(self.app.slot_link, slot)
        self._step(f"traffic to {slot}")

    def _make_live_again(self, old: str | None, new: str, links: dict[str, str | None]) -> None:
        undo = self._rollback.step
        for path, target in links.items():
            undo(*((self.host.link, path, target) if target else (self.host.remove, path)))
        if old:
            undo(self._make_live, old)
        else:
            undo(self.host.remove, self.app.slot_link)
            undo(self.host.remove, self.app.boot[new].dest)
        if self.live_slot() != new:
            undo(self._drain, new)
            undo(self._retire, new)

    def _check_through_nginx(self) -> None:
        """Ask through nginx, which connects anew to the slot that the link names: the old one cannot answer."""
        app = self.app
        if not app.probe_socket:
            return
        answer = ask_through_nginx(app.name, app.host, app.health, app.probe_socket, self.host)
        if answer is None:
            self.host.write([Entry(unchecked_mark(app.name))])
            self._remarks.append("not checked through nginx, which does not run or does not serve this app yet")
        else:
            self._step(f"GET {app.health.path} through nginx: {answer}")

    def _point_to_release(self) -> None:
        """Keep the links ``current`` and ``previous`` for people, for static files and for what is never deleted."""
        if not self.app.release_link:
            return
        current, previous = self.app.release_links
        was = self.host.link_target(current)
        if was and was != self.app.release_target:
            self.host.link(previous, was)
        self.host.link(current, self.app.release_target)

    def _drain(self, slot: str) -> None:
        """Wait until the old slot has accepted every connection that reached its socket before the switch."""
        limit = self._grace_of(slot)
        deadline = self.host.now() + limit
        while self.host.waiting(self.app.sockets(slot)):
            if self.host.now() >= deadline:
                self._step(f"{slot} still had connections waiting after {limit:g} s")
                return
            self.host.sleep(0.05)

    def _retire_in_use(self, slot: str) -> None:
        if self._in_use(slot):
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
        aborted = self.host.stop_after_requests(*reversed(units), sockets=self.app.sockets(slot), grace=grace)
        if aborted:
            requests = "1 request" if aborted == 1 else f"{aborted} requests"
            self._remarks.append(f"{requests} of {slot} did not end within {grace:g} s and had to be aborted")

    def _grace_of(self, slot: str) -> float:
        """How long the slot has to finish its requests, by its own unit: the app's option may have a new value."""
        return self.host.stop_timeout(self.app.service(slot)) - KILL_DELAY

    def _step(self, words: str) -> None:
        self.outcome.changed = self.outcome.changed or not words.startswith("GET")
        self.outcome.steps.append(words)

    # --- reports -----------------------------------------------------------------------------------------------------

    def _failure(self, slot: str, what: str) -> str:
        service = self.app.service(slot)
        return f"{self.app.name}: {what}. The last lines of {service}:\n{self.host.journal(service)}"

    def _rolled_back(self, reason: Exception, old: str | None) -> DeployError:
        return DeployError(self._rollback.report(reason, self._current_state(old)))

    def _current_state(self, old: str | None) -> str:
        now = self.live_slot()
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
        """The files of the new slot compared with those of the old one, which they replace."""
        before = {
            without_slot(entry.dest, old): self.host.read(entry.dest) for entry in self.app.files.get(old or "", [])
        }
        shown = []
        for entry in self.app.files[new]:
            if entry.kind not in ("file", "files"):
                continue
            was = before.get(without_slot(entry.dest, new))
            text = was.text.decode("utf-8", "replace") if was else ""
            after = entry.content.decode("utf-8", "replace")
            if without_slot(text, old) == without_slot(after, new):
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
