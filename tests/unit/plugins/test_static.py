"""Static files: readable, compressed beforehand, told apart by their time, and there for a while after a deploy."""

from __future__ import annotations

import gzip
import os
import stat
import time
from pathlib import Path

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._release import static as _static
from ansible_collections.flask_ops.production.plugins.module_utils._release.static import keep_static, publish_static

STYLE = "body { color: #000; }\n" * 100


@pytest.fixture(autouse=True)
def brotli(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine may lack the program; the scenarios have it."""

    def run(command: list[str]) -> None:
        (output,) = [word.removeprefix("--output=") for word in command if word.startswith("--output=")]
        Path(output).write_bytes(b"brotli")

    monkeypatch.setattr(_static, "run", run)


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    directory = tmp_path / "origin"
    (directory / "css").mkdir(parents=True, mode=0o700)
    (directory / "css" / "style.css").write_text(STYLE)
    (directory / "small.css").write_text("body {}")
    (directory / "logo.png").write_bytes(os.urandom(2000))
    (directory / "style.css").symlink_to("/etc/passwd")
    (directory / "etc").symlink_to("/etc")
    return directory


def names(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir())


def test_what_can_be_made_smaller_is_there_compressed_and_no_link_out_of_the_tree_is(origin: Path, tmp_path: Path):
    assert publish_static(str(origin), str(tmp_path / "static")) == ["etc", "style.css"]
    assert names(tmp_path / "static") == [
        "css/style.css", "css/style.css.br", "css/style.css.gz", "logo.png", "small.css",
    ]  # fmt: skip
    assert gzip.decompress((tmp_path / "static" / "css" / "style.css.gz").read_bytes()).decode() == STYLE


def test_a_link_that_stays_within_the_tree_becomes_a_copy_and_any_other_is_reported(tmp_path: Path):
    origin = tmp_path / "origin"
    (origin / "vendor-1.2" / "fonts").mkdir(parents=True)
    (origin / "vendor-1.2" / "fonts" / "a.woff2").write_text("font")
    (tmp_path / "origin-else").mkdir()
    (tmp_path / "origin-else" / "secret").write_text("secret")
    links = {
        "vendor": "vendor-1.2", "latest.woff2": "vendor-1.2/fonts/a.woff2", "twice": "vendor", "absolute": str(origin / "vendor-1.2"),
        "passwd": "/etc/passwd", "else": "../origin-else", "up": "..", "self": ".", "nowhere": "missing", "loop": "loop",
        "vendor-1.2/fonts/back": "../..", "vendor-1.2/again": "fonts",
    }  # fmt: skip
    for link, target in links.items():
        (origin / link).symlink_to(target)
    left_out = publish_static(str(origin), str(tmp_path / "static"))
    fonts = [f"{top}/fonts/a.woff2" for top in ("absolute", "twice", "vendor", "vendor-1.2")]
    assert names(tmp_path / "static") == sorted([*fonts, "latest.woff2", "vendor-1.2/again/a.woff2"])
    assert not [path for path in (tmp_path / "static").rglob("*") if path.is_symlink()]
    assert sorted(left_out) == [
        "else", "loop", "nowhere", "passwd", "self", "up", "vendor-1.2/again", "vendor-1.2/fonts/back",
    ]  # fmt: skip


def test_a_few_links_do_not_make_very_many_copies(tmp_path: Path):
    origin = tmp_path / "origin"
    for level in range(8):
        (origin / f"d{level}").mkdir(parents=True)
        for number in range(8):
            (origin / f"d{level}" / f"l{number}").symlink_to(f"../d{level + 1}")
    (origin / "d8").mkdir()
    (origin / "d8" / "file").write_text("x")
    publish_static(str(origin), str(tmp_path / "static"))
    assert len(names(tmp_path / "static")) < 20


def test_what_the_app_compressed_itself_stays(origin: Path, tmp_path: Path):
    (origin / "css" / "style.css.br").write_bytes(b"own")
    publish_static(str(origin), str(tmp_path / "static"))
    assert (tmp_path / "static" / "css" / "style.css.br").read_bytes() == b"own"


def test_the_web_server_may_read_all_of_it(origin: Path, tmp_path: Path):
    (origin / "css" / "style.css").chmod(0o600)
    publish_static(str(origin), str(tmp_path / "static"))
    for path in (tmp_path / "static").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644)


def test_time_tells_content_and_nothing_else(origin: Path, tmp_path: Path):
    for release in ("a", "b"):
        os.utime(origin / "small.css", (1, 1))
        publish_static(str(origin), str(tmp_path / release))
        (origin / "css" / "style.css").write_text(STYLE.replace("#000", "#fff"))
    first, second = (tmp_path / "a", tmp_path / "b")
    assert (first / "small.css").stat().st_mtime == (second / "small.css").stat().st_mtime
    for name in ("css/style.css", "css/style.css.br"):
        before, after = (first / name).stat(), (second / name).stat()
        assert before.st_size == after.st_size
        assert before.st_mtime != after.st_mtime


def release(directory: Path, *files: str) -> Path:
    for file in files:
        (directory / file).parent.mkdir(parents=True, exist_ok=True)
        (directory / file).write_text(directory.name)
    return directory


def test_files_stay_through_two_deploys_within_the_time(tmp_path: Path):
    old = tmp_path / "old"
    for name in ("first", "second"):
        keep_static(str(release(tmp_path / name, f"app.{name}.js", "style.css")), str(old), 3600)
    assert names(old) == ["app.first.js", "app.second.js", "style.css"]
    assert (old / "style.css").read_text() == "second"


def test_files_go_when_they_were_kept_long_enough(tmp_path: Path):
    old = tmp_path / "old"
    keep_static(str(release(tmp_path / "first", "js/app.first.js")), str(old), 3600)
    past = time.time() - 3601
    os.utime(old / "js" / "app.first.js", (past, past))
    keep_static(str(release(tmp_path / "second", "app.second.js")), str(old), 3600)
    assert [path.name for path in old.iterdir()] == ["app.second.js"]


def test_a_file_that_is_still_in_traffic_is_kept_anew(tmp_path: Path):
    old, current = tmp_path / "old", release(tmp_path / "first", "style.css")
    keep_static(str(current), str(old), 3600)
    os.utime(old / "style.css", (1, 1))
    keep_static(str(current), str(old), 3600)
    assert names(old) == ["style.css"]


def test_nothing_is_kept_of_an_app_without_static_files(tmp_path: Path):
    keep_static(str(tmp_path / "missing"), str(tmp_path / "old"), 3600)
    assert not (tmp_path / "old").exists()


def test_a_directory_and_a_file_of_one_name_do_not_meet(tmp_path: Path):
    old = tmp_path / "old"
    keep_static(str(release(tmp_path / "first", "a/b.js", "c")), str(old), 3600)
    keep_static(str(release(tmp_path / "second", "a", "c/d.js")), str(old), 3600)
    assert names(old) == ["a/b.js", "c"]
