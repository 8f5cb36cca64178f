# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Health checks: what counts as a healthy answer, and the check through nginx."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.flask_ops.production.plugins.module_utils._deploy.host import Host
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.outcome import DeployError
from ansible_collections.flask_ops.production.plugins.module_utils._host.transaction import Entry

NGINX_RELOAD_TIMEOUT = 10
"""Seconds within which nginx serves by its new configuration after a reload."""


@dataclass(frozen=True)
class Health:
    """An app's health check. Times are in seconds."""

    path: str
    status: int | None
    """The status to expect. By default 200; the top of the site may redirect, or ask for a login."""
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
        """Whether any status below 500 will do: where neither path nor status is given."""
        return self.status is None and self.path == self.top

    @property
    def expected(self) -> str:
        return "a status below 500" if self.lenient else str(self.status or 200)

    def accepts(self, status: int) -> bool:
        return status < 500 if self.lenient else status == (self.status or 200)


def unchecked_mark(name: str) -> str:
    """The file that marks an app whose release has not been checked through nginx."""
    return f"/run/flask-ops/{name}/unchecked"


def ask_through_nginx(name: str, domain: str, health: Health, path: str, host: Host) -> int | None:
    """The status of the health path through nginx, or None if nginx does not run or does not serve this app.

    An app that answers as expected is no longer marked as unchecked.

    :raises DeployError: when the answer is not the expected one.
    """
    try:
        answer = host.ask_nginx(path, health.path, domain, health.timeout)
    except (OSError, http.client.HTTPException) as error:
        raise DeployError(
            f"{name}: GET {health.path} through nginx gave no answer: {error or type(error).__name__}"
        ) from error
    if answer is None:
        return None
    if not health.accepts(answer):
        raise DeployError(
            f"{name}: GET {health.path} gave {answer} through nginx, {health.expected} is expected. On its own socket "
            f"the release answers as expected: look at its use of X-Forwarded-* and X-Real-IP"
        )
    if host.read(unchecked_mark(name)).kind != "absent":
        host.remove(unchecked_mark(name))
    return answer


def check_app(name: str, domain: str, health: Health, path: str, host: Host) -> None:
    """Check an app through nginx once nginx has been reloaded. One that fails is marked, so that it is checked again.

    :raises DeployError: when it does not answer as expected.
    """
    deadline = host.now() + NGINX_RELOAD_TIMEOUT
    while True:
        reason = f"{name}: nginx does not listen on {path}; restart it on the host: systemctl restart nginx.service"
        try:
            if ask_through_nginx(name, domain, health, path, host) is not None:
                return
        except DeployError as error:
            reason = str(error)
        if host.now() >= deadline:
            host.write([Entry(unchecked_mark(name))])
            raise DeployError(reason)
        host.sleep(health.interval)
