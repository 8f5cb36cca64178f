# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Imports an app as gunicorn does, and tells how it is set up: the pre-flight.

The first part of this file is run by the app's own Python, as the app's user: it imports nothing but the app.

This module util is private to the collection.
"""

from __future__ import annotations

import importlib
import json
import sys
import typing as t

COOKIES = ("SESSION_COOKIE_SECURE", "SESSION_COOKIE_HTTPONLY", "SESSION_COOKIE_SAMESITE")


def load(wsgi: str) -> t.Any:
    """What gunicorn does with its argument, too. The expression keeps the rule for ``wsgi``: a name, or a call."""
    module, _colon, expression = wsgi.partition(":")
    app = eval(expression, vars(importlib.import_module(module)))
    if not callable(app):
        raise TypeError(f"{wsgi} is {app!r}, which cannot be called")
    return app


def layers(app: t.Any) -> list[t.Any]:
    """The app and what is wrapped around it, from the outside; of Flask also what wraps its ``wsgi_app``."""
    found: list[t.Any] = []
    while app is not None and len(found) < 20 and not any(app is layer for layer in found):
        found.append(app)
        inner = getattr(app, "wsgi_app", None) or getattr(app, "app", None)
        app = inner if callable(inner) else None
    return found


def describe(app: t.Any) -> dict[str, t.Any]:
    """The settings that matter in production. Never a value of a key, only its length."""
    found = layers(app)
    told: dict[str, t.Any] = {"middleware": [type(layer).__name__ for layer in found]}
    flask = next((layer for layer in found if hasattr(getattr(layer, "config", None), "from_prefixed_env")), None)
    if flask is not None:
        key = flask.config.get("SECRET_KEY")
        told["flask"] = {
            "debug": bool(flask.debug),
            "secret_key_length": len(key) if isinstance(key, (str, bytes)) else 0,
            **{name: flask.config.get(name) for name in COOKIES},
        }
    return told


def main() -> None:
    app = load(sys.argv[1])
    try:
        told = describe(app)
    except Exception as error:  # noqa: BLE001 - an app of an unusual kind is no reason not to serve it
        told = {"middleware": [], "error": type(error).__name__}
    sys.stdout.flush()
    print()
    print(json.dumps(told, default=str))


# --- on the side of the module ---------------------------------------------------------------------------------------


def source() -> str:
    """This file, as an argument of the app's Python."""
    code = __loader__.get_source(__name__)  # type: ignore[name-defined]
    return f"{code.decode() if isinstance(code, bytes) else code}\nmain()\n"


def judge(told: dict[str, t.Any]) -> tuple[list[str], list[str]]:
    """Return what is unsafe, and what is unwise, each with its remedy."""
    insecure: list[str] = []
    unwise: list[str] = []
    if "DebuggedApplication" in told["middleware"]:
        insecure.append("Werkzeug's debugger is mounted, which runs code for every visitor; take it out.")
    flask = told.get("flask")
    if flask is None:
        return insecure, unwise
    if flask["debug"]:
        insecure.append("Flask's debug is on, which shows the app's insides; take it out of the app's settings.")
    if not flask["secret_key_length"]:
        insecure.append(
            "It has no SECRET_KEY, and sessions will fail. Give it FLASK_SECRET_KEY in 'secrets' and read that by "
            "app.config.from_prefixed_env(); for an app without sessions, say fail_on_insecure: false."
        )
    elif flask["secret_key_length"] < 22:
        unwise.append(f"its SECRET_KEY has {flask['secret_key_length']} characters; 22 random ones are the least.")
    if flask["SESSION_COOKIE_SECURE"] is not True:
        unwise.append("SESSION_COOKIE_SECURE is not on: a session would also be sent without encryption.")
    if flask["SESSION_COOKIE_HTTPONLY"] is not True:
        unwise.append("SESSION_COOKIE_HTTPONLY is not on: scripts in a page can read the session.")
    if flask["SESSION_COOKIE_SAMESITE"] not in ("Lax", "Strict"):
        unwise.append("SESSION_COOKIE_SAMESITE is neither Lax nor Strict: other sites can use a visitor's session.")
    if "ProxyFix" not in told["middleware"]:
        unwise.append(
            "it does not use werkzeug's ProxyFix (x_for=1, x_proto=1, x_host=1), and takes every visitor for nginx."
        )
    return insecure, unwise
