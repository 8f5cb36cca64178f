# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of a release, run as the app would run them."""

from __future__ import annotations

import contextlib
import os
import time

from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._host.systemd import systemctl, transient_unit
from ansible_collections.flask_ops.production.plugins.module_utils._release.release import Release


def run_in_sandbox(release: Release, purpose: str, argv: list[str], timeout: int, shown: str) -> str:
    """Run a command of a release with the app's user, environment and sandbox. Return its output.

    :param shown: the command in the user's words.
    """
    app = release.app
    unit, description = f"{app.name}-{purpose}.service", f"{app.name}: {purpose} of release {release.id}"
    wait_until_gone(unit, timeout)
    environment = {
        "FLASK_OPS_RELEASE": release.id,
        "FLASK_OPS_VERSION": release.known_version,
        "FLASK_OPS_SLOT": purpose,
        "PATH": f"{release.venv}/bin:/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    properties = [
        *app.sandbox,
        ("WorkingDirectory", release.code),
        ("ReadWritePaths", os.path.join(app.root, "shared")),
        ("RuntimeMaxSec", str(timeout)),
        # Of a process that is killed for its memory, the pre-flight itself reports the end.
        ("OOMPolicy", "continue"),
        *(("Environment", f"{name}={value}") for name, value in environment.items()),
        *([("EnvironmentFile", app.environment_file)] if app.environment_file else []),
        *(("LoadCredential", f"{name}:{app.credentials_directory}/{name}") for name in app.credentials()),
    ]
    began = time.monotonic()
    try:
        command = transient_unit(argv, unit, description, app.user, app.user, properties)
        return run(command, timeout=timeout + 30, shown=shown)
    except CommandError as error:
        if time.monotonic() - began < timeout:
            raise
        # systemd ends it, and prints nothing.
        option = f" ({purpose}_timeout)" if purpose == "migrate" else ""
        raise CommandError(f"It was stopped after {timeout} seconds{option}. {error}") from error


def wait_until_gone(unit: str, timeout: float) -> None:
    """Wait for a unit of an earlier, interrupted run to end: two migrations at once would be worse than a wait."""
    deadline = time.monotonic() + timeout
    while True:
        with contextlib.suppress(CommandError):
            systemctl("reset-failed", unit)
        try:
            systemctl("is-active", "--quiet", unit)
        except CommandError:
            return
        if time.monotonic() > deadline:
            raise CommandError(f"{unit} of an earlier run is still active after {timeout:g} s")
        time.sleep(0.5)
