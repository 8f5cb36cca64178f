"""Files and directories are written and replaced in one step, with the same modes under every umask."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import (
    ensure_directory,
    link,
    make_directories,
    remove,
    set_umask,
    write,
)

ME = {"owner": pwd.getpwuid(os.geteuid()).pw_name, "group": grp.getgrgid(os.getegid()).gr_name}


def test_a_reader_sees_the_old_text_or_the_new_one(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("old")
    with path.open() as reader:
        write(str(path), b"new", 0o644, ME["owner"], ME["group"])
        assert reader.read() == "old", "the file was written over, not replaced"
    assert path.read_text() == "new"


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path):
    with pytest.raises(KeyError):
        write(str(tmp_path / "file"), b"", 0o644, "no-such-user-0", ME["group"])
    assert not list(tmp_path.iterdir())


def test_a_link_is_replaced_at_once_and_what_an_interrupted_run_left_is_no_obstacle(tmp_path: Path):
    (tmp_path / f".flask-ops-new.{os.getpid()}.link").symlink_to("left behind")
    for target in ("one", "two"):
        link(str(tmp_path / "link"), target)
        assert str((tmp_path / "link").readlink()) == target
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_two_processes_that_replace_a_link_are_not_in_each_others_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rename = os.rename

    def rename_late(old: str, new: str) -> None:
        monkeypatch.setattr(os, "rename", rename)
        monkeypatch.setattr(os, "getpid", lambda: 1)
        link(str(tmp_path / "link"), "of the other")
        rename(old, new)

    monkeypatch.setattr(os, "rename", rename_late)
    link(str(tmp_path / "link"), "of this one")
    assert str((tmp_path / "link").readlink()) == "of this one"
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_removing_a_link_spares_what_it_points_to(tmp_path: Path):
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("directory")
    remove(str(tmp_path / "link"))
    remove(str(tmp_path / "nothing there"))
    assert [path.name for path in tmp_path.iterdir()] == ["directory"]


def modes(*paths: Path) -> list[int]:
    return [stat.S_IMODE(path.stat().st_mode) for path in paths]


@pytest.mark.usefixtures("umask")
def test_a_new_directory_and_its_parents_have_the_same_modes_under_every_umask(tmp_path: Path):
    ensure_directory(str(tmp_path / "a" / "b" / "c"), 0o750)
    assert modes(tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c") == [0o755, 0o755, 0o750]


@pytest.mark.usefixtures("umask")
def test_a_directory_that_an_earlier_run_left_closed_is_opened(tmp_path: Path):
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o700)
    ensure_directory(str(closed))
    assert modes(closed) == [0o755]


def test_a_directory_that_is_only_made_where_it_is_missing_keeps_its_mode(tmp_path: Path):
    tmp_path.chmod(0o710)
    make_directories(str(tmp_path))
    make_directories(str(tmp_path / "new"))
    assert modes(tmp_path, tmp_path / "new") == [0o710, 0o755]


def test_a_file_in_the_place_of_a_directory_is_an_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        ensure_directory(str(tmp_path / "file"))


@pytest.mark.usefixtures("umask")
def test_what_a_module_makes_without_a_mode_is_readable(tmp_path: Path):
    set_umask()
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    assert modes(tmp_path / "file", tmp_path / "directory") == [0o644, 0o755]
