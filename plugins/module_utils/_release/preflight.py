# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pre-flight: the app is imported where it will run, and its settings decide whether it may go live.

The program that imports the app is :mod:`probe`.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import re
import typing as t

from ansible_collections.flask_ops.production.plugins.module_utils._host.command import head_and_tail
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import write
from ansible_collections.flask_ops.production.plugins.module_utils._host.secrets import masked
from ansible_collections.flask_ops.production.plugins.module_utils._host.transaction import State
from ansible_collections.flask_ops.production.plugins.module_utils._release import app_settings, probe, secret_keys
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import App, ReleaseError, secret_values
from ansible_collections.flask_ops.production.plugins.module_utils._release.findings import evaluate
from ansible_collections.flask_ops.production.plugins.module_utils._release.program import program
from ansible_collections.flask_ops.production.plugins.module_utils._release.release import Release
from ansible_collections.flask_ops.production.plugins.module_utils._release.sandboxed import run_in_sandbox

MIN_IMPORT_TIMEOUT = 120
"""Seconds that an app may take to be imported, however short its health check's deadline is."""


def check(release: Release) -> list[str]:
    """Import the app and evaluate its settings, unless nothing that decides about them has changed since.

    :return: the warnings that were not given before for this release.
    :raises ReleaseError: when the app cannot be served, or is not safe to serve.
    """
    app = release.app
    marker, inputs = os.path.join(release.path, ".checked"), inputs_digest(app)
    checked = read_json(marker)
    if checked.get("inputs") == inputs:
        return []
    code = program(secret_keys, app_settings, probe)
    argv = [f"{release.venv}/bin/python", "-c", code, json.dumps(probe_request(app))]
    # The probe has its own clock, and reports where the app was; systemd's is for a probe that hangs.
    answer = run_in_sandbox(release, "preflight", argv, import_timeout(app) + 30, "the pre-flight")
    try:
        report = json.loads(answer)
    except ValueError:
        raise ReleaseError(f"The pre-flight of '{app.wsgi}' gave no result: {answer[-500:]!r}") from None
    reason = explain(app, report)
    if reason:
        raise ReleaseError(reason)
    found = evaluate(app, report)
    stopping = [finding for finding in found if finding.stops or app.fail_on_insecure]
    if stopping:
        names = ", ".join(dict.fromkeys(finding.name for finding in stopping))
        reasons = " ".join(map(str, stopping))
        raise ReleaseError(
            f"The app '{app.wsgi}' is not safe to serve: {reasons}\n=> accept_insecure: [{names}] releases it as it is."
        )
    warned = {finding.name: str(finding) for finding in found}
    known = checked.get("warned", [])
    with contextlib.suppress(OSError):  # on a full disk, it is checked again next time
        content = {"inputs": inputs, "warned": sorted({*warned, *known})}
        write(marker, json.dumps(content).encode(), 0o600, "root", "root")
    return [f"{app.name}: {text}" for name, text in warned.items() if name not in known]


def import_timeout(app: App) -> int:
    return max(MIN_IMPORT_TIMEOUT, app.health["deadline"])


def probe_request(app: App) -> dict[str, t.Any]:
    """The argument of the probe, which holds no value of a setting."""
    return {"wsgi": app.wsgi, "limit": import_timeout(app), "given": sorted(app.env_names)}


def inputs_digest(app: App) -> str:
    """A digest of what decides about a pre-flight, apart from the release."""
    how = [app.server, app.worker_class, app.sandbox, app.static and app.static["url"]]
    accepted = [app.fail_on_insecure, sorted(app.accept_insecure)]
    digest = hashlib.sha256(json.dumps([probe_request(app), how, accepted]).encode())
    for path in filter(None, (app.environment_file, app.credentials_directory)):
        digest.update(State.read(path).text)
    return digest.hexdigest()


