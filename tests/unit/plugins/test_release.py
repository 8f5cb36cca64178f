"""Which release some inputs give, and which releases may go. What builds one runs on test hosts."""

from __future__ import annotations

import base64
import dataclasses
import grp
import hashlib
import io
import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import remove
from ansible_collections.flask_ops.production.plugins.module_utils._host.sandbox import SANDBOX
from ansible_collections.flask_ops.production.plugins.module_utils._release import builder as _release
from ansible_collections.flask_ops.production.plugins.module_utils._release import sources as _sources
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import App, ReleaseError, hand_over
from ansible_collections.flask_ops.production.plugins.module_utils._release.build import Build
from ansible_collections.flask_ops.production.plugins.module_utils._release.builder import (
    Builder,
    Release,
    find,
    hidden,
    mark_live,
    migrations,
    obsolete,
    resolve,
    retire,
    stepped_over,
    version_in,
)
from ansible_collections.flask_ops.production.plugins.module_utils._release.environments import distribution
from ansible_collections.flask_ops.production.plugins.module_utils._release.sources import (
    ArchiveSource,
    GitSource,
    PackageSource,
    credentials,
    pointers,
    seal,
    source_of,
)
from ansible_collections.flask_ops.production.plugins.modules import python_release

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
GROUP = grp.getgrgid(os.getegid()).gr_name
CHECKSUM = "3f2c9a1b7d20" + "0" * 52


def app(root: Path, **changes: Any) -> App:
    described: dict[str, Any] = {
        "name": "shop",
        "user": pwd.getpwuid(os.geteuid()).pw_name,
        "root": str(root),
        "source": {"path": "/home/me/shop", "sha256": CHECKSUM},
        "python": sys.executable,
        "wsgi": "shop:app",
    }
    return App(**(described | changes))


# --- the id -----------------------------------------------------------------------------------------------------------


def test_the_same_inputs_give_the_same_release(tmp_path: Path):
    release = resolve(app(tmp_path))
    assert release == resolve(app(tmp_path))
    assert release.id.startswith("3f2c9a1b7d20-")
    assert release.python_version == sys.implementation.cache_tag


@pytest.mark.parametrize(
    "change",
    [
        {"source": {"path": "/home/me/shop", "sha256": "3f2c9a1b7d20" + "1" * 52}},
        {"requirements": "requirements/production.txt"},
        {"extra_requirements": ("gunicorn==27.0.1",)},
        {"shared_paths": ("uploads",)},
        {"static_path": "static"},
    ],
)
def test_each_input_gives_another_release(tmp_path: Path, change: dict[str, Any]):
    before, after = resolve(app(tmp_path)).id, resolve(app(tmp_path, **change)).id
    assert before != after
    assert before.split("-")[0] == after.split("-")[0]


def test_another_python_gives_another_release(tmp_path: Path):
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho cpython-399 3 99\n")
    other.chmod(0o755)
    before, after = resolve(app(tmp_path)), resolve(app(tmp_path, python=str(other)))
    assert (after.id != before.id, after.python_version) == (True, "cpython-399")


@pytest.mark.parametrize(
    "change",
    [{"migrate": "flask db upgrade"}, {"keep": 9}, {"wsgi": "shop:other"}, {"source": {"path": "/x", "sha256": CHECKSUM}}],
)  # fmt: skip
def test_what_is_not_in_a_release_gives_no_other(tmp_path: Path, change: dict[str, Any]):
    assert resolve(app(tmp_path, **change)).id == resolve(app(tmp_path)).id


@pytest.mark.parametrize("requirement", ["httpbin==0.10.2", "Flask-App[extra,x]==1!2.0+local"])
def test_the_id_of_a_published_package_is_a_file_name(tmp_path: Path, requirement: str):
    release = resolve(app(tmp_path, source={"pypi": requirement}))
    assert release.revision == requirement
    assert set(release.id) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-")
    assert release.id.startswith(requirement[:5])


