"""Files as a transaction: changed together, and reverted to exactly what was there."""

from __future__ import annotations

import dataclasses
import grp
import json
import os
import pwd
import stat
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._host import transaction as _transaction
from ansible_collections.flask_ops.production.plugins.module_utils._host.transaction import Entry, State, Transaction
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.files import described
from hypothesis import given
from hypothesis import strategies as st

# A user who is not root cannot change the owner of a file.
ME = {"owner": pwd.getpwuid(os.geteuid()).pw_name, "group": grp.getgrgid(os.getegid()).gr_name}
NOBODY_KNOWN = "no-such-user-0"


def entry(path: Path | str, kind: str = "file", **rest: Any) -> Entry:
    return Entry(str(path), kind, **{"mode": 0o755 if kind == "directory" else 0o644, **ME, **rest})


def apply(*entries: Entry) -> list[str]:
    """Apply entries; return the paths that were changed."""
    transaction = Transaction(list(entries))
    changed = [change.entry.dest for change in transaction.plan()]
    transaction.apply()
    transaction.commit()
    return changed


def tree(top: Path) -> dict[str, tuple[Any, ...]]:
    """Everything below a directory that a user could see."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in [top, *sorted(top.rglob("*"))]:
        info = path.lstat()
        content: bytes | Path | None = path.read_bytes() if stat.S_ISREG(info.st_mode) else None
        if path.is_symlink():
            content = path.readlink()
        found[str(path.relative_to(top))] = (stat.filemode(info.st_mode), info.st_uid, info.st_gid, content)
    return found


def put(path: Path, kind: str) -> None:
    """Something of a kind, as an administrator could have left it."""
    if kind == "file":
        path.write_text("old")
        path.chmod(0o640)
    elif kind == "directory":
        path.mkdir(mode=0o711)
        (path / "inside").write_text("kept only if the directory is")
    elif kind == "link":
        path.symlink_to("nowhere")
    elif kind == "special":
        os.mkfifo(path)


WANTED: dict[str, dict[str, Any]] = {
    "file": {"content": b"new", "mode": 0o600},
    "directory": {"mode": 0o750},
    "link": {"target": "elsewhere"},
    "absent": {},
}


# --- every kind from every kind ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["absent", "file", "directory", "link", "special"])
@pytest.mark.parametrize("wanted", WANTED)
def test_every_kind_becomes_every_kind(tmp_path: Path, before: str, wanted: str):
    path = tmp_path / "path"
    put(path, before)
    target = entry(path, wanted, **WANTED[wanted])
    assert apply(target) == ([] if before == wanted == "absent" else [str(path)])
    assert State.read(str(path)).satisfies(target)
    assert apply(target) == [], "a second time is no change"
    assert {item.name for item in tmp_path.iterdir()} <= {"path"}, "nothing is left aside"


@pytest.mark.parametrize("before", ["absent", "file", "directory", "link", "special"])
@pytest.mark.parametrize("wanted", WANTED)
def test_every_kind_is_put_back(tmp_path: Path, before: str, wanted: str):
    put(tmp_path / "path", before)
    was = tree(tmp_path)
    transaction = Transaction([entry(tmp_path / "path", wanted, **WANTED[wanted])])
    transaction.plan()
    transaction.apply()
    assert tree(tmp_path) != was or before == wanted == "absent"
    transaction.revert()
    assert tree(tmp_path) == was


def test_planning_changes_nothing(tmp_path: Path):
    was = tree(tmp_path)
    assert len(Transaction([entry(tmp_path / "a"), entry(tmp_path / "b", "directory")]).plan()) == 2
    assert tree(tmp_path) == was


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o755, 0o2750])
def test_the_mode_is_exactly_the_wanted_one_whatever_the_umask(tmp_path: Path, mode: int):
    umask = os.umask(0o077)
    try:
        apply(entry(tmp_path / "file", mode=mode), entry(tmp_path / "directory", "directory", mode=mode))
    finally:
        os.umask(umask)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("file", "directory")] == [mode, mode]


@pytest.mark.parametrize(
    "difference", [{"content": b"other"}, {"mode": 0o600}, {"owner": "other"}, {"group": "other"}, {"kind": "link"}]
)
def test_each_difference_is_noticed(tmp_path: Path, difference: dict[str, Any]):
    wanted = entry(tmp_path / "file", content=b"text")
    apply(wanted)
    assert not State.read(wanted.dest).satisfies(dataclasses.replace(wanted, **difference))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owners_are_set_and_put_back_even_where_nobody_has_that_number(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("old")
    os.chown(path, 54321, 54322)
    transaction = Transaction([entry(path, content=b"new")])
    transaction.plan()
    transaction.apply()
    assert path.stat().st_uid == os.geteuid()
    transaction.revert()
    assert (path.stat().st_uid, path.stat().st_gid) == (54321, 54322)


# --- several entries together --------------------------------------------------------------------------------------------


def test_a_directory_comes_before_what_it_holds(tmp_path: Path):
    apply(entry(tmp_path / "a", "directory"), entry(tmp_path / "a/b", "directory"), entry(tmp_path / "a/b/c"))
    assert (tmp_path / "a/b/c").is_file()


def test_a_tree_goes_with_all_that_is_in_it_also_when_its_parts_are_named(tmp_path: Path):
    put(tmp_path / "a", "directory")
    apply(entry(tmp_path / "a", "absent"), entry(tmp_path / "a/inside", "absent"))
    assert not list(tmp_path.iterdir())


def test_what_was_seen_through_a_link_is_made_anew_where_a_directory_replaces_it(tmp_path: Path):
    put(tmp_path / "elsewhere", "directory")
    (tmp_path / "a").symlink_to("elsewhere")
    inside = entry(tmp_path / "a/inside", content=(tmp_path / "a/inside").read_bytes())
    (tmp_path / "a/inside").chmod(inside.mode)
    wanted = [entry(tmp_path / "a", "directory"), inside]
    apply(*wanted)
    assert all(State.read(each.dest).satisfies(each) for each in wanted)


def test_an_error_in_the_middle_takes_everything_back(tmp_path: Path):
    put(tmp_path / "file", "file")
    put(tmp_path / "directory", "directory")
    was = tree(tmp_path)
    transaction = Transaction(
        [
            entry(tmp_path / "file", content=b"new"),
            entry(tmp_path / "directory", "absent"),
            entry(tmp_path / "fresh", "directory"),
            entry(tmp_path / "fresh/file"),
            entry(tmp_path / "missing/file"),
        ]
    )
    transaction.plan()
    with pytest.raises(FileNotFoundError):
        transaction.apply()
    assert tree(tmp_path) == was


@pytest.mark.parametrize("kind", ["file", "directory"])
@pytest.mark.parametrize("before", ["absent", "file", "directory", "link"])
def test_an_owner_that_does_not_exist_changes_nothing(tmp_path: Path, kind: str, before: str):
    put(tmp_path / "path", before)
    was = tree(tmp_path)
    transaction = Transaction([entry(tmp_path / "path", kind, owner=NOBODY_KNOWN)])
    transaction.plan()
    with pytest.raises(KeyError, match=NOBODY_KNOWN):
        transaction.apply()
    assert tree(tmp_path) == was


def test_what_a_killed_run_left_behind_is_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It may hold secrets. Of others, only what is old: they may be at work."""
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "secrets.json").write_text("canary")
    killed = Transaction([entry(tmp_path / "gone", "absent")])
    killed.apply()  # and no commit
    (tmp_path / ".flask-ops-removed.other").write_text("canary")
    (tmp_path / ".flask-ops-new.a1b2c3").write_text("canary")
    (tmp_path / ".somebody").write_text("else")
    assert (tmp_path / ".flask-ops-removed.gone").exists()
    assert apply(entry(tmp_path / "gone", "absent")) == []
    left = {".flask-ops-removed.other", ".flask-ops-new.a1b2c3", ".somebody"}
    assert {path.name for path in tmp_path.iterdir()} == left
    now = time.time()
    monkeypatch.setattr(_transaction.time, "time", lambda: now + 3700)
    apply(entry(tmp_path / "gone", "absent"), entry(tmp_path / "no" / "such" / "directory", "absent"))
    assert {path.name for path in tmp_path.iterdir()} == {".somebody"}


