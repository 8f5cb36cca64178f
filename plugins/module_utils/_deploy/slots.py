# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two slots of an app, blue and green: each has sockets, a service and files of its own, and one is live."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from ansible_collections.flask_ops.production.plugins.module_utils._deploy.health import Health
from ansible_collections.flask_ops.production.plugins.module_utils._host.transaction import Entry

SLOTS = ("blue", "green")


@dataclass(frozen=True)
class SlotApp:
    """An app with the files of its slots."""

    name: str
    host: str
    """The Host header of health checks: an app may refuse names that it does not know."""
    health: Health
    release: str
    """The release directory that the new slot serves."""
    venv: str
    """The virtual environment of that release."""
    release_link: str
    """The link to the live release, for people and for nginx' static files. Empty: none is kept."""
    files: dict[str, list[Entry]]
    """By slot: the files of the slot, complete."""
    boot: dict[str, Entry]
    """By slot: the file by which the link to this slot comes back after a reboot."""
    server: str = "gunicorn"
    by: str = ""
    """The user who runs this, and the controller."""
    probe_socket: str = ""
    """The socket at which nginx passes requests to the app, asked after the switch. Empty: there is no nginx."""
    instances: int = 1
    """How many sockets each slot has, with a worker of its own behind each if there is more than one."""

    @property
    def runtime(self) -> str:
        return f"/run/flask-ops/{self.name}"

    @property
    def slot_link(self) -> str:
        return f"{self.runtime}/current"

    @property
    def release_links(self) -> tuple[str, ...]:
        """The links to the live release and to the one before it."""
        path = self.release_link
        return (path, os.path.join(os.path.dirname(path), "previous")) if path else ()

    @property
    def release_target(self) -> str:
        return os.path.relpath(self.release, os.path.dirname(self.release_link))

    @property
    def release_id(self) -> str:
        return os.path.basename(self.release)

    @property
    def entries(self) -> list[Entry]:
        """The files of both slots."""
        return [entry for slot in SLOTS for entry in [*self.files[slot], self.boot[slot]]]

    def sockets(self, slot: str) -> str:
        """The directory of a slot's sockets."""
        return f"{self.runtime}/{slot}"

    def socket_paths(self, slot: str) -> list[str]:
        return [f"{self.sockets(slot)}/{instance}.sock" for instance in range(1, self.instances + 1)]

    def service(self, slot: str) -> str:
        return f"{self.name}-{slot}.service"

    def units(self, slot: str) -> tuple[str, str]:
        return f"{self.name}-{slot}.socket", self.service(slot)


def slot_named(target: str | None) -> str | None:
    """The slot that the target of the link ``current`` names, or None where it names none."""
    name = os.path.basename(target or "")
    return name if name in SLOTS else None


def other_slot(slot: str | None) -> str:
    return "green" if slot == "blue" else "blue"


def without_slot(text: str, slot: str | None) -> str:
    """The text without the slot's name, so that the files of two slots can be compared."""
    return re.sub(rf"\b{slot}\b", "<slot>", text) if slot else text