def test_a_python_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ReleaseError, match=r"python: /no/such/python does not run on this host; there are "):
        resolve(app(tmp_path, python="/no/such/python"))


@ROOT_ONLY
def test_an_interpreter_that_the_app_could_replace_is_not_run(tmp_path: Path):
    python = tmp_path / "shared" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\ntouch /tmp/flask-ops-ran\n")
    python.chmod(0o755)
    os.chown(tmp_path / "shared", pwd.getpwnam("daemon").pw_uid, 0)
    with pytest.raises(ReleaseError, match=r"^python: the app can change .*/shared/bin/python, or replace it"):
        resolve(app(tmp_path, python=str(python), user="daemon"))


@pytest.mark.parametrize(
    ("source", "kind"), [({"git": "x", "version": "y"}, GitSource), ({"pypi": "a==1"}, PackageSource), ({"wheel": "/a.whl"}, PackageSource), ({"path": "/x"}, ArchiveSource)]
)  # fmt: skip
def test_the_kind_of_a_source(tmp_path: Path, source: dict[str, str], kind: type):
    assert type(source_of(app(tmp_path, source=source))) is kind


Starter = Callable[[App], Build]


def test_a_damaged_archive_is_refused_before_it_is_unpacked(tmp_path: Path, build_of: Starter):
    (tmp_path / "archive").write_bytes(b"cut off")
    damaged = app(tmp_path, uploads={"source": str(tmp_path / "archive")})
    with pytest.raises(ReleaseError, match=r"the archive of /home/me/shop is [0-9a-f]{64}, and not 3f2c"):
        ArchiveSource(damaged).unpack(build_of(damaged), CHECKSUM, str(tmp_path))


