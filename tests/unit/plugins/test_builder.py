"""The steps of a build that need no unit, and what becomes root's."""

from __future__ import annotations

import grp
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import remove
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import ReleaseError
from ansible_collections.flask_ops.production.plugins.module_utils._release.builder import Builder, hidden_files
from ansible_collections.flask_ops.production.plugins.module_utils._release.ownership import transfer_to_root
from ansible_collections.flask_ops.production.plugins.module_utils._release.release import Release

from tests.unit.plugins.releases import ROOT_ONLY, app, static


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], ""),
        ([".gitkeep"], ""),
        (["seed.csv", "a/b.txt", "c", "d"], "with 4 files (a/b.txt, c, d, ...), which the app does not see"),
    ],
)
def test_files_of_the_source_where_the_app_is_to_write_are_named(
    build_of: Any, tmp_path: Path, names: list[str], words: str
):
    for name in names:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).touch()
    found = hidden_files(build_of(app(tmp_path)), str(tmp_path / "data"), "shop: shared_paths: data")
    assert [words in warning for warning in found] == ([True] if words else [])


def test_links_among_static_files_that_are_not_followed_are_named(tmp_path: Path):
    folder = tmp_path / "releases" / "r1" / "app" / "static"
    folder.mkdir(parents=True)
    (folder / "out").symlink_to("/etc/hostname")
    (folder / "app.js").write_text("x")
    (folder / "same.js").symlink_to("app.js")
    builder = Builder(Release(app(tmp_path, static=static("static")), "r1", "", ""))
    builder._collect_static()
    (warning,) = builder.warnings
    assert warning.startswith("shop: static.path: out is a link that nginx does not follow")
    assert (tmp_path / "releases" / "r1" / "static" / "same.js").read_text() == "x"


@pytest.mark.parametrize("path", ["shop/static", "shop"])
def test_static_files_that_the_app_writes_are_refused_by_name(tmp_path: Path, path: str):
    described = app(tmp_path, static=static("shop/static"), shared_paths=(path,))
    with pytest.raises(ReleaseError, match=f"static.path: shop/static is in shared_paths.*Take {path} out of"):
        Builder(Release(described, "r1", "", ""))._collect_static()


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A tree as a build leaves it, with links that lead out of it."""
    top = tmp_path / "built"
    (top / "package").mkdir(parents=True)
    (top / "package" / "module.py").write_text("x = 1")
    (top / "package" / "module.py").chmod(0o666)
    (top / "tool").write_text("#!/bin/sh")
    (top / "tool").chmod(0o4777)
    (tmp_path / "outside").mkdir(mode=0o711)
    (tmp_path / "outside" / "file").write_text("not ours")
    (tmp_path / "outside" / "file").chmod(0o604)
    (top / "link").symlink_to("../outside/file")
    (top / "directory-link").symlink_to("../outside")
    return top


@ROOT_ONLY
def test_a_built_tree_becomes_roots_and_is_not_writable_by_the_group(built: Path):
    gid = grp.getgrnam("daemon").gr_gid
    for path in [built, *built.rglob("*")]:
        os.chown(path, 1234, 5678, follow_symlinks=False)
    transfer_to_root(str(built), "daemon")
    found = {path: path.lstat() for path in [built, *built.rglob("*")]}
    assert {(info.st_uid, info.st_gid) for info in found.values()} == {(0, gid)}
    modes = {path.name: stat.S_IMODE(info.st_mode) for path, info in found.items() if not path.is_symlink()}
    assert modes == {"built": 0o750, "package": 0o750, "module.py": 0o640, "tool": 0o4777 & 0o750}


@ROOT_ONLY
def test_what_links_lead_to_is_not_handed_over(built: Path):
    outside = built.parent / "outside"
    before = [(path.stat().st_mode, path.stat().st_gid) for path in (outside, outside / "file")]
    transfer_to_root(str(built), "daemon")
    assert [(path.stat().st_mode, path.stat().st_gid) for path in (outside, outside / "file")] == before


@ROOT_ONLY
def test_a_link_in_the_place_of_the_tree_is_refused(built: Path):
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        transfer_to_root(str(built / "directory-link"), "daemon")


@ROOT_ONLY
def test_a_tree_of_any_depth_is_handed_over_and_removed(tmp_path: Path):
    here = os.open(tmp_path, os.O_RDONLY)
    for _level in range(3000):
        os.mkdir("nested", dir_fd=here)
        below = os.open("nested", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    transfer_to_root(str(tmp_path / "nested"), "daemon")
    assert (tmp_path / "nested" / "nested").stat().st_gid == grp.getgrnam("daemon").gr_gid
    remove(str(tmp_path / "nested"))
    assert not (tmp_path / "nested").exists()
