"""What an app needs, by the files of its source, and which releases share an environment."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._host.secrets import without_passwords
from ansible_collections.flask_ops.production.plugins.module_utils._release import dependencies as _dependencies
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import (
    App,
    ReleaseError,
    build_environment,
)
from ansible_collections.flask_ops.production.plugins.module_utils._release.build import Build
from ansible_collections.flask_ops.production.plugins.module_utils._release.dependencies import (
    Dependencies,
    distribution,
    excludes,
    refuse_conflict,
)
from ansible_collections.flask_ops.production.plugins.module_utils._release.environments import Environment

from tests.unit.plugins.releases import app

VIRTUAL = 'source = { virtual = "." }\n'


EDITABLE = 'source = { editable = "." }\n'


PROJECT = '[project]\nname = "shop"\nversion = "1"\n[build-system]\nrequires = ["flit_core"]\n'


def written(code: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        (code / name).write_text(text)
    return str(code)


class Reader:
    """Reads a source as a build's unit does, without the unit."""

    def __init__(self, code: str) -> None:
        self.code = code

    def read(self, path: str, _option: str) -> str | None:
        place = Path(self.code) / path
        return place.read_text() if place.is_file() else None

    def run(self, argv: list[str], **_rest: Any) -> str:
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def dependencies(of: App, code: str) -> Dependencies:
    return _dependencies.dependencies(of, code, Reader(code).read)


def requirement_files(code: str, names: list[str]) -> tuple[list[str], bool]:
    return _dependencies.requirement_files(Reader(code).read, names)


def digest(code: str, release: str = "r1", **changes: Any) -> str:
    return Environment(app(**changes), code, release, "cpython-313", cast("Build", Reader(code))).digest


@pytest.mark.parametrize(
    "line",
    ["flask", "flask==3.1.2", "flask>=3,<4", "flask[async]~=3.0 ; python_version > '3.8'", "flask==3 \\\n  --hash=sha256:00", "# x",
     "a @ https://example.com/a-1-py3-none-any.whl", "a@git+https://example.com/a@v1", "--extra-index-url https://x/", "", "-c c.txt"],
)  # fmt: skip
def test_requirements_by_name_are_shared_by_all_releases(tmp_path: Path, line: str):
    code = written(tmp_path, {"requirements.txt": f"{line}\n", "c.txt": "a==1\n"})
    assert not dependencies(app(), code).own_code
    assert digest(code, "r1") == digest(code, "r2")


@pytest.mark.parametrize(
    "line", [".", "./lib", "-e .", "--editable=lib", "lib/a", "/srv/a", "a-1-py3-none-any.whl", "a @ file:///x"]
)
def test_requirements_by_path_belong_to_one_release(tmp_path: Path, line: str):
    code = written(tmp_path, {"requirements.txt": f"flask\n{line}\n"})
    assert dependencies(app(), code).own_code
    assert digest(code, "r1") != digest(code, "r2")


def test_a_change_in_a_file_that_is_included_gives_another_environment(tmp_path: Path):
    files = {
        "requirements.txt": "-r more/base.txt\n",
        "more/base.txt": "-c limits.txt\nflask\n",
        "more/limits.txt": "flask<4\n",
    }
    code = written(tmp_path, files)
    assert requirement_files(code, ["requirements.txt"]) == (
        ["requirements.txt", "more/base.txt", "more/limits.txt"],
        False,
    )
    before = digest(code)
    written(tmp_path, {"shop.py": "changed = True"})
    assert digest(code) == before
    written(tmp_path, {"more/limits.txt": "flask<3\n"})
    assert digest(code) != before


@pytest.mark.parametrize(
    "change",
    [{"python": "/usr/local/bin/python3"}, {"installer": "pip"}, {"extra_index": "https://x/"}, {"wheelhouse": "00"}, {"server_requirements": ("a",)}],
)  # fmt: skip
def test_what_an_environment_is_made_with_gives_another_one(tmp_path: Path, change: dict[str, Any]):
    code = written(tmp_path, {"requirements.txt": "flask\n"})
    assert digest(code) != digest(code, **change)


def test_a_lock_goes_before_requirements_and_those_before_a_project(tmp_path: Path):
    code = written(tmp_path, {"pyproject.toml": "[project]\n"})
    assert dependencies(app(), code).arguments == [code]
    assert dependencies(app(), code).own_code
    written(tmp_path, {"requirements.txt": "flask\n"})
    assert dependencies(app(), code).arguments == ["--requirement", f"{code}/requirements.txt"]
    written(tmp_path, {"uv.lock": VIRTUAL})
    assert (dependencies(app(), code).lock, dependencies(app(), code).own_code) == (True, False)
    written(tmp_path, {"uv.lock": EDITABLE})
    assert dependencies(app(), code).own_code
    assert dependencies(app(requirements="requirements.txt"), code).files == ["requirements.txt"]


def test_hashes_are_enforced_where_there_are_any_and_missed_where_there_are_none(tmp_path: Path):
    code = written(tmp_path, {"requirements.txt": "flask==3 --hash=sha256:00\n"})
    assert "--require-hashes" in dependencies(app(), code).arguments
    assert dependencies(app(), code).note == ""
    written(tmp_path, {"requirements.txt": "flask==3\n"})
    assert "--require-hashes" not in dependencies(app(), code).arguments
    assert "requirements.txt has no hashes" in dependencies(app(), code).note