# --- the commit ---------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def as_this_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only root changes to another user; what is tested here does not depend on who runs it."""
    for module in (_sources, _release):
        monkeypatch.setattr(module, "run", lambda argv, *, user=None, group=None, **rest: run(argv, **rest))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two commits: tags on the first, the branches on the second, and a name that is both."""
    top = tmp_path_factory.mktemp("repository")
    for arguments in (
        "init --quiet --initial-branch=main",
        "commit --quiet --allow-empty --message=first",
        "tag v1.0",
        "tag --annotate --message=annotated v1.1",
        "tag both",
        "commit --quiet --allow-empty --message=second",
        "branch feature/x",
        "branch both",
    ):
        git(top, *arguments.split())
    return top


def git(top: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    done = subprocess.run(["git", *identity, *arguments], cwd=top, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def revision(tmp_path: Path, repository: Path | str, version: str) -> str:
    return GitSource(app(tmp_path, source={"git": str(repository), "version": version})).revision()


@pytest.mark.parametrize(
    ("version", "commit"),
    [
        pytest.param("main", "main", id="branch"),
        pytest.param("feature/x", "main", id="branch with a slash"),
        pytest.param("v1.0", "main~1", id="tag"),
        pytest.param("v1.1", "main~1", id="annotated tag, which is an object of its own"),
        pytest.param("both", "main~1", id="a tag goes before a branch"),
    ],
)
def test_a_version_means_a_commit(tmp_path: Path, repository: Path, version: str, commit: str):
    assert revision(tmp_path, f"file://{repository}", version) == git(repository, "rev-parse", commit)


def test_a_full_commit_id_needs_no_look_at_the_remote(tmp_path: Path):
    assert revision(tmp_path, "file:///no/such/repository", "a" * 40) == "a" * 40


@pytest.mark.parametrize("version", ["v9", "mai", "x", "heads/main", "refs/heads/main", "v1.*"])
def test_a_version_that_is_not_there_is_named(tmp_path: Path, repository: Path, version: str):
    with pytest.raises(ReleaseError) as error:
        revision(tmp_path, repository, version)
    assert str(error.value) == f"source.version: {repository} has no branch or tag '{version}'"


def test_a_repository_that_is_not_there_is_an_error_in_the_words_of_git(tmp_path: Path):
    with pytest.raises(CommandError, match=r"'git ls-remote .*' ended with status 128:\n.*/no/such/repository"):
        revision(tmp_path, "file:///no/such/repository", "main")


def test_the_code_of_a_commit_is_unpacked_also_of_one_that_came_later(tmp_path: Path, build_of: Starter):
    remote = tmp_path / "remote"
    for directory in (remote, tmp_path / ".build" / "work"):
        directory.mkdir(parents=True)
    git(remote, "init", "--quiet", "--initial-branch=main")
    described = app(tmp_path, source={"git": f"file://{remote}", "version": "main"})
    source, build = GitSource(described), build_of(described)
    for text in ("first", "second"):
        (remote / "file").write_text(text)
        git(remote, "add", "file")
        git(remote, "commit", "--quiet", f"--message={text}")
        git(remote, "tag", f"v-{text}")
        place = tmp_path / text
        place.mkdir()
        source.unpack(build, source.revision(), str(place))
        # What a build leaves in the repository is not run by the next one.
        hook = tmp_path / ".build" / "work" / "repository" / "hooks" / "post-checkout"
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
        hook.chmod(0o755)
        # What derives a version from tags finds them until the release is sealed.
        assert git(place, "describe", "--tags", "--long", "--dirty") == f"v-{text}-0-g{source.revision()[:7]}"
        seal(build, str(place))
        assert [(path.name, path.read_text()) for path in place.iterdir()] == [("file", text)]
    assert [path.name for path in (tmp_path / ".build" / "work").iterdir()] == ["repository"]
    assert not (tmp_path / "hooked").exists()


def test_a_subdirectory_of_a_commit_is_the_source(tmp_path: Path, build_of: Starter):
    remote = tmp_path / "remote"
    (remote / "services" / "shop").mkdir(parents=True)
    (tmp_path / ".build" / "work").mkdir(parents=True)
    git(remote, "init", "--quiet", "--initial-branch=main")
    (remote / "services" / "shop" / "shop.py").touch()
    (remote / "README").touch()
    git(remote, "add", "--all")
    git(remote, "commit", "--quiet", "--message=one")
    described = app(tmp_path, source={"git": f"file://{remote}", "version": "main", "subdirectory": "services/shop"})
    (tmp_path / "code").mkdir()
    GitSource(described).unpack(build_of(described), git(remote, "rev-parse", "HEAD"), str(tmp_path / "code"))
    assert [path.name for path in (tmp_path / "code").iterdir()] == ["shop.py"]
    wrong = app(tmp_path, source={**described.source, "subdirectory": "nowhere"})
    with pytest.raises(ReleaseError, match=r"^source\.subdirectory: commit .* has no directory 'nowhere'"):
        GitSource(wrong).unpack(build_of(wrong), git(remote, "rev-parse", "HEAD"), str(tmp_path / "code"))


@pytest.mark.parametrize(("key", "token"), [("KEY", ""), ("", "canary-token"), ("", "")])
def test_credentials_are_in_files_for_the_build_alone_and_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, token: str
):
    for name, value in {"LOCKS": tmp_path / "run", "KEYS": tmp_path / "run" / ".build"}.items():
        monkeypatch.setattr(_sources, name, str(value))
    url = "https://git.example.com/acme/shop.git"
    with credentials(app(tmp_path, source={"git": url}, deploy_key=key, git_token=token), url) as variables:
        files = {path.name: path for path in (tmp_path / "run").rglob("*") if path.is_file()}
        assert sorted(files) == (["key"] if key else ["gitconfig"] if token else [])
        assert {stat.S_IMODE(path.stat().st_mode) for path in files.values()} <= {0o600}
        assert "canary" not in str(variables)
        if token:
            asked = git(tmp_path, "config", "--file", variables["GIT_CONFIG_GLOBAL"], "--get-urlmatch", "http", url)
            assert base64.b64decode(asked.split()[-1]).decode() == "x-token-auth:canary-token"
            other = ["config", "--file", variables["GIT_CONFIG_GLOBAL"], "--get-urlmatch", "http.extraheader"]
            with pytest.raises(subprocess.CalledProcessError):
                git(tmp_path, *other, "https://git.example.com.evil.example/x.git")
    assert not [path for path in (tmp_path / "run").rglob("*") if path.is_file()]


# --- archives --------------------------------------------------------------------------------------------------------------


def packed(tmp_path: Path, kind: str, files: dict[str, bytes]) -> App:
    """An app whose archive was sent, of a kind that :mod:`tarfile` knows, or a zip."""
    place = tmp_path / f"archive.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(place, f"w:{kind}") as tar:  # type: ignore[call-overload]
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    checksum = hashlib.sha256(place.read_bytes()).hexdigest()
    return app(tmp_path, source={"archive": "/x/shop.tar", "sha256": checksum}, uploads={"source": str(place)})


def unpacked(described: App, build: Build, place: Path) -> list[str]:
    place.mkdir()
    ArchiveSource(described).unpack(build, described.source["sha256"], str(place))
    return sorted(str(path.relative_to(place)) for path in place.rglob("*"))


@pytest.mark.parametrize("kind", ["", "gz", "bz2", "xz", "zip"])
def test_one_directory_at_the_top_of_an_archive_is_left_out(tmp_path: Path, build_of: Starter, kind: str):
    described = packed(tmp_path, kind, {"shop-1.0/shop.py": b"", "shop-1.0/data/x": b"x"})
    assert unpacked(described, build_of(described), tmp_path / "code") == ["data", "data/x", "shop.py"]


def test_a_package_at_the_top_of_an_archive_stays(tmp_path: Path, build_of: Starter):
    described = packed(tmp_path, "gz", {"shop/__init__.py": b""})
    assert unpacked(described, build_of(described), tmp_path / "code") == ["shop", "shop/__init__.py"]


@pytest.mark.parametrize("kind", ["", "gz", "bz2", "xz", "zip"])
def test_an_archive_that_holds_too_much_is_refused(
    tmp_path: Path, build_of: Starter, monkeypatch: pytest.MonkeyPatch, kind: str
):
    monkeypatch.setattr(_sources, "LARGEST", 3 << 20)
    described = packed(tmp_path, kind, {"zeros": bytes(8 << 20)})
    with pytest.raises(ReleaseError, match=r"source: /x/shop\.tar: the archive holds more than 3 MiB"):
        unpacked(described, build_of(described), tmp_path / "code")


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zip"])
def test_an_archive_that_was_cut_off_is_damaged(tmp_path: Path, build_of: Starter, kind: str):
    described = packed(tmp_path, kind, {"x": os.urandom(50_000)})
    place = Path(described.uploads["source"])
    place.write_bytes(place.read_bytes()[:20_000])
    described.source["sha256"] = hashlib.sha256(place.read_bytes()).hexdigest()
    with pytest.raises(ReleaseError, match="the archive is damaged"):
        unpacked(described, build_of(described), tmp_path / "code")


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/tmp/flask-ops-out"])
def test_a_name_that_leads_out_of_a_zip_stays_in(tmp_path: Path, build_of: Starter, name: str):
    described = packed(tmp_path, "zip", {name: b"", "b": b""})
    unpacked(described, build_of(described), tmp_path / "code")
    assert not (tmp_path / "out").exists()
    assert not Path("/tmp/flask-ops-out").exists()


@pytest.mark.parametrize("subdirectory", ["nowhere", "link"])
def test_a_subdirectory_of_an_archive_must_be_in_it(tmp_path: Path, build_of: Starter, subdirectory: str):
    described = packed(tmp_path, "gz", {"a": b"", "b": b""})
    with tarfile.open(described.uploads["source"], "w:gz") as tar:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(info)
        tar.addfile(tarfile.TarInfo("a"))
    described.source["sha256"] = hashlib.sha256(Path(described.uploads["source"]).read_bytes()).hexdigest()
    described.source["subdirectory"] = subdirectory
    with pytest.raises(ReleaseError, match=f"^source.subdirectory: the source has no directory '{subdirectory}'"):
        unpacked(described, build_of(described), tmp_path / "code")


def test_pointers_of_lfs_are_found(tmp_path: Path, build_of: Starter):
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "logo.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    (tmp_path / "static" / "README").write_text("see version https://git-lfs.github.com/spec/v1\n")
    assert pointers(build_of(app(tmp_path)), str(tmp_path)) == ["static/logo.png"]


# --- what may go -----------------------------------------------------------------------------------------------------------


def releases(root: Path, *names: str, keep: int = 3) -> Release:
    """Complete releases, the oldest first; the last one is the new one. A name with a dash in front is half-built."""
    for age, name in enumerate(reversed(names)):
        path = root / "releases" / name.removeprefix("-")
        path.mkdir(parents=True)
        if not name.startswith("-"):
            (path / ".complete").touch()
            os.utime(path / ".complete", (1_000_000 - age, 1_000_000 - age))
    return Release(app(root, keep=keep), names[-1], "", "")


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


def test_a_kept_release_is_found_by_its_id_or_as_the_previous_one(tmp_path: Path):
    home = releases(tmp_path, "r1", "r2", "r3").app
    for name in ("r1", "r2"):
        (tmp_path / "releases" / name / "REVISION").write_text(f"release: {name}\nrevision: c-{name}\npython: cp\n")
    (tmp_path / "previous").symlink_to("releases/r1")
    assert find(home, "r2") == Release(home, "r2", "c-r2", "cp")
    assert find(home, "previous") == find(home, "r1")


@pytest.mark.parametrize(
    ("source", "version"),
    [
        ({"git": "https://git", "version": "v1.4.2"}, "v1.4.2"),
        ({"pypi": "httpbin==0.10.2"}, "0.10.2"),
        ({"path": "/home/me/shop"}, "c0ffee000000"),
    ],
)
def test_the_version_that_people_know_is_told_now_and_of_a_kept_release(tmp_path: Path, source: dict, version: str):
    now = Release(app(tmp_path), "r1", "c0ffee0000000000", "cp", version_in(source))
    assert now.facts()["version"] == version
    lines = "".join(f"source.{key}: {value}\n" for key, value in source.items())
    home = releases(tmp_path, "r1").app
    (tmp_path / "releases" / "r1" / "REVISION").write_text(f"{lines}revision: c0ffee0000000000\npython: cp\n")
    assert find(home, "r1").facts()["version"] == version


def test_a_release_that_is_not_kept_is_named_beside_those_that_are(tmp_path: Path):
    home = releases(tmp_path, "r1", "r2").app
    (tmp_path / "current").symlink_to("releases/r2")
    (tmp_path / "releases" / "r1" / ".complete").unlink()
    with pytest.raises(ReleaseError, match=r"no complete release 'r1' on this host; kept are .*r2; in traffic is r2"):
        find(home, "r1")
    with pytest.raises(ReleaseError, match="no previous release to go back to; kept are"):
        find(home, "previous")


def test_a_release_is_complete_when_it_says_so_and_its_python_is_there(tmp_path: Path):
    release = releases(tmp_path, "a")
    python = tmp_path / "releases" / "a" / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    assert not release.complete
    python.symlink_to(sys.executable)
    assert release.complete
    (tmp_path / "releases" / "a" / ".complete").unlink()
    assert not release.complete
    (tmp_path / "releases" / "a" / ".complete").touch()
    python.unlink()
    python.symlink_to("/usr/bin/python-that-an-upgrade-took-away")
    assert not release.complete


@pytest.mark.parametrize(
    ("requirement", "name"),
    [
        ("gunicorn==27.0.1", "gunicorn"),
        ("gunicorn[gevent]==27.0.1 --hash=sha256:00", "gunicorn"),
        ("  flask-login>=1", "flask-login"),
        ("zope.interface ; python_version > '3'", "zope.interface"),
        ("a_b@https://example.com/a.whl", "a_b"),
        ("gunicorn", "gunicorn"),
    ],
)
def test_the_distribution_of_a_requirement(requirement: str, name: str):
    assert distribution(requirement) == name


# --- the pre-flight ---------------------------------------------------------------------------------------------------

SOUND = {
    "framework": "flask", "interface": "wsgi", "middleware": ["Flask"], "debug": False, "unused_keys": [], "unread": [],
    "settings": {"SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_HTTPONLY": True, "SESSION_COOKIE_SAMESITE": "Lax"},
    "key": {"length": 43, "weak": "", "source": ""}, "fallback_keys": [], "static": [],
}  # fmt: skip


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
    """Of a release that is live, whose app answers with what is in ``answers``; ``asked`` counts the imports."""
    release = releases(tmp_path, "r1")
    (tmp_path / "environment").write_text('FLASK_SECRET_KEY="geheimnis"\n')
    (tmp_path / "current").symlink_to("releases/r1")
    described = app(tmp_path, environment_file=str(tmp_path / "environment"), secret_names=("FLASK_SECRET_KEY",))
    made = Builder(dataclasses.replace(release, app=described))
    asked: list[str] = []

    def in_sandbox(_self: Builder, purpose: str, *_rest: Any) -> str:
        asked.append(purpose)
        return ANSWERS["now"]

    monkeypatch.setattr(Builder, "_in_sandbox", in_sandbox)
    monkeypatch.setattr(_release, "adopt_shared", lambda _app: False)
    monkeypatch.setattr(_release, "write", lambda path, content, *_rest: Path(path).write_bytes(content))
    monkeypatch.setattr(Release, "complete", True)
    made.asked = asked  # type: ignore[attr-defined]
    ANSWERS["now"] = json.dumps(SOUND)
    return made


ANSWERS = {"now": ""}


def again(builder: Builder, **changes: Any) -> Builder:
    changed = dataclasses.replace(builder.release.app, **changes)
    other = Builder(dataclasses.replace(builder.release, app=changed))
    other.ensure()
    return other


def test_a_live_release_is_judged_once_and_warned_of_once(builder: Builder):
    builder.ensure()
    assert (builder.asked, len(builder.warnings)) == (["preflight"], 1)  # type: ignore[attr-defined]
    assert "ProxyFix" in builder.warnings[0]
    assert again(builder).warnings == []
    assert builder.asked == ["preflight"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "change",
    [
        {"wsgi": "shop:other"}, {"worker_class": "sync"}, {"server": "waitress"}, {"deadline": 200},
        {"sandbox": (("PrivateTmp", "yes"),)}, {"given": ("X",)}, {"static_url": "/assets/"},
        {"accept_insecure": ("no_proxy_fix",)},
    ],
)  # fmt: skip
def test_a_changed_setting_of_a_live_release_is_judged_and_its_warnings_are_known(
    builder: Builder, change: dict[str, Any]
):
    builder.ensure()
    assert again(builder, **change).warnings == []
    assert builder.asked == ["preflight"] * 2  # type: ignore[attr-defined]


def test_a_changed_environment_of_a_live_release_is_judged(builder: Builder):
    builder.ensure()
    Path(builder.release.app.environment_file).write_text("")
    ANSWERS["now"] = json.dumps(SOUND | {"key": {"length": 0, "weak": "", "source": ""}})
    for _run in range(2):
        with pytest.raises(
            ReleaseError, match=r"pre-flight of release r1 failed; r1 still serves.*It has no SECRET_KEY"
        ):
            again(builder)
    assert again(builder, accept_insecure=("no_secret_key", "no_proxy_fix")).warnings == []


def test_an_app_is_judged_again_when_a_secret_file_of_its_changes(builder: Builder, tmp_path: Path):
    directory = tmp_path / "credentials"
    directory.mkdir()
    # A file that is new, changed, and gone.
    for text in ("1", "2", None):
        (directory / "client.pem").write_text(text) if text else (directory / "client.pem").unlink()
        for _run in range(2):
            again(builder, credentials_directory=str(directory))
    assert builder.asked == ["preflight"] * 3  # type: ignore[attr-defined]


def test_pre_flight_and_migration_get_the_secret_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calls: list[list[str]] = []
    monkeypatch.setattr(_release, "run", lambda argv, **_rest: calls.append(argv))
    monkeypatch.setattr(_release, "wait_until_gone", lambda *_: None)
    (tmp_path / "google.json").write_text("canary")
    (tmp_path / "secrets.json").write_text("{}")
    described = app(tmp_path, credentials_directory=str(tmp_path))
    Builder(dataclasses.replace(releases(tmp_path, "r1"), app=described))._in_sandbox("migrate", ["x"], 9, "x")
    assert [word for word in calls[0] if "LoadCredential" in word] == [
        f"--property=LoadCredential={name}:{tmp_path}/{name}" for name in ("google.json", "secrets.json")
    ]
    assert "canary" not in str(calls)


def test_every_finding_stops_a_release_where_that_is_asked_for(builder: Builder):
    with pytest.raises(ReleaseError, match=r"\[no_proxy_fix\]\n=> accept_insecure: \[no_proxy_fix\] releases it"):
        again(builder, fail_on_insecure=True)


@pytest.mark.parametrize("answer", ["", "words", "[]\nwords"])
def test_a_pre_flight_without_a_result_is_an_error_that_names_app_and_step(builder: Builder, answer: str):
    ANSWERS["now"] = answer
    with pytest.raises(
        ReleaseError, match=r"^shop: pre-flight of release r1 failed; r1 still serves. The pre-flight of"
    ):
        builder.ensure()


def test_an_error_shows_no_secret(builder: Builder):
    ANSWERS["now"] = json.dumps(
        {"failure": {"kind": "error", "lines": ["ValueError: geheimnis"]}, "output": "geheimnis"}
    )
    with pytest.raises(ReleaseError) as error:
        builder.ensure()
    assert "geheimnis" not in str(error.value)


def test_a_full_disk_stops_neither_pre_flight_nor_the_way_back(builder: Builder, monkeypatch: pytest.MonkeyPatch):
    def full(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_release, "write", full)
    monkeypatch.setattr(_release, "keep", full)
    Path(builder.release.app.root, "current").unlink()
    Path(builder.release.app.root, "current").symlink_to("releases/r0")
    builder.ensure()
    assert [word for word in builder.warnings if "static files" in word and "No space left" in word]


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
    found = hidden(build_of(app(tmp_path)), str(tmp_path / "data"), "shop: shared_paths: data")
    assert [words in warning for warning in found] == ([True] if words else [])


def test_links_among_static_files_that_are_not_followed_are_named(tmp_path: Path):
    static = tmp_path / "releases" / "r1" / "app" / "static"
    static.mkdir(parents=True)
    (static / "out").symlink_to("/etc/hostname")
    (static / "app.js").write_text("x")
    (static / "same.js").symlink_to("app.js")
    builder = Builder(Release(app(tmp_path, static_path="static"), "r1", "", ""))
    builder._collect_static()
    (warning,) = builder.warnings
    assert warning.startswith("shop: static.path: out is a link that nginx does not follow")
    assert (tmp_path / "releases" / "r1" / "static" / "same.js").read_text() == "x"


@pytest.mark.parametrize("path", ["shop/static", "shop"])
def test_static_files_that_the_app_writes_are_refused_by_name(tmp_path: Path, path: str):
    described = app(tmp_path, static_path="shop/static", shared_paths=(path,))
    with pytest.raises(ReleaseError, match=f"static.path: shop/static is in shared_paths.*Take {path} out of"):
        Builder(Release(described, "r1", "", ""))._collect_static()


# --- migrations ---------------------------------------------------------------------------------------------------------


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
    return stepped_over(Release(described, other, "", ""))


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
    assert migrations(Release(app(tmp_path), "r1", "", "")) == {"migrations/versions/a.py"}


# --- handing over -----------------------------------------------------------------------------------------------------------


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
    hand_over(str(built), "daemon")
    found = {path: path.lstat() for path in [built, *built.rglob("*")]}
    assert {(info.st_uid, info.st_gid) for info in found.values()} == {(0, gid)}
    modes = {path.name: stat.S_IMODE(info.st_mode) for path, info in found.items() if not path.is_symlink()}
    assert modes == {"built": 0o750, "package": 0o750, "module.py": 0o640, "tool": 0o4777 & 0o750}


@ROOT_ONLY
def test_what_links_lead_to_is_not_handed_over(built: Path):
    outside = built.parent / "outside"
    before = [(path.stat().st_mode, path.stat().st_gid) for path in (outside, outside / "file")]
    hand_over(str(built), "daemon")
    assert [(path.stat().st_mode, path.stat().st_gid) for path in (outside, outside / "file")] == before


@ROOT_ONLY
def test_a_link_in_the_place_of_the_tree_is_refused(built: Path):
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        hand_over(str(built / "directory-link"), GROUP)


@ROOT_ONLY
def test_a_tree_of_any_depth_is_handed_over_and_removed(tmp_path: Path):
    here = os.open(tmp_path, os.O_RDONLY)
    for _level in range(3000):
        os.mkdir("nested", dir_fd=here)
        below = os.open("nested", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    hand_over(str(tmp_path / "nested"), "daemon")
    assert (tmp_path / "nested" / "nested").stat().st_gid == grp.getgrnam("daemon").gr_gid
    remove(str(tmp_path / "nested"))
    assert not (tmp_path / "nested").exists()


# --- an app that is not wanted any more ----------------------------------------------------------------------------------------


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
    assert retire(app(home), purge=True, check_mode=True)
    assert sorted(path.name for path in home.iterdir()) == [".build", "current", "releases", "shared"]
    assert retire(app(home), purge=True)
    assert not home.exists()
    assert not retire(app(home), purge=True)


@ROOT_ONLY
def test_the_data_is_kept_for_root_alone(home: Path):
    os.chown(home / "shared", 1234, 1234)
    assert retire(app(home), purge=False)
    assert [path.name for path in home.iterdir()] == ["shared"]
    info = (home / "shared").stat()
    assert (info.st_uid, stat.S_IMODE(info.st_mode)) == (0, 0o700)
    assert not retire(app(home), purge=False)


@ROOT_ONLY
def test_what_an_administrator_put_there_is_kept(home: Path):
    (home / "notes.txt").touch()
    assert retire(app(home), purge=True)
    assert [path.name for path in home.iterdir()] == ["notes.txt"]


# --- what the module makes of an entry ------------------------------------------------------------------------------------


def test_an_app_gets_what_all_apps_need_what_it_needs_itself_and_its_own_sandbox_and_limits():
    entry = {name: option.get("default") for name, option in python_release.APP.items()}
    entry |= {"name": "shop", "wsgi": "shop:app", "sandbox": {"strict": True, "without": ["ProcSubset"]}}
    params = {
        "root": "/srv/{name}", "environment_file": "/etc/flask-ops/{name}/environment", "python": "/usr/bin/python3", "keep": 3,
        "uploads": {}, "credentials_directory": "", "extra_requirements": ["a==1"], "extra_requirements_of": {"shop": ["b==1"], "blog": ["c==1"]},
    }  # fmt: skip
    described = python_release.app_of(entry, params)
    assert described.extra_requirements == ("a==1", "b==1")
    assert dict(described.sandbox)["PrivateNetwork"] == "yes"
    assert "ProcSubset" not in dict(described.sandbox)
    assert python_release.app_of(entry | {"sandbox": {}}, params).sandbox == SANDBOX
    bounded = dict(python_release.app_of(entry | {"limits": {"memory_max": 300, "tasks": 90}}, params).sandbox)
    assert (bounded["MemoryMax"], bounded["TasksMax"]) == ("300M", "90")