def test_an_interrupted_run_takes_its_changes_back_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    was = tree(tmp_path)
    transaction = Transaction([entry(tmp_path / "file"), entry(tmp_path / "link", "link", target="x")])
    transaction.plan()

    def interrupt(path: str, target: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_transaction, "link", interrupt)
    with pytest.raises(KeyboardInterrupt):
        transaction.apply()
    assert tree(tmp_path) == was


PATHS = [*"abc", "a/x", "a/y", "b/x", "a/x/deep"]
KINDS = ["absent", "file", "directory", "link"]


@given(
    there=st.dictionaries(st.sampled_from(PATHS), st.sampled_from([*KINDS, "special"])),
    wanted=st.lists(st.tuples(st.sampled_from(PATHS), st.sampled_from(KINDS)), unique_by=lambda pair: pair[0]),
    fails=st.booleans(),
)
def test_after_a_revert_the_tree_is_what_it_was(there: dict[str, str], wanted: list[tuple[str, str]], fails: bool):
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory)
        for name in sorted(there):
            if (top / name).parent.is_dir() and not os.path.lexists(top / name):
                put(top / name, there[name])
        was = tree(top)
        entries = [entry(top / name, kind, **WANTED[kind]) for name, kind in sorted(wanted)]
        transaction = Transaction([*entries, *([entry(top / "missing/file")] if fails else [])])
        transaction.plan()
        try:
            transaction.apply()
        except OSError:
            pass  # it has reverted by itself
        else:
            assert all(State.read(each.dest).satisfies(each) for each in entries if Path(each.dest).parent.is_dir())
            transaction.revert()
        assert tree(top) == was


