"""Sources, variables and paths of an app that are right by themselves, and not together."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.plugins.apps import KEY, PEM, SHOP, app, errors_of

GIT = SHOP["source"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"source": {"git": "https://x/y"}}, "source.version: is needed with git; a good value is v1.4.2"),
        ({"source": {}}, "source: must have exactly one of git, archive, path, wheel and pypi, not none"),
        ({"source": {"path": "/a", "pypi": "a==1"}}, "source: must have exactly one of git, archive, path, wheel and pypi, not path and"),
        ({"source": {"pypi": "a==1", "version": "v1"}}, "source.version: goes with git only"),
        ({"source": GIT | {"git": "git@a.example:b", "token": "x" * 20}}, "source.token: goes with an https URL"),
        ({"source": {"pypi": "a==1", "deploy_key": PEM}}, "source.deploy_key: goes with git only"),
        ({"source": {"path": "/a", "subdirectory": "b"}}, "source.subdirectory: goes with git and archive only"),
        ({"source": {"archive": "https://x/y.zip"}}, "source.checksum: is needed with a URL; a good value is sha256:"),
        ({"wheelhouse": "/a", "extra_index": "https://x/y"}, "extra_index: is not asked when there is a wheelhouse"),
        ({"shared_paths": ["a", "b", "a/x"]}, "shared_paths[2]: 'a/x' is within 'a', which is shared"),
        ({"shared_paths": ["a/x", "a"]}, "shared_paths[0]: 'a/x' is within 'a', which is shared"),
        ({"shared_paths": ["a", "a"]}, "shared_paths[1]: 'a' is within 'a', which is shared"),
        ({"env": {"A": "1"}, "secrets": {"A": "2"}}, "secrets.A: is also in flask_apps[0].env; keep one"),
        ({"env": {"PYTHONPATH": "/usr/lib"}}, "env.PYTHONPATH: must be one path below the top of the source"),
        ({"env": {"PYTHONPATH": "src:../x"}}, "env.PYTHONPATH: must be one path below the top of the source"),
        ({"env": {"FLASK_DEBUG": 1}}, "env.FLASK_DEBUG: shows the app's insides to everybody; "),
        ({"env": {"FLASK_DEBUG": True}}, "env.FLASK_DEBUG: "),
        ({"env": {"FLASK_ENV": "development"}}, "env.FLASK_ENV: is read by old versions of Flask"),
        ({"secrets": {"SECRET_KEY": "changeme"}}, "secrets.SECRET_KEY: sessions are only as safe as"),
        ({"secrets": {"FLASK_SECRET_KEY": ""}}, "secrets.FLASK_SECRET_KEY: sessions are only as safe"),
        ({"env": {"SECRET_KEY": "x" * 64}}, "env.SECRET_KEY: sessions are only as safe as this value: "),
        ({"secrets": {"SECRET_KEY": 1234567890123456789012}}, "secrets.SECRET_KEY: sessions are only"),
        ({"secret_files": {"a": "ä" * 300_000, "b": "c" * 300_001}}, "secret_files: has 900001 bytes"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], expected: str):
    (error,) = errors_of(app(**changes))
    assert error.startswith(f"flask_apps[0].{expected}")


@pytest.mark.parametrize(
    "changes",
    [
        {"env": {"FLASK_DEBUG": 0, "FLASK_ENV": "production"}, "secrets": {"SECRET_KEY": KEY}},
        {"env": {"FLASK_DEBUG": False, "A": 1.5, "B": True, "C": "", "PYTHONPATH": "src"}},
        {"shared_paths": ["data", "data2", "a/b", "a/c"]},
        {"secret_files": {"a": "ä" * 300_000, "b": "c" * 300_000}},
        {"source": {"archive": "/home/me/shop.tar.gz"}},
    ],
)
def test_what_goes_together_is_not_refused(changes: dict[str, Any]):
    assert errors_of(app(**changes)) == []


@pytest.mark.parametrize("option", ["env", "secrets"])
def test_the_name_of_the_script_is_the_path_or_empty(option: str):
    def errors(path: str, given: str) -> list[str]:
        other = app(name="admin", path=path, **{option: {"SCRIPT_NAME": given}})
        return errors_of(app(), other) if path != "/" else errors_of(other)

    for good in ("/admin", ""):
        assert errors("/admin", good) == []
    (error,) = errors("/admin", "/other")
    assert error.startswith(f"flask_apps[1].{option}.SCRIPT_NAME: must be '/admin', the path of the app")
    assert errors("/", "/other") == []