def test_constraints_are_handed_on(tmp_path: Path):
    code = written(tmp_path, {"requirements.txt": "flask\n", "constraints.txt": "flask<4\n"})
    found = dependencies(app(constraints="constraints.txt"), code)
    assert found.arguments[2:] == ["--constraint", f"{code}/constraints.txt"]
    assert found.files == ["requirements.txt", "constraints.txt"]


@pytest.mark.parametrize(
    ("files", "changes", "words"),
    [
        ({}, {"requirements": "r.txt"}, "requirements: the source has no file 'r.txt'"),
        ({}, {"constraints": "c.txt"}, "constraints: the source has no file 'c.txt'"),
        ({"uv.lock": VIRTUAL}, {"installer": "pip"}, "installer: the source has a uv.lock, which pip does not read"),
        ({"uv.lock": VIRTUAL, "c.txt": ""}, {"constraints": "c.txt"}, "constraints: the source has a uv.lock"),
        ({"requirements.txt": "flask"}, {"extras": ("prod",)}, r"extras: requirements\.txt lists what is installed"),
        (
            {"requirements.txt": "-r ../../etc/shadow"},
            {},
            r"'\.\./\.\./etc/shadow' in requirements\.txt is outside of the source",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, files: dict[str, str], changes: dict[str, Any], words: str):
    with pytest.raises(ReleaseError, match=words):
        dependencies(app(**changes), written(tmp_path, files))


def environment(code: str, **changes: Any) -> Environment:
    return Environment(app(**changes), code, "r1", "cpython-313", cast("Build", Reader(code)))


def test_extras_and_groups_are_chosen_by_name(tmp_path: Path):
    code = written(tmp_path, {"pyproject.toml": PROJECT})
    chosen: dict[str, Any] = {"extras": ("prod", "s3"), "groups": ("ops",)}
    assert dependencies(app(**chosen), code).arguments == [f"{code}[prod,s3]", "--group", "ops"]
    assert digest(code) != digest(code, **chosen)
    written(tmp_path, {"uv.lock": EDITABLE})
    assert dependencies(app(**chosen), code).arguments == ["--extra", "prod", "--extra", "s3", "--group", "ops"]


def test_a_project_in_a_src_layout_is_installed_in_addition_to_its_requirements(tmp_path: Path):
    code = written(tmp_path, {"requirements.txt": "flask\n", "pyproject.toml": PROJECT, "src/shop/__init__.py": ""})
    assert environment(code).needed.own_project
    assert digest(code, "r1") != digest(code, "r2")
    written(tmp_path, {"shop.py": ""})
    assert not environment(code).needed.own_project
    assert digest(code, "r1") == digest(code, "r2")


def test_packages_can_be_added_to_what_the_source_lists(tmp_path: Path):
    more: dict[str, Any] = {"extra_requirements": ("psycopg2-binary==2.9.9",)}
    code = written(tmp_path, {"constraints.txt": "flask<3\n"})
    found = dependencies(app(source={"pypi": "superset==6.1"}, constraints="constraints.txt", **more), code)
    assert found.arguments == ["superset==6.1", "psycopg2-binary==2.9.9", "--constraint", f"{code}/constraints.txt"]
    assert found.files == ["constraints.txt"]


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


@pytest.mark.parametrize(
    "line",
    ["gunicorn<27", "gunicorn (<24,>=20)", "gunicorn==21.2.0", "gunicorn==23.*", "gunicorn~=23.0", "gunicorn<=26.1"],
)
def test_a_dependency_that_does_not_admit_the_server_is_named_with_a_way_out(line: str):
    with pytest.raises(ReleaseError, match=r"^mlflow needs gunicorn.* set server: waitress for this app\.$"):
        refuse_conflict("gunicorn", "27.0.1", [["flask", "gunicorn"], ["mlflow", line]])


@pytest.mark.parametrize(
    "line",
    [
        "gunicorn",
        "gunicorn>=20",
        "gunicorn!=25.0",
        "gunicorn<28",
        "gunicorn~=27.0",
        "gunicorn[gevent]>20; python_version<'3.12'",
    ],
)
def test_a_dependency_that_admits_the_server_is_not_in_the_way(line: str):
    assert not excludes(line, "27.0.1")


def test_proxies_reach_a_build_and_no_other_variable_does(monkeypatch: pytest.MonkeyPatch):
    for name in ("https_proxy", "NO_PROXY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, f"value of {name}")
    environment = build_environment(app())
    assert environment["https_proxy"] == "value of https_proxy"
    assert "NO_PROXY" in environment
    assert "AWS_SECRET_ACCESS_KEY" not in environment


def test_a_build_makes_no_file_older_than_a_zip_can_hold():
    assert int(build_environment(app())["SOURCE_DATE_EPOCH"]) >= 315532800


def test_a_password_is_taken_out_of_what_a_program_says():
    url = "https://me:canary@packages.example.com/simple/"
    assert "canary" not in without_passwords(f"cannot read {url}; canary is wrong", url)
    assert without_passwords("as it is", "https://packages.example.com/") == "as it is"
