# SPDX-License-Identifier: GPL-3.0-or-later
"""A small Flask app that says who serves it; made to run behind one proxy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Flask, jsonify, render_template
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Response as AnyResponse

from . import views
from .models import init_database

ROOT = Path(__file__).resolve().parent.parent

ERRORS = {
    400: "The request cannot be understood.",
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    413: "That is more than this app takes in one request.",
    500: "Something broke here. It has been written to the log.",
}


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Build the app; ``FLASK_*`` variables and then ``config`` override the defaults.

    :raises RuntimeError: when no ``SECRET_KEY`` was configured.
    """
    app = Flask(__name__)
    app.config.from_mapping(
        # Read directly: the prefixed loader below parses JSON, and would make a
        # number of a release called 12345e67.
        RELEASE=os.environ.get("FLASK_OPS_RELEASE", "unknown"),
        SLOT=os.environ.get("FLASK_OPS_SLOT", "unknown"),
        MAX_CONTENT_LENGTH=16 * 1024 * 1024,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=True,
        UPLOAD_FOLDER=str(ROOT / "uploads"),
    )
    app.config.from_prefixed_env()
    app.config.from_mapping(config or {})

    secret = app.config["SECRET_KEY"]
    if not isinstance(secret, str | bytes) or not secret:
        raise RuntimeError(
            "SECRET_KEY is not configured. Set FLASK_SECRET_KEY, for example to the "
            "output of: python3 -c 'import secrets; print(secrets.token_hex())'"
        )

    init_database(app, ROOT)
    Path(app.config["UPLOAD_FOLDER"]).mkdir(exist_ok=True)
    app.register_blueprint(views.bp)
    app.register_error_handler(HTTPException, show_error)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]
    return app


def show_error(error: HTTPException) -> AnyResponse:
    """Answer an error in the app's own words, as the client likes to read it.

    Flask passes unhandled exceptions here too, as a 500, after logging them.
    """
    answer = error.get_response()  # keeps Allow, Retry-After, …
    if error.response is not None or error.code is None or error.code < 400:
        return answer
    message = ERRORS.get(error.code, error.description or error.name)
    if views.prefers_json():
        body = jsonify(error=message, status=error.code)
        answer.data, answer.content_type = body.data, body.content_type
    else:
        answer.data = render_template("error.html", code=error.code, message=message)
        answer.content_type = "text/html; charset=utf-8"
    answer.vary.add("Accept")
    return answer
