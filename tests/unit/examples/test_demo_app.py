"""The demo app, through Flask's test client."""

from __future__ import annotations

import hashlib
import importlib
import io
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

NEEDS = "{} is missing: install examples/demo_app/requirements.txt"
flask_migrate = pytest.importorskip("flask_migrate", reason=NEEDS.format("Flask-Migrate"))
FileStorage = pytest.importorskip("werkzeug.datastructures", reason=NEEDS.format("Werkzeug")).FileStorage

APP_ROOT = Path(__file__).parents[3] / "examples" / "demo_app"
JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def create_app() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(APP_ROOT)
        yield importlib.import_module("demo_app").create_app


@pytest.fixture
def empty(create_app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the app in front of a database that was never migrated."""
    monkeypatch.setenv("FLASK_SECRET_KEY", "for the tests")
    monkeypatch.setenv("FLASK_OPS_RELEASE", "12345e67")
    monkeypatch.setenv("FLASK_OPS_SLOT", "blue")
    database = f"sqlite:///{tmp_path / 'demo.sqlite3'}"
    monkeypatch.setenv("FLASK_SQLALCHEMY_DATABASE_URI", database)
    return create_app({"UPLOAD_FOLDER": str(tmp_path / "uploads")})


@pytest.fixture
def app(empty: Any) -> Any:
    """Return the app, migrated."""
    with empty.app_context():
        flask_migrate.upgrade()
    return empty


@pytest.fixture
def client(app: Any) -> Any:
    return app.test_client()


@pytest.mark.parametrize("config", [{}, {"SECRET_KEY": ""}, {"SECRET_KEY": 1234}])
def test_refuses_to_start_without_a_secret_key(
    create_app: Any, config: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLASK_SECRET_KEY", raising=False)
    with pytest.raises(RuntimeError, match="SECRET_KEY is not configured"):
        create_app(config)


def test_index_names_release_slot_scheme_and_client(client: Any) -> None:
    forwarded = {
        "X-Forwarded-For": "198.51.100.1, 203.0.113.9",
        "X-Forwarded-Proto": "https",
    }
    answer = client.get("/", headers=JSON | forwarded).json
    assert answer.pop("pid") > 0
    assert answer == {
        "release": "12345e67",
        "slot": "blue",
        "scheme": "https",
        "client": "203.0.113.9",
        "notes": 0,
    }


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/html,*/*;q=0.8", "text/html"),
        ("*/*", "text/html"),
        ("application/json", "application/json"),
        ("text/html;q=0.5,application/json", "application/json"),
    ],
)
def test_index_and_errors_come_as_the_client_prefers(client: Any, accept: str, expected: str) -> None:
    for path in ("/", "/nothing/here"):
        answer = client.get(path, headers={"Accept": accept})
        assert answer.mimetype == expected
        assert "Accept" in answer.vary


def test_release_and_slot_are_unknown_when_not_set(
    create_app: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("FLASK_OPS_RELEASE", "FLASK_OPS_SLOT"):
        monkeypatch.delenv(name, raising=False)
    config = {
        "SECRET_KEY": "for the tests",
        "SQLALCHEMY_DATABASE_URI": "sqlite://",
        "UPLOAD_FOLDER": str(tmp_path),
    }
    answer = create_app(config).test_client().get("/slow?seconds=0")
    assert (answer.json["release"], answer.json["slot"]) == ("unknown", "unknown")


def test_health_follows_the_migrations(empty: Any) -> None:
    client = empty.test_client()
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json["reason"] == "the database was never migrated"

    with empty.app_context():
        flask_migrate.upgrade()
    answer = client.get("/healthz")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")

    with empty.app_context():
        flask_migrate.downgrade()
    assert client.get("/healthz").status_code == 503


def test_unhealthy_while_the_database_does_not_answer(empty: Any, tmp_path: Path) -> None:
    (tmp_path / "demo.sqlite3").mkdir()  # no file that SQLite could open
    answer = empty.test_client().get("/healthz")
    assert answer.status_code == 503
    assert answer.json["reason"] == "the database does not answer (OperationalError)"


def test_a_schema_of_a_newer_release_is_healthy(app: Any, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "demo.sqlite3") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert app.test_client().get("/healthz").status_code == 200


def test_migrations_make_what_the_models_say(app: Any) -> None:
    with app.app_context():
        flask_migrate.check()  # exits when a migration is missing


def test_slow_refuses_nonsense_and_is_bounded(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("demo_app.views.time.sleep", waited.append)
    for value in ("x", "nan", "-1"):
        assert client.get(f"/slow?seconds={value}").status_code == 400
    assert client.get("/slow").status_code == 200
    assert client.get("/slow?seconds=inf").status_code == 200
    assert waited == [3.0, 30.0]


@pytest.mark.parametrize("body", [b"", b"a", b"\0\xff" * 100_000])
def test_echo(client: Any, body: bytes) -> None:
    answer = client.post("/echo", data=body)
    digest = hashlib.sha256(body).hexdigest()
    assert answer.json == {"length": len(body), "sha256": digest}


def test_too_large_a_body_is_refused(app: Any) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 10
    answer = app.test_client().post("/echo", data=b"x" * 11, headers=JSON)
    assert answer.status_code == 413


def test_notes_by_json_and_by_form(client: Any) -> None:
    assert client.post("/notes", json={"text": " one "}).status_code == 201
    form = {"data": {"text": "two"}, "base_url": "https://demo.test"}
    page = client.post("/notes", **form, follow_redirects=True)
    assert b"Noted." in page.data
    assert client.get("/notes").json == [
        {"id": 2, "text": "two"},
        {"id": 1, "text": "one"},
    ]


@pytest.mark.parametrize("body", [{}, {"text": " "}, {"text": 1}, ["text"], "text"])
def test_notes_without_text_are_refused(client: Any, body: object) -> None:
    assert client.post("/notes", json=body).status_code == 400


def test_two_slots_write_at_once(create_app: Any, app: Any) -> None:
    slots = [app, create_app({"UPLOAD_FOLDER": app.config["UPLOAD_FOLDER"]})]

    def write(number: int) -> int:
        client = slots[number % 2].test_client()
        answer = client.post("/notes", json={"text": str(number)})
        return int(answer.status_code)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(write, range(80))) == {201}
    answer = app.test_client().get("/", headers=JSON).json
    assert answer["notes"] == 80


def test_uploads(client: Any) -> None:
    for content in (b"first", b"second"):
        file = FileStorage(io.BytesIO(content), filename="../../etc/my notes.txt")
        answer = client.post("/uploads", data={"file": file})
        assert answer.status_code == 201
        assert answer.location == "/uploads/etc_my_notes.txt"
        kept = client.get(answer.location)
        assert kept.data == content
        assert kept.headers["Content-Disposition"].startswith("attachment")
        kept.close()


def test_uploads_need_a_file_with_a_name(client: Any) -> None:
    nameless = FileStorage(io.BytesIO(b"x"), filename="..")
    for data in ({}, {"file": "text"}, {"file": nameless}):
        assert client.post("/uploads", data=data).status_code == 400
    assert client.get("/uploads/nothing.txt").status_code == 404


def test_headers_as_the_app_sees_them(client: Any) -> None:
    answer = client.get(
        "/headers?x=1",
        headers={
            "X-Forwarded-For": "203.0.113.9",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "demo.test",
        },
    )
    assert answer.json["url"] == "https://demo.test/headers?x=1"
    assert answer.json["scheme"] == "https"
    assert answer.json["remote_addr"] == "203.0.113.9"
    assert answer.json["headers"]["X-Forwarded-For"] == "203.0.113.9"


def test_errors_in_its_own_words(app: Any) -> None:
    def broken() -> str:
        raise ZeroDivisionError

    app.add_url_rule("/broken", view_func=broken)
    client = app.test_client()
    assert b"There is nothing at this address." in client.get("/nothing").data
    page = client.get("/broken")
    assert page.status_code == 500
    assert b"Something broke here." in page.data
    assert set(client.put("/echo").allow) == {"OPTIONS", "POST"}
    assert client.get("/broken", headers=JSON).json == {
        "error": "Something broke here. It has been written to the log.",
        "status": 500,
    }


def test_page_and_its_static_files(client: Any) -> None:
    page = client.get("/").text
    for name in ("style.css", "logo.svg"):
        assert f"/static/{name}" in page
        file = client.get(f"/static/{name}")
        assert file.status_code == 200
        file.close()
