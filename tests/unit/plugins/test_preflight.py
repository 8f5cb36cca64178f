"""The pre-flight: when an app is imported, and the reasons why it cannot be served."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._release import builder as _builder
from ansible_collections.flask_ops.production.plugins.module_utils._release import preflight as _preflight
from ansible_collections.flask_ops.production.plugins.module_utils._release import sandboxed as _sandboxed
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import ReleaseError
from ansible_collections.flask_ops.production.plugins.module_utils._release.builder import Builder
from ansible_collections.flask_ops.production.plugins.module_utils._release.preflight import explain, probe_request
from ansible_collections.flask_ops.production.plugins.module_utils._release.release import Release
from ansible_collections.flask_ops.production.plugins.module_utils._release.sandboxed import run_in_sandbox

from tests.unit.plugins.releases import SOUND, app, releases, static


class LiveRelease:
    """A live release, whose app is described by ``report``; ``imports`` counts the pre-flights."""

    def __init__(self, root: Path) -> None:
        options = {"environment_file": str(root / "environment"), "secret_names": ("FLASK_SECRET_KEY",)}
        self.release = dataclasses.replace(releases(root, "r1"), app=app(root, **options))
        self.report = json.dumps(SOUND | {"middleware": ["Flask"]})
        self.imports = 0

    def run(self, _release: Release, purpose: str, *_rest: Any) -> str:
        assert purpose == "preflight"
        self.imports += 1
        return self.report

    def ensure(self, **changes: Any) -> list[str]:
        """The warnings of a run with some options changed."""
        own = {name: changes.pop(name) for name in ("credentials_directory",) if name in changes}
        changed = dataclasses.replace(self.release.app, options={**self.release.app.options, **changes}, **own)
        builder = Builder(dataclasses.replace(self.release, app=changed))
        builder.ensure()
        return builder.warnings


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LiveRelease:
    (tmp_path / "environment").write_text('FLASK_SECRET_KEY="geheimnis"\n')
    (tmp_path / "current").symlink_to("releases/r1")
    made = LiveRelease(tmp_path)
    monkeypatch.setattr(_preflight, "run_in_sandbox", made.run)
    monkeypatch.setattr(_preflight, "write", lambda path, content, *_rest: Path(path).write_bytes(content))
    for claim in ("claim_shared", "claim_build_directory", "claim_releases"):
        monkeypatch.setattr(_builder, claim, lambda _app: False)
    monkeypatch.setattr(_builder, "mark_live", lambda _app: None)
    monkeypatch.setattr(Release, "complete", True)
    return made


def test_a_live_release_is_judged_once_and_warned_of_once(live: LiveRelease):
    (warning,) = live.ensure()
    assert "ProxyFix" in warning
    assert live.ensure() == []
    assert live.imports == 1


@pytest.mark.parametrize(
    "change",
    [
        {"wsgi": "shop:other"}, {"worker_class": "sync"}, {"server": "waitress"}, {"health": {"deadline": 200}},
        {"limits": {"tasks": 99}}, {"env_names": ["X"]}, {"static": static("dist", "/assets/")},
        {"accept_insecure": ("no_proxy_fix",)},
    ],
)  # fmt: skip
def test_a_changed_setting_of_a_live_release_is_judged_and_its_warnings_are_known(
    live: LiveRelease, change: dict[str, Any]
):
    live.ensure()
    assert live.ensure(**change) == []
    assert live.imports == 2


def test_a_changed_environment_of_a_live_release_is_judged(live: LiveRelease):
    live.ensure()
    Path(live.release.app.environment_file).write_text("")
    live.report = json.dumps(SOUND | {"key": {"length": 0, "weak": "", "source": ""}})
    for _run in range(2):
        with pytest.raises(
            ReleaseError, match=r"pre-flight of release r1 failed; r1 still serves.*It has no SECRET_KEY"
        ):
            live.ensure()
    assert live.ensure(accept_insecure=("no_secret_key", "no_proxy_fix")) == []


def test_an_app_is_judged_again_when_a_secret_file_of_its_changes(live: LiveRelease, tmp_path: Path):
    directory = tmp_path / "credentials"
    directory.mkdir()
    # A file that is new, changed, and gone.
    for text in ("1", "2", None):
        (directory / "client.pem").write_text(text) if text else (directory / "client.pem").unlink()
        for _run in range(2):
            live.ensure(credentials_directory=str(directory))
    assert live.imports == 3


def test_pre_flight_and_migration_get_the_secret_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calls: list[list[str]] = []
    monkeypatch.setattr(_sandboxed, "run", lambda argv, **_rest: calls.append(argv))
    monkeypatch.setattr(_sandboxed, "wait_until_gone", lambda *_: None)
    (tmp_path / "google.json").write_text("canary")
    (tmp_path / "secrets.json").write_text("{}")
    described = app(tmp_path, credentials_directory=str(tmp_path))
    run_in_sandbox(dataclasses.replace(releases(tmp_path, "r1"), app=described), "migrate", ["x"], 9, "x")
    assert [word for word in calls[0] if "LoadCredential" in word] == [
        f"--property=LoadCredential={name}:{tmp_path}/{name}" for name in ("google.json", "secrets.json")
    ]
    assert "canary" not in str(calls)


def test_every_finding_stops_a_release_where_that_is_asked_for(live: LiveRelease):
    with pytest.raises(ReleaseError, match=r"\[no_proxy_fix\]\n=> accept_insecure: \[no_proxy_fix\] releases it"):
        live.ensure(fail_on_insecure=True)


@pytest.mark.parametrize("answer", ["", "words", "[]\nwords"])
def test_a_pre_flight_without_a_result_is_an_error_that_names_app_and_step(live: LiveRelease, answer: str):
    live.report = answer
    with pytest.raises(
        ReleaseError, match=r"^shop: pre-flight of release r1 failed; r1 still serves. The pre-flight of"
    ):
        live.ensure()


def test_an_error_shows_no_secret(live: LiveRelease):
    live.report = json.dumps({"failure": {"kind": "error", "lines": ["ValueError: geheimnis"]}, "output": "geheimnis"})
    with pytest.raises(ReleaseError) as error:
        live.ensure()
    assert "geheimnis" not in str(error.value)


def test_a_full_disk_stops_neither_pre_flight_nor_the_way_back(live: LiveRelease, monkeypatch: pytest.MonkeyPatch):
    def full(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_preflight, "write", full)
    monkeypatch.setattr(_builder, "keep_static", full)
    Path(live.release.app.root, "current").unlink()
    Path(live.release.app.root, "current").symlink_to("releases/r0")
    assert [word for word in live.ensure() if "static files" in word and "No space left" in word]


@pytest.mark.parametrize(
    ("failed", "words"),
    [
        ({"kind": "name", "name": "ap", "candidates": ["app", "create_app()"]},
         "names 'ap', which the module shop does not have.\n=> set wsgi: \"shop:app\" or \"shop:create_app()\"."),
        ({"kind": "type", "type": "str", "candidates": []}, "is of type str, and no application."),
        ({"kind": "server", "lines": ['  File "a.py", line 3']}, "starts a server of its own while it is imported:\n  File"),
        ({"kind": "exit", "status": 3}, "ended the process with status 3 while it was imported"),
        ({"kind": "signal", "signal": "SIGSEGV", "where": 'Fatal\n\nCurrent thread 0x1 (most recent):\n  File "/a.py", line 3 in f\n  File "<string>", line 1 in load'},
         'died by signal SIGSEGV while it was imported.\nIt was here, the innermost call first:\n  File "/a.py", line 3 in f'),
        ({"kind": "timeout", "limit": 120}, "within 120 seconds.\n=> for an app that needs longer, raise health.deadline (now 60)"),
        ({"kind": "error", "lines": ["KeyError: 'X'"]}, "cannot be imported:\nKeyError: 'X'"),
        ({"kind": "error", "lines": ["ModuleNotFoundError: No module named 'shop'"], "module": "shop", "modules": ["src/shop"]},
         "=> the source has src/shop"),
        ({"kind": "error", "lines": ["ModuleNotFoundError: No module named 'shop'"], "module": "shop", "modules": ["shops", "x"]},
         '=> the source has shops: set wsgi: "shops:app".'),
    ],
)  # fmt: skip
def test_why_an_app_cannot_be_imported(failed: dict[str, Any], words: str):
    text = explain(app(), {"failure": failed, "output": ""})
    assert text.startswith('wsgi: "shop:app" ')
    assert words in text


@pytest.mark.parametrize(
    ("told", "options", "advice"),
    [
        ({"interface": "factory"}, {}, '=> put parentheses behind it: wsgi: "shop:app()".'),
        ({"interface": "asgi", "framework": "fastapi"}, {}, "=> set worker_class: asgi."),
        ({"interface": "asgi", "framework": ""}, {"worker_class": "gevent"}, "=> set worker_class: asgi."),
        ({"interface": "asgi"}, {"server": "waitress"}, "=> set worker_class: asgi."),
        ({"interface": "wsgi", "framework": "flask"}, {"worker_class": "asgi"}, "=> leave worker_class out"),
        ({"interface": "asgi"}, {"worker_class": "asgi"}, ""),
        ({"interface": "wsgi"}, {"worker_class": "sync"}, ""),
        ({"interface": ""}, {"worker_class": "asgi"}, ""),
        ({"error": "RuntimeError"}, {}, ""),
    ],
)
def test_an_app_that_the_server_cannot_call(told: dict[str, Any], options: dict[str, str], advice: str):
    text = explain(app(**options), told)
    assert (advice in text, bool(text)) == (True, bool(advice))


def test_what_the_app_printed_is_quoted_without_its_secrets(tmp_path: Path):
    environment = tmp_path / "environment"
    environment.write_text('DB_URL="db://me:geh\\"eim@db"\nMODE="production"\n')
    described = app(environment_file=str(environment), secret_names=("DB_URL",))
    output = 'production: \x1b[31mcannot connect\x1b[0m to db://me:geh"eim@db'
    text = explain(described, {"failure": {"kind": "exit", "status": 1}, "output": output})
    assert text.endswith("It printed:\nproduction: cannot connect to ***")


def test_a_secret_of_several_lines_is_masked_also_line_by_line(tmp_path: Path):
    environment = tmp_path / "environment"
    environment.write_text('KEY="-----BEGIN KEY-----\ncanaryabcdefghijklm\n-----END KEY-----\n"\nA="canary"\n')
    described = app(environment_file=str(environment), secret_names=("KEY",))
    failed = {"kind": "error", "lines": ["ValueError: canaryabcdefghijklm"]}
    assert "canary" not in explain(described, {"failure": failed, "output": "canaryabcdefghijklm"})


def test_secret_files_are_masked_with_their_lines_and_the_values_in_them(tmp_path: Path):
    key = "-----BEGIN KEY-----\ncanaryabcdefghijklm\n-----END KEY-----\n"
    (tmp_path / "google.json").write_text(json.dumps({"type": "account", "keys": [{"private_key": key}]}))
    (tmp_path / "client.pem").write_text(key.replace("canary", "canary2"))
    (tmp_path / "token").write_text("canary-3\n")
    (tmp_path / "secrets.json").write_text(json.dumps({"TOKEN": "canary-4"}))
    described = app(credentials_directory=str(tmp_path))
    output = f"{key}: account canaryabcdefghijklm canary2abcdefghijklm canary-3 canary-4"
    text = explain(described, {"failure": {"kind": "exit", "status": 1}, "output": output})
    assert "canary" not in text
    assert "account" in text


@pytest.mark.parametrize(("deadline", "limit"), [(1, 120), (60, 120), (300, 300)])
def test_the_limit_follows_the_deadline_of_the_health_check(deadline: int, limit: int):
    assert probe_request(app(health={"deadline": deadline}))["limit"] == limit