def read_json(path: str) -> dict[str, t.Any]:
    """The object in a file; an empty one if there is none."""
    try:
        found = json.loads(State.read(path).content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


# --- an app that cannot be imported ----------------------------------------------------------------------------------


def explain(app: App, report: dict[str, t.Any]) -> str:
    """Why the app cannot be served; empty if it can."""
    failed = report.get("failure")
    reason = _failure_reason(app, failed) if failed else _wrong_interface(app, report)
    if not reason:
        return ""
    printed = head_and_tail(report.get("output", ""), 5, 15) if failed else ""
    return masked(f"{reason}\nIt printed:\n{printed}" if printed else reason, secret_values(app))


def _failure_reason(app: App, failed: dict[str, t.Any]) -> str:
    place = f'wsgi: "{app.wsgi}"'
    module = app.wsgi.partition(":")[0]
    lines = "\n".join(failed.get("lines", []))
    quoted = f":\n{lines}" if lines else "."
    where = _innermost_frames(failed.get("where", ""))
    kind = failed["kind"]
    if kind == "name":
        return (
            f"{place} names '{failed['name']}', which the module {module} does not have.{_candidates(module, failed)}"
        )
    if kind == "type":
        return f"{place} is of type {failed['type']}, and no application.{_candidates(module, failed)}"
    if kind == "server":
        return (
            f"{place} starts a server of its own while it is imported{quoted}\n"
            "=> put that call below 'if __name__ == \"__main__\":', or take it out."
        )
    if kind == "exit":
        return f"{place} ended the process with status {failed['status']} while it was imported (sys.exit or os._exit){quoted}"
    if kind == "signal":
        return f"{place} died by signal {failed['signal']} while it was imported.{where}"
    if kind == "timeout":
        return (
            f"{place} was not imported within {failed['limit']} seconds.{where}\n"
            f"=> for an app that needs longer, raise health.deadline (now {app.health['deadline']})."
        )
    return f"{place} cannot be imported{quoted}{_module_advice(app.wsgi, failed)}"


def _candidates(module: str, failed: dict[str, t.Any]) -> str:
    found = [f'"{module}:{name}"' for name in failed["candidates"]]
    return f"\n=> set wsgi: {' or '.join(found)}." if found else ""


def _module_advice(wsgi: str, failed: dict[str, t.Any]) -> str:
    """Advice where the module that ``wsgi`` names is not there."""
    name, _colon, rest = wsgi.partition(":")
    missing = failed.get("module")
    if not missing or not (name == missing or name.startswith(f"{missing}.")):
        return ""
    top = name.partition(".")[0]
    there = failed.get("modules", [])
    if f"src/{top}" in there:
        return f"\n=> the source has src/{top}: its pyproject.toml must make it a package, and be what is installed."
    close = difflib.get_close_matches(top, there, 3)
    if close and top not in there:
        return f'\n=> the source has {", ".join(close)}: set wsgi: "{close[0]}:{rest}".'
    return f"\n=> the source has {', '.join(there) or 'no module'} at its top." if top not in there else ""


def _innermost_frames(dump: str) -> str:
    """The app's frames in what faulthandler wrote: of the main thread, which comes last."""
    threads = re.split(r"^(?=(?:Current t|T)hread )", dump, flags=re.MULTILINE)
    current = next((text for text in threads if text.startswith("Current thread")), threads[-1])
    frames = [line for line in current.splitlines() if line.startswith("  File ") and '"<' not in line]
    frames = [line for line in frames if "/importlib/__init__.py" not in line][:8]
    return "\nIt was here, the innermost call first:\n" + "\n".join(frames) if frames else ""


def _wrong_interface(app: App, report: dict[str, t.Any]) -> str:
    interface, place = report.get("interface"), f'wsgi: "{app.wsgi}"'
    if interface == "factory":
        made = f'"{app.wsgi}()"'
        return f"{place} is a function that makes the app, and no application.\n=> put parentheses behind it: wsgi: {made}."
    kind = {"fastapi": "FastAPI", "flask": "Flask"}.get(
        report.get("framework", ""), report.get("framework", "").title()
    )
    described = f"{kind}, " if kind else ""
    serves_asgi = app.server == "gunicorn" and app.worker_class == "asgi"
    if interface == "asgi" and not serves_asgi:
        chosen = "server: waitress" if app.server == "waitress" else f"worker_class: {app.worker_class}"
        return f"{place} is an ASGI app ({described}which {chosen} cannot serve).\n=> set worker_class: asgi."
    if interface == "wsgi" and serves_asgi:
        return (
            f"{place} is a WSGI app ({described}which worker_class: asgi cannot serve).\n"
            "=> leave worker_class out, or wrap the app in asgiref.wsgi.WsgiToAsgi."
        )
    return ""