# --- a touched file ------------------------------------------------------------------------------------------------


def test_what_others_write_into_a_touched_file_stays(tmp_path: Path):
    log = tmp_path / "log"
    wanted = entry(log, "touch", mode=0o640)
    assert apply(wanted) == [str(log)]
    assert (log.read_bytes(), stat.S_IMODE(log.stat().st_mode)) == (b"", 0o640)
    log.write_text("a line\n")
    inode = log.stat().st_ino
    assert apply(wanted) == []
    log.chmod(0o644)
    transaction = Transaction([wanted])
    (change,) = transaction.plan()
    assert "a line" not in str(change.diff())
    assert change.diff()["before"] != change.diff()["after"]
    transaction.apply()
    assert (log.read_text(), stat.S_IMODE(log.stat().st_mode), log.stat().st_ino) == ("a line\n", 0o640, inode)
    transaction.revert()
    assert (log.read_text(), stat.S_IMODE(log.stat().st_mode)) == ("a line\n", 0o644)


# --- what is shown -------------------------------------------------------------------------------------------------------------


def test_the_diff_shows_text_mode_and_owner(tmp_path: Path):
    (tmp_path / "file").write_text("old\n")
    (tmp_path / "file").chmod(0o640)
    (change,) = Transaction([entry(tmp_path / "file", content=b"new\n", mode=0o600)]).plan()
    who = f"{ME['owner']}:{ME['group']}"
    assert change.diff() == {
        "before_header": f"{tmp_path}/file (file 0640 {who})",
        "after_header": f"{tmp_path}/file (file 0600 {who})",
        "before": "old\n",
        "after": "new\n",
    }


@pytest.mark.parametrize("before", ["absent", "file"])
@pytest.mark.parametrize("wanted", ["absent", "file"])
def test_a_secret_is_never_shown(tmp_path: Path, before: str, wanted: str):
    if before == "file":
        (tmp_path / "file").write_text("canary-old")
    secret = entry(tmp_path / "file", wanted, content=b"canary-new", secret=True)
    assert "canary" not in str([change.diff() for change in Transaction([secret]).plan()])


def test_a_link_and_an_absent_file_are_described(tmp_path: Path):
    (change,) = Transaction([entry(tmp_path / "link", "link", target="/there")]).plan()
    assert (change.diff()["before"], change.diff()["after"]) == ("absent\n", "link to /there\n")


# --- from a module's parameters -----------------------------------------------------------------------------------------------


def params(**values: Any) -> dict[str, Any]:
    return {"dest": "/x", "state": "file", **values}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"content": "ä"}, {"content": "ä".encode(), "mode": 0o644}),
        ({"mode": "0600"}, {"mode": 0o600}),
        ({"state": "directory"}, {"kind": "directory", "mode": 0o755}),
        ({"state": "link", "target": "/y"}, {"kind": "link", "target": "/y"}),
        ({"copy_of": "/does/not/exist", "state": "absent"}, {"kind": "absent", "content": b""}),
    ],
)
def test_an_entry_from_parameters(values: dict[str, Any], expected: dict[str, Any]):
    made = Entry.from_params(params(**values))
    assert {key: getattr(made, key) for key in expected} == expected


