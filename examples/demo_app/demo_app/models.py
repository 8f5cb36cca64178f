# SPDX-License-Identifier: GPL-3.0-or-later
"""The database: one table, its migrations, and whether they have been applied."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """What every model is made of."""


db = SQLAlchemy(model_class=Base)
migrate = Migrate(render_as_batch=True)  # SQLite alters a table by copying it


class Note(db.Model):  # type: ignore[name-defined]
    """One line of text that somebody left."""

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    created: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))


def init_database(app: Flask, root: Path) -> None:
    """Connect ``app`` to its database: SQLite in ``data/`` unless configured."""
    if "SQLALCHEMY_DATABASE_URI" not in app.config:
        data = root / "data"
        data.mkdir(exist_ok=True)
        app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{data / 'demo.sqlite3'}"
    db.init_app(app)
    migrate.init_app(app, db, directory=str(root / "migrations"))
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            event.listen(db.engine, "connect", _share_sqlite)


def _share_sqlite(connection: Any, _record: object) -> None:
    """Let several processes read and write at once, each waiting for its turn."""
    connection.execute("PRAGMA busy_timeout = 10000")  # first: the next one may wait
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


@functools.cache
def _revisions(directory: str) -> tuple[str | None, frozenset[str]]:
    """Return this release's newest migration, and all that it knows."""
    scripts = ScriptDirectory(directory)
    known = frozenset(script.revision for script in scripts.walk_revisions())
    return scripts.get_current_head(), known


def missing_migration(engine: Engine, directory: str) -> str | None:
    """Say why ``engine``'s schema is too old for this release, or None if it is not.

    A revision that this release does not know comes from a newer one. That is fine:
    while a deploy is under way, and after a rollback, old code meets a new schema.
    """
    head, known = _revisions(directory)
    with engine.connect() as connection:
        applied = set(MigrationContext.configure(connection).get_current_heads())
    if not applied:
        return "the database was never migrated"
    if head in applied or applied - known:
        return None
    return f"the database is at {', '.join(sorted(applied))}, this release needs {head}"
