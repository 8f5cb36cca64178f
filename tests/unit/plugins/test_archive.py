"""The archive of a source depends on what is in it, and on nothing else."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.flask_ops.production.plugins.plugin_utils._release.archive import (
    IGNORED,
    checksum,
    members,
    pack,
)


def source(top: Path) -> Path:
    (top / "shop" / "templates").mkdir(parents=True)
    (top / "shop" / "__init__.py").write_text("app = None\n")
    (top / "shop" / "templates" / "größe.html").write_text("<p>")
    (top / "run.sh").write_text("#!/bin/sh\n")
    (top / "run.sh").chmod(0o755)
    (top / "latest").symlink_to("shop")
    (top / "dangling").symlink_to("nowhere")
    return top


CONTENTS = ["dangling", "latest", "run.sh", "shop/__init__.py", "shop/templates/größe.html"]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return source(tmp_path / "shop")


def git(directory: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    subprocess.run(["git", *identity, *arguments], cwd=directory, check=True, capture_output=True)


def unpacked(shop: Path, archive: Path) -> dict[str, tarfile.TarInfo]:
    pack(str(shop), str(archive))
    with tarfile.open(archive) as stream:
        return {info.name: info for info in stream.getmembers()}


def test_the_checksum_is_that_of_the_packed_archive(shop: Path, tmp_path: Path):
    pack(str(shop), str(tmp_path / "archive.tar"))
    assert checksum(str(shop)) == hashlib.sha256((tmp_path / "archive.tar").read_bytes()).hexdigest()


def touched(shop: Path) -> None:
    os.utime(shop / "run.sh", (1, 1))


def without_group_rights(shop: Path) -> None:
    (shop / "run.sh").chmod(0o700)
    (shop / "shop" / "__init__.py").chmod(0o600)
    (shop / "shop").chmod(0o700)


def given_away(shop: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    for path in [shop, *shop.rglob("*")]:
        os.chown(path, 1234, 5678, follow_symlinks=False)


def with_leftovers(shop: Path) -> None:
    for name in IGNORED:
        if name.startswith(".env") or name == ".DS_Store":
            (shop / "shop" / name).write_text("SECRET=canary")
        else:
            (shop / "shop" / name).mkdir()
            (shop / "shop" / name / "file").write_text("x")
    (shop / "empty").mkdir()


def linked_twice(shop: Path) -> None:
    """The same content, but one file under two names, as a deduplicating backup leaves it."""
    (shop / "shop" / "__init__.py").unlink()
    (shop / "other").write_text("app = None\n")
    os.link(shop / "other", shop / "shop" / "__init__.py")
    (shop / "other").rename(shop.parent / "outside")


@pytest.mark.parametrize("change", [touched, without_group_rights, given_away, with_leftovers, linked_twice])
def test_the_checksum_does_not_depend_on(shop: Path, change: Callable[[Path], None]):
    before = checksum(str(shop))
    change(shop)
    assert checksum(str(shop)) == before


def test_the_checksum_does_not_depend_on_where_the_source_is(tmp_path: Path):
    umask = os.umask(0o077)
    try:
        elsewhere = source(tmp_path / "elsewhere")
    finally:
        os.umask(umask)
    assert checksum(str(source(tmp_path / "here"))) == checksum(str(elsewhere))


def edited(shop: Path) -> None:
    (shop / "run.sh").write_text("#!/bin/bash\n")


def renamed(shop: Path) -> None:
    (shop / "run.sh").rename(shop / "start.sh")


def not_executable(shop: Path) -> None:
    (shop / "run.sh").chmod(0o644)


def linked_elsewhere(shop: Path) -> None:
    (shop / "latest").unlink()
    (shop / "latest").symlink_to("run.sh")


@pytest.mark.parametrize("change", [edited, renamed, not_executable, linked_elsewhere])
def test_the_checksum_changes_with(shop: Path, change: Callable[[Path], None]):
    before = checksum(str(shop))
    change(shop)
    assert checksum(str(shop)) != before


def test_everything_but_leftovers_is_packed_where_git_tracks_nothing(shop: Path):
    with_leftovers(shop)
    assert members(shop) == CONTENTS


def test_only_what_git_tracks_is_packed(shop: Path):
    git(shop, "init", "--quiet")
    git(shop, "add", ".")
    git(shop, "commit", "--quiet", "--message", "first")
    (shop / "notes.txt").write_text("not tracked")
    (shop / ".env").write_text("SECRET=canary")
    git(shop, "add", "--force", ".env")
    git(shop, "rm", "--quiet", "--cached", ".env")
    assert members(shop) == CONTENTS
    (shop / "run.sh").unlink()
    assert "run.sh" not in members(shop), "deleted, though git still tracks it"


def test_a_repository_that_git_does_not_list_is_refused(shop: Path, monkeypatch: pytest.MonkeyPatch):
    git(shop, "init", "--quiet")
    with pytest.raises(ValueError, match=r"git tracks no file in .*; 'git add' what belongs to the app"):
        members(shop)
    (shop / ".git" / "HEAD").unlink()
    with pytest.raises(ValueError, match=r"git does not list what it tracks in .*: fatal: not a git repository"):
        members(shop)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ValueError, match="git is not installed on the controller"):
        members(shop)


def test_submodules_are_packed(shop: Path, tmp_path: Path):
    part = tmp_path / "part"
    part.mkdir()
    (part / "part.py").write_text("")
    for top in (part, shop):
        git(top, "init", "--quiet")
        git(top, "add", ".")
        git(top, "commit", "--quiet", "--message", "first")
    git(shop, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(part), "part")
    assert "part/part.py" in members(shop)


def test_a_part_of_a_repository_is_packed_from_its_own_top(shop: Path):
    git(shop, "init", "--quiet")
    git(shop, "add", ".")
    assert members(shop / "shop") == ["__init__.py", "templates/größe.html"]


def test_git_or_not_the_same_files_are_the_same_release(shop: Path):
    before = checksum(str(shop))
    git(shop, "init", "--quiet")
    git(shop, "add", ".")
    assert checksum(str(shop)) == before


def test_links_are_packed_as_links_and_nothing_else_is_known_of_this_machine(shop: Path, tmp_path: Path):
    infos = unpacked(shop, tmp_path / "archive.tar")
    assert list(infos) == CONTENTS
    assert {name: info.linkname for name, info in infos.items() if info.issym()} == {
        "dangling": "nowhere",
        "latest": "shop",
    }
    assert {name for name, info in infos.items() if info.mode & 0o100 and info.isreg()} == {"run.sh"}
    assert {(info.mtime, info.uid, info.gid, info.uname, info.gname) for info in infos.values()} == {
        (315532800, 0, 0, "", "")
    }


def test_a_file_with_two_names_is_packed_twice(shop: Path, tmp_path: Path):
    os.link(shop / "run.sh", shop / "zz.sh")
    pack(str(shop), str(tmp_path / "archive.tar"))
    with tarfile.open(tmp_path / "archive.tar") as archive:
        contents = [archive.extractfile(name) for name in ("run.sh", "zz.sh")]
        assert [content.read() if content else None for content in contents] == [b"#!/bin/sh\n"] * 2
