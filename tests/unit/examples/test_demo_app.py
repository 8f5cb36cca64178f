"""The demo app, through Flask's test client. What servers tests use of it, they test."""

from __future__ import annotations

import importlib
import io
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import flask_migrate
import pytest
from werkzeug.datastructures import FileStorage

APP_ROOT = Path(__file__).parents[3] / "examples" / "demo_app"
JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def create_app() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(APP_ROOT)
        yield importlib.import_module("demo_app").create_app


@pytest.fixture
def empty(create_app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The app in front of a database that was never migrated."""
    monkeypatch.setenv("FLASK_SECRET_KEY", "for the tests")
    monkeypatch.setenv("FLASK_OPS_RELEASE", "12345e67")
    monkeypatch.setenv("FLASK_OPS_SLOT", "blue")
    monkeypatch.setenv("FLASK_SQLALCHEMY_DATABASE_URI", f"sqlite:///{tmp_path / 'demo.sqlite3'}")
    return create_app({"UPLOAD_FOLDER": str(tmp_path / "uploads")})


@pytest.fixture
def app(empty: Any) -> Any:
    """The app, migrated."""
    with empty.app_context():
        flask_migrate.upgrade()
    return empty


@pytest.fixture
def client(app: Any) -> Any:
    return app.test_client()


@pytest.mark.parametrize("config", [{}, {"SECRET_KEY": ""}, {"SECRET_KEY": 1234}])
def test_refuses_to_start_without_a_secret_key(create_app: Any, config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLASK_SECRET_KEY", raising=False)
    with pytest.raises(RuntimeError, match="SECRET_KEY is not configured"):
        create_app(config)


def test_index_names_release_slot_scheme_and_client(client: Any) -> None:
    forwarded = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9", "X-Forwarded-Proto": "https"}
    answer = client.get("/", headers=JSON | forwarded).json
    assert answer.pop("pid") > 0
    assert answer == {
        "release": "12345e67", "slot": "blue", "scheme": "https", "client": "203.0.113.9", "notes": 0,
    }  # fmt: skip


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_index_and_errors_come_as_the_client_prefers(client: Any, accept: str) -> None:
    for path in ("/", "/nothing/here"):
        answer = client.get(path, headers={"Accept": f"{accept},*/*;q=0.8"})
        assert answer.mimetype == accept
        assert "Accept" in answer.vary


def test_health_follows_the_migrations(empty: Any, tmp_path: Path) -> None:
    client = empty.test_client()
    assert client.get("/healthz").status_code == 503
    with empty.app_context():
        flask_migrate.upgrade()
        flask_migrate.check()  # exits when a migration is missing
    assert client.get("/healthz").status_code == 200
    with sqlite3.connect(tmp_path / "demo.sqlite3") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")  # of a newer release
    assert client.get("/healthz").status_code == 200


def test_unhealthy_while_the_database_does_not_answer(empty: Any, tmp_path: Path) -> None:
    (tmp_path / "demo.sqlite3").mkdir()  # no file that SQLite could open
    answer = empty.test_client().get("/healthz")
    assert (answer.status_code, answer.json["reason"]) == (503, "the database does not answer (OperationalError)")


def test_slow_refuses_nonsense_and_is_bounded(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("demo_app.views.time.sleep", waited.append)
    assert [client.get(f"/slow?seconds={value}").status_code for value in ("x", "nan", "-1")] == [400] * 3
    assert [client.get(f"/slow{query}").status_code for query in ("", "?seconds=inf")] == [200, 200]
    assert waited == [3.0, 30.0]


def test_too_large_a_body_is_refused(app: Any) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 10
    assert app.test_client().post("/echo", data=b"x" * 11).status_code == 413


def test_notes_by_json_and_by_form(client: Any) -> None:
    assert client.post("/notes", json={"text": " one "}).status_code == 201
    page = client.post("/notes", data={"text": "two"}, base_url="https://demo.test", follow_redirects=True)
    assert b"Noted." in page.data
    assert client.get("/notes").json == [{"id": 2, "text": "two"}, {"id": 1, "text": "one"}]
    for body in ({}, {"text": " "}, {"text": 1}, ["text"], "text"):
        assert client.post("/notes", json=body).status_code == 400


def test_two_slots_write_at_once(create_app: Any, app: Any) -> None:
    slots = [app, create_app({"UPLOAD_FOLDER": app.config["UPLOAD_FOLDER"]})]

    def write(number: int) -> int:
        return int(slots[number % 2].test_client().post("/notes", json={"text": str(number)}).status_code)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(write, range(80))) == {201}
    assert app.test_client().get("/", headers=JSON).json["notes"] == 80


def test_uploads(client: Any) -> None:
    for content in (b"first", b"second"):
        file = FileStorage(io.BytesIO(content), filename="../../etc/my notes.txt")
        answer = client.post("/uploads", data={"file": file})
        assert (answer.status_code, answer.location) == (201, "/uploads/etc_my_notes.txt")
        kept = client.get(answer.location)
        assert kept.data == content
        assert kept.headers["Content-Disposition"].startswith("attachment")
        kept.close()
    for data in ({}, {"file": "text"}, {"file": FileStorage(io.BytesIO(b"x"), filename="..")}):
        assert client.post("/uploads", data=data).status_code == 400


def test_an_error_says_that_it_is_in_the_log(app: Any) -> None:
    app.add_url_rule("/broken", view_func=lambda: 1 / 0)
    client = app.test_client()
    page = client.get("/broken")
    assert page.status_code == 500
    assert b"Something broke here." in page.data
    assert client.get("/broken", headers=JSON).json["status"] == 500


def test_page_and_its_static_files(client: Any) -> None:
    page = client.get("/").text
    for name in ("style.css", "logo.svg"):
        assert f"/static/{name}" in page
        file = client.get(f"/static/{name}")
        assert file.status_code == 200
        file.close()
