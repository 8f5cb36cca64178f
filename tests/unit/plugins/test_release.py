"""Which release some inputs give, and which are on the host."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.action.python_release import ActionModule, secrets_of
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import run
from ansible_collections.flask_ops.production.plugins.module_utils._host.sandbox import sandbox
from ansible_collections.flask_ops.production.plugins.module_utils._host.secrets import encode_secret
from ansible_collections.flask_ops.production.plugins.module_utils._release import release as _release
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import App, ReleaseError
from ansible_collections.flask_ops.production.plugins.module_utils._release.release import (
    Release,
    find,
    resolve,
    version_in,
)
from ansible_collections.flask_ops.production.plugins.modules import python_release

from tests.unit.plugins.apps import PEM, prepared
from tests.unit.plugins.apps import app as app_given
from tests.unit.plugins.releases import CHECKSUM, ROOT_ONLY, app, releases, static


@pytest.fixture(autouse=True)
def as_this_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only root changes to another user; what is tested here does not depend on who runs it."""
    monkeypatch.setattr(_release, "run", lambda argv, *, user=None, **rest: run(argv, **rest))


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
        {"server_requirements": ("gunicorn==27.0.1",)},
        {"shared_paths": ("uploads",)},
        {"static": static("static")},
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
    with pytest.raises(ReleaseError, match=r"no complete release 'r1' on this host; kept are .*r2; live is r2"):
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


def arguments(*requirements: str, **options: Any) -> dict[str, Any]:
    """The arguments of the module for an app."""
    (shop,) = prepared(app_given(**options))
    return {
        "apps": [ActionModule.__new__(ActionModule)._described(shop)], "secrets": {"shop": secrets_of(shop)},
        "python": "/usr/bin/python3", "keep": 3, "uploads": {}, "extra_requirements": ["a==1"],
        "extra_requirements_of": {"shop": list(requirements), "blog": ["c==1"]},
    }  # fmt: skip


def module_app(*requirements: str, **options: Any) -> App:
    """What the module makes of an app."""
    params = arguments(*requirements, **options)
    return python_release.app_of(params["apps"][0], params)


def test_an_app_gets_what_all_apps_need_what_it_needs_itself_and_its_own_sandbox_and_limits():
    strict = module_app("b==1", sandbox={"strict": True, "without": ["ProcSubset"]})
    assert strict.server_requirements == ("a==1", "b==1")
    assert dict(strict.sandbox)["PrivateNetwork"] == "yes"
    assert "ProcSubset" not in dict(strict.sandbox)
    assert module_app().sandbox == tuple(sandbox(limits={"open_files": 8192}))
    bounded = dict(module_app(limits={"memory_max": 300, "tasks": 90}).sandbox)
    assert (bounded["MemoryMax"], bounded["TasksMax"]) == ("300M", "90")


def test_an_app_gets_its_paths_its_secrets_and_the_names_of_its_variables_and_no_secret_is_logged():
    source = {"git": "https://git.example.com/shop.git", "version": "v1"}
    index = "https://me:canary@x/y"
    build: dict[str, Any] = {"command": "make", "env": {"TOKEN": "canary", "N": 1}}
    secret = {"token": "canary-token", "deploy_key": PEM}
    options: dict[str, Any] = {"source": source | secret, "extra_index": index, "build": build}
    options |= {"env": {"A": "1"}, "secrets": {"B": "2"}, "static": {"path": "s"}}
    shop: App = module_app(**options)
    given = arguments(**options)
    assert (shop.root, shop.environment_file) == ("/srv/shop", "/etc/flask-ops/shop/environment")
    assert (shop.git_token, shop.deploy_key, shop.extra_index) == ("canary-token", PEM, index)
    assert (shop.build["command"], shop.build_env) == ("make", (("N", "1"), ("TOKEN", "canary")))
    assert shop.source == source | {"submodules": True, "token_user": "x-token-auth"}
    assert (shop.env_names, shop.secret_names) == (["A", "B"], ["B"])
    assert shop.static == static("s")
    for text in (*secret.values(), index, '{"TOKEN": "canary", "N": 1}'):
        assert text not in str(given["apps"])
        assert encode_secret(text) in str(given["secrets"])
        assert encode_secret(text) not in str(given["apps"])
    assert python_release.OPTIONS["secrets"]["no_log"]
