"""When a rollback is warned of that goes behind a migration."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._release.migrations import (
    migration_files,
    rollback_warnings,
)
from ansible_collections.flask_ops.production.plugins.module_utils._release.release import Release

from tests.unit.plugins.releases import app


def two_releases(root: Path, first: tuple[str, ...], second: tuple[str, ...], live: str, other: str) -> list[str]:
    """The warnings of a change from one of two releases, migrated one after the other, to the other one."""
    described = app(root, migrate="flask db upgrade")
    for age, (name, files) in enumerate((("r1", first), ("r2", second))):
        code = root / "releases" / name / "app"
        for file in files:
            (code / file).parent.mkdir(parents=True, exist_ok=True)
            (code / file).touch()
        code.mkdir(parents=True, exist_ok=True)
        (code.parent / ".migrated").touch()
        os.utime(code.parent / ".migrated", (1_000_000 + age, 1_000_000 + age))
    (root / "current").symlink_to(f"releases/{live}")
    return rollback_warnings(Release(described, other, "", ""))


ALEMBIC = ("migrations/versions/a.py", "migrations/versions/b.py")


@pytest.mark.parametrize(
    ("first", "second", "warns"),
    [
        (ALEMBIC[:1], ALEMBIC, True),
        (ALEMBIC, ALEMBIC, False),
        (ALEMBIC, ALEMBIC[:1], False),
        ((), (), True),
        ((), ALEMBIC, True),
        (("shop/migrations/0001.py",), ("shop/migrations/0001.py", "shop/migrations/0002.py"), True),
    ],
)
def test_only_the_way_back_behind_a_migration_is_warned_of(
    tmp_path: Path, first: tuple[str, ...], second: tuple[str, ...], warns: bool
):
    assert bool(two_releases(tmp_path / "back", first, second, "r2", "r1")) == warns
    assert two_releases(tmp_path / "forth", first, second, "r1", "r2") == []


def test_no_link_is_followed_to_migrations(tmp_path: Path):
    code, shared = tmp_path / "releases" / "r1" / "app", tmp_path / "shared"
    (code / "migrations" / "versions").mkdir(parents=True)
    (code / "migrations" / "versions" / "a.py").touch()
    (shared / "versions").mkdir(parents=True)
    (shared / "versions" / "evil.py").touch()
    for name in "abc":
        (shared / name).symlink_to(".")
    (code / "data").symlink_to(shared)
    assert migration_files(Release(app(tmp_path), "r1", "", "")) == {"migrations/versions/a.py"}
