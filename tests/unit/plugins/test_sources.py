"""Where an app's code comes from, and how it is unpacked."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._release import sources as _sources
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import App, ReleaseError
from ansible_collections.flask_ops.production.plugins.module_utils._release.build import Build
from ansible_collections.flask_ops.production.plugins.module_utils._release.sources import (
    ArchiveSource,
    GitSource,
    PackageSource,
    credentials,
    lfs_pointers,
    remove_git_directories,
    source_of,
)

from tests.unit.plugins.releases import CHECKSUM, app

Starter = Callable[[App], Build]


@pytest.fixture(autouse=True)
def as_this_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only root changes to another user; what is tested here does not depend on who runs it."""
    monkeypatch.setattr(_sources, "run", lambda argv, *, user=None, group=None, **rest: run(argv, **rest))


@pytest.mark.parametrize(
    ("source", "kind"), [({"git": "x", "version": "y"}, GitSource), ({"pypi": "a==1"}, PackageSource), ({"wheel": "/a.whl"}, PackageSource), ({"path": "/x"}, ArchiveSource)]
)  # fmt: skip
def test_the_kind_of_a_source(tmp_path: Path, source: dict[str, str], kind: type):
    assert type(source_of(app(tmp_path, source=source))) is kind


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
    with pytest.raises(CommandError, match=r"'git ls-remote .*' exited with status 128:\n.*/no/such/repository"):
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
        remove_git_directories(build, str(place))
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


def test_a_damaged_archive_is_refused_before_it_is_unpacked(tmp_path: Path, build_of: Starter):
    (tmp_path / "archive").write_bytes(b"cut off")
    damaged = app(tmp_path, uploads={"source": str(tmp_path / "archive")})
    with pytest.raises(ReleaseError, match=r"the archive of /home/me/shop is [0-9a-f]{64}, and not 3f2c"):
        ArchiveSource(damaged).unpack(build_of(damaged), CHECKSUM, str(tmp_path))


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
    monkeypatch.setattr(_sources, "MAX_ARCHIVE_SIZE", 3 << 20)
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
    assert lfs_pointers(build_of(app(tmp_path)), str(tmp_path)) == ["static/logo.png"]
