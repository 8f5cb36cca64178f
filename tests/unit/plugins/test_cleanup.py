"""Which releases and environments are kept, and what the removal of an app leaves."""

from __future__ import annotations

import dataclasses
import os
import shutil
import stat
from pathlib import Path

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._release import release as _release
from ansible_collections.flask_ops.production.plugins.module_utils._release.cleanup import (
    mark_live,
    obsolete,
    remove_app,
    unused_environments,
)
from ansible_collections.flask_ops.production.plugins.module_utils._release.release import Release

from tests.unit.plugins.releases import ROOT_ONLY, app, releases


def obsolete_names(release: Release) -> set[str]:
    return {Path(path).name for path in obsolete(release)}


@pytest.mark.parametrize(
    ("keep", "expected"), [(0, {"a", "b", "c"}), (1, {"a", "b"}), (2, {"a"}), (3, set()), (100, set())]
)
def test_the_newest_are_kept(tmp_path: Path, keep: int, expected: set[str]):
    assert obsolete_names(releases(tmp_path, "a", "b", "c", "new", keep=keep)) == expected


def test_current_previous_and_new_are_kept_however_old_and_besides_the_others(tmp_path: Path):
    release = releases(tmp_path, "new", "previous", "current", "a", "b", "c", keep=1)
    new = dataclasses.replace(release, id="new")
    for name in ("current", "previous"):
        (tmp_path / name).symlink_to(f"releases/{name}")
    assert obsolete_names(dataclasses.replace(new, app=app(tmp_path, keep=2))) == {"a", "b"}
    assert obsolete_names(dataclasses.replace(new, app=app(tmp_path, keep=0))) == {"a", "b", "c"}


def test_releases_that_failed_do_not_push_out_one_that_was_in_traffic(tmp_path: Path):
    release = releases(tmp_path, "good", "before", "now", "bad", "worse", "new", keep=2)
    for name in ("good", "before"):
        (tmp_path / "releases" / name / ".live").touch()
    assert obsolete_names(release) == {"now", "bad", "worse"}


def test_what_is_current_or_previous_is_remembered_as_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_release, "write", lambda path, *rest: Path(path).touch())
    release = releases(tmp_path, "a", "previous", "current", "new")
    for name in ("previous", "current"):
        (tmp_path / name).symlink_to(f"releases/{name}")
        python = tmp_path / "releases" / name / "venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.touch()
    mark_live(release.app)
    assert {path.parent.name for path in (tmp_path / "releases").glob("*/.live")} == {"previous", "current"}


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_after_the_switch_nothing_is_left_to_delete(tmp_path: Path, keep: int):
    """Or else the run after a deploy would change something."""
    new = releases(tmp_path, "a", "b", "c", "d", "previous", "current", "new", keep=keep)
    for name in ("current", "previous"):
        (tmp_path / name).symlink_to(f"releases/{name}")
    for path in obsolete(new):
        shutil.rmtree(path)
    for name, target in {"current": "new", "previous": "current"}.items():
        (tmp_path / name).unlink()
        (tmp_path / name).symlink_to(f"releases/{target}")
    assert obsolete(new) == []
    assert len(list((tmp_path / "releases").iterdir())) == 2 + keep


def test_half_built_releases_go_but_for_the_new_one(tmp_path: Path):
    release = releases(tmp_path, "-half", "a", "new", keep=5)
    (tmp_path / "releases" / "new" / ".complete").unlink()
    assert obsolete_names(release) == {"half"}


def test_an_environment_goes_when_no_release_links_to_it(tmp_path: Path):
    for name in ("used", "unused"):
        (tmp_path / "environments" / name).mkdir(parents=True)
    (tmp_path / "releases" / "r1").mkdir(parents=True)
    (tmp_path / "releases" / "r1" / "venv").symlink_to("../../environments/used")
    found = unused_environments(app(root=str(tmp_path)), [str(tmp_path / "releases" / "r1")])
    assert found == [str(tmp_path / "environments" / "unused")]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    root = tmp_path / "shop"
    releases(root, "a")
    (root / ".build").mkdir()
    (root / "shared").mkdir()
    (root / "shared" / "data").touch()
    (root / "current").symlink_to("releases/a")
    return root


def test_the_releases_go_and_with_purge_the_data_and_the_second_time_is_no_change(home: Path):
    assert remove_app(app(home), purge=True, check_mode=True)
    assert sorted(path.name for path in home.iterdir()) == [".build", "current", "releases", "shared"]
    assert remove_app(app(home), purge=True)
    assert not home.exists()
    assert not remove_app(app(home), purge=True)


@ROOT_ONLY
def test_the_data_is_kept_for_root_alone(home: Path):
    os.chown(home / "shared", 1234, 1234)
    assert remove_app(app(home), purge=False)
    assert [path.name for path in home.iterdir()] == ["shared"]
    info = (home / "shared").stat()
    assert (info.st_uid, stat.S_IMODE(info.st_mode)) == (0, 0o700)
    assert not remove_app(app(home), purge=False)


@ROOT_ONLY
def test_what_an_administrator_put_there_is_kept(home: Path):
    (home / "notes.txt").touch()
    assert remove_app(app(home), purge=True)
    assert [path.name for path in home.iterdir()] == ["notes.txt"]