def test_a_copy_of_a_file_that_a_run_would_change_first_is_announced_as_changed(tmp_path):
    origin = tmp_path / "origin"
    origin.write_text("now")
    same, changes = (
        Entry.from_params(params(copy_of=str(origin), copy_changes=paths)) for paths in (["/other"], [str(origin)])
    )
    assert same.content == b"now"
    assert changes.content != b"now"


def test_a_copy_of_a_file_that_is_missing_is_refused_unless_in_check_mode():
    with pytest.raises(FileNotFoundError, match="/does/not/exist"):
        Entry.from_params(params(copy_of="/does/not/exist"))
    assert Entry.from_params(params(copy_of="/does/not/exist"), must_exist=False).content == b""


def test_a_copy_has_the_content_of_the_other_file(tmp_path: Path):
    (tmp_path / "origin").write_bytes(b"secret")
    made = Entry.from_params(params(copy_of=str(tmp_path / "origin"), secret=True))
    assert (made.content, made.secret) == (b"secret", True)


# --- a directory with these files and no others ---------------------------------------------------------------------------


def bundle(path: Path, **files: str) -> Entry:
    return entry(path, "files", content=json.dumps(files, sort_keys=True).encode(), mode=0o700, secret=True)


def test_a_directory_has_the_given_files_for_its_owner_alone_and_no_others(tmp_path: Path, umask: int):
    place = tmp_path / "credentials"
    assert apply(bundle(place, a="1\n", b="ä\r\n")) == [str(place)]
    assert {path.name: path.read_bytes() for path in place.iterdir()} == {"a": b"1\n", "b": "ä\r\n".encode()}
    assert [stat.S_IMODE(path.stat().st_mode) for path in (place, place / "a", place / "b")] == [0o700, 0o600, 0o600]
    assert apply(bundle(place, a="1\n", b="ä\r\n")) == []
    for changed in ({"a": "1\n"}, {"a": "2\n"}, {"a": "2\n", "c": "3"}, {}):
        assert apply(bundle(place, **changed)) == [str(place)]
        assert {path.name: path.read_text() for path in place.iterdir()} == changed
    assert [path.name for path in tmp_path.iterdir()] == ["credentials"]


def test_files_are_taken_back_all_together(tmp_path: Path):
    apply(bundle(tmp_path / "credentials", a="1", b="2"))
    before = tree(tmp_path)
    transaction = Transaction([bundle(tmp_path / "credentials", a="3")])
    transaction.apply()
    assert tree(tmp_path) != before
    transaction.revert()
    assert tree(tmp_path) == before


def test_secret_files_are_in_no_diff(tmp_path: Path):
    apply(bundle(tmp_path / "credentials", a="canary"))
    (change,) = Transaction([bundle(tmp_path / "credentials", a="canary2")]).plan()
    assert "canary" not in str(change.diff())


def test_a_copy_of_a_directory_has_its_files_and_is_announced_where_they_would_change(tmp_path: Path):
    apply(bundle(tmp_path / "credentials", b="2", a="1"))
    (tmp_path / "credentials" / "binary").write_bytes(b"\xff\0")
    asked = params(state="files", copy_of=str(tmp_path / "credentials"), mode="0700", secret=True, **ME)
    copied = dataclasses.replace(Entry.from_params(asked), dest=str(tmp_path / "copy"))
    assert apply(copied) == [str(tmp_path / "copy")]
    assert (tmp_path / "copy" / "binary").read_bytes() == b"\xff\0"
    assert apply(copied) == []
    changing = Entry.from_params({**asked, "dest": copied.dest, "copy_changes": [asked["copy_of"]]})
    assert Transaction([changing]).plan()


def test_what_a_module_gets_of_secret_files_is_sealed(tmp_path: Path):
    text = json.dumps({"b": "2", "a": "-----BEGIN KEY-----\ncanary\n"})
    given = {
        "src": "credentials.json.j2",
        "dest": str(tmp_path / "x"),
        "state": "files",
        "mode": "0700",
        "secret": True,
    }
    (sent,), secrets = described([given], lambda *_: text)
    assert "canary" not in str((sent, secrets))
    made = Entry.from_params({**sent, **ME}, secrets=secrets)
    assert made.secret
    assert apply(made) == [str(tmp_path / "x")]
    assert (tmp_path / "x" / "a").read_text() == "-----BEGIN KEY-----\ncanary\n"
