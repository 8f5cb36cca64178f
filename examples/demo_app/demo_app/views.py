# SPDX-License-Identifier: GPL-3.0-or-later
"""What the app answers."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from pathlib import Path
from typing import Any

from flask import (
    Blueprint,
    Response,
    abort,
    current_app,
    flash,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
    send_from_directory,
    url_for,
)
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.utils import secure_filename
from werkzeug.wrappers import Response as AnyResponse

from .models import Note, db, missing_migration

bp = Blueprint("demo", __name__)

LONGEST_WAIT = 30.0
CHUNK = 64 * 1024


def prefers_json() -> bool:
    """Tell whether the client would rather have JSON than HTML."""
    offered = ["text/html", "application/json"]  # the first wins a draw
    return request.accept_mimetypes.best_match(offered) == "application/json"


def server() -> dict[str, Any]:
    """Name what is answering: which release, in which slot, in which process."""
    config = current_app.config
    return {"release": config["RELEASE"], "slot": config["SLOT"], "pid": os.getpid()}


@bp.get("/")
def index() -> Response:
    """Say who serves this request, and to whom."""
    facts = server() | {
        "scheme": request.scheme,
        "client": request.remote_addr or "unknown",
        "notes": db.session.scalar(select(func.count()).select_from(Note)),
    }
    as_json = prefers_json()
    answer = make_response(jsonify(facts) if as_json else render_template("index.html", **facts))
    answer.vary.add("Accept")
    return answer


@bp.get("/healthz")
def healthz() -> Response:
    """Answer 200 only if this release can do its work: 503 and why otherwise."""
    try:
        directory = current_app.extensions["migrate"].directory
        reason = missing_migration(db.engine, directory)
    except SQLAlchemyError as error:
        current_app.logger.warning("The database does not answer: %s", error)
        reason = f"the database does not answer ({type(error).__name__})"
    facts = {"status": "unavailable", "reason": reason} if reason else {"status": "ok"}
    answer = jsonify(facts | server())
    answer.status_code = 503 if reason else 200
    answer.cache_control.no_store = True
    return answer


@bp.get("/slow")
def slow() -> Response:
    """Answer after ``seconds``, 3 if not said, 30 at most."""
    try:
        seconds = min(float(request.args.get("seconds", 3)), LONGEST_WAIT)
    except ValueError:
        abort(400)
    if not seconds >= 0:  # "nan" is a float too
        abort(400)
    time.sleep(seconds)
    return jsonify(server() | {"seconds": seconds})


@bp.post("/echo")
def echo() -> Response:
    """Return the length and the SHA-256 of the body, whatever it is."""
    digest, length = hashlib.sha256(), 0
    while chunk := request.stream.read(CHUNK):
        digest.update(chunk)
        length += len(chunk)
    return jsonify(length=length, sha256=digest.hexdigest())


@bp.get("/headers")
def headers() -> Response:
    """Return the request as the app sees it, behind its proxy."""
    return jsonify(
        headers=dict(request.headers),
        url=request.url,
        scheme=request.scheme,
        host=request.host,
        remote_addr=request.remote_addr,
    )


@bp.get("/notes")
def list_notes() -> Response:
    """Return the newest hundred notes."""
    notes = db.session.scalars(select(Note).order_by(Note.id.desc()).limit(100))
    return jsonify([{"id": note.id, "text": note.text} for note in notes])


@bp.post("/notes")
def add_note() -> AnyResponse | tuple[Response, int]:
    """Keep a note, from a form or as JSON."""
    fields = request.get_json() if request.is_json else request.form
    text = fields.get("text") if hasattr(fields, "get") else None
    if not isinstance(text, str) or not text.strip():
        abort(400)
    note = Note(text=text.strip())
    db.session.add(note)
    db.session.commit()
    if request.is_json:
        return jsonify(id=note.id, text=note.text), 201
    flash("Noted.")
    return redirect(url_for("demo.index"), code=303)


@bp.post("/uploads")
def upload() -> tuple[Response, int, dict[str, str]]:
    """Keep a file; one of the same name is replaced as a whole."""
    file = request.files.get("file")
    name = secure_filename(file.filename or "") if file else ""
    if not file or not name:
        abort(400)
    folder = Path(current_app.config["UPLOAD_FOLDER"])
    partial = folder / f".{uuid.uuid4().hex}"
    try:
        file.save(partial)
        partial.replace(folder / name)
    finally:
        partial.unlink(missing_ok=True)
    address = url_for("demo.uploaded", name=name)
    return jsonify(name=name, url=address), 201, {"Location": address}


@bp.get("/uploads/<name>")
def uploaded(name: str) -> Response:
    """Hand a kept file back, to be saved and never run in the browser."""
    folder = current_app.config["UPLOAD_FOLDER"]
    return send_from_directory(folder, name, as_attachment=True)
