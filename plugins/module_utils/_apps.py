# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What serves an app, and how it is: for people by ``apps_info``, and for Prometheus by ``_metrics``.

This module util is private to the collection.
"""

from __future__ import annotations

import http.client
import os
import time

from ansible_collections.flask_ops.production.plugins.module_utils._command import unit_properties
from ansible_collections.flask_ops.production.plugins.module_utils._switch import Health, Host, slot_named


def look(app: dict, release_link: str) -> dict:
    """Find the slot and the release in traffic, and ask the slot for its health.

    :param app: an app as in the ``gunicorn_systemd`` role, defaults filled in.
    :param release_link: the link that names the app's release in traffic.
    """
    host, name = Host(), app["name"]
    slot = slot_named(host.link_target(f"/run/flask-ops/{name}/current"))
    if slot is None:
        nothing = dict.fromkeys(("slot", "release", "since", "state", "health"))
        return {**nothing, "healthy": False, "summary": f"{name}: nothing is in traffic"}
    service = unit_properties(f"{name}-{slot}.service", "ActiveState", "ActiveEnterTimestamp")
    release = os.path.basename(host.link_target(release_link) or "") or None
    health = Health(**app["health"])
    domain = (app.get("domains") or ["localhost"])[0]
    answer: int | str
    began = time.monotonic()
    try:
        answer = host.ask_socket(f"/run/flask-ops/{name}/{slot}/1.sock", health.path, domain, health.timeout)
    except (OSError, http.client.HTTPException) as error:
        answer = str(error) or type(error).__name__
    state, since = service["ActiveState"], service["ActiveEnterTimestamp"]
    return {
        "slot": slot,
        "release": release,
        "since": since,
        "state": state,
        "health": str(answer),
        "healthy": isinstance(answer, int) and health.accepts(answer),
        "seconds": round(time.monotonic() - began, 3),
        "summary": f"{name}: {slot} "
        + (f"serves {release} since {since}" if state == "active" else f"should serve {release}, but is {state}")
        + f"; GET {health.path}: {answer}",
    }
