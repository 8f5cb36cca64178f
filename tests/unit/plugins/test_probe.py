"""What the pre-flight tells of an app, and what it makes of that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils import _probe

FLASK = """
class Config(dict):
    def from_prefixed_env(self): ...

class Flask:
    debug = False
    def __init__(self, **config): self.config = Config(config)
    def wsgi_app(self, environ, start_response): ...
    def __call__(self, environ, start_response): ...

class ProxyFix:
    def __init__(self, app): self.app = app
    def __call__(self, environ, start_response): ...

class DebuggedApplication(ProxyFix): ...

KEY = "canary-0f1e2d3c4b5a69788796a5b4"
SOUND = {"SECRET_KEY": KEY, "SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_HTTPONLY": True, "SESSION_COOKIE_SAMESITE": "Lax"}
"""


def told(tmp_path: Path, code: str, wsgi: str = "shop:app") -> tuple[dict[str, Any], str]:
    """Run the probe as the app's own Python does, without Ansible."""
    (tmp_path / "shop.py").write_text(FLASK + code)
    command = [sys.executable, "-c", _probe.source(), wsgi]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1]), done.stdout


def test_a_sound_app_gives_nothing_to_say_and_its_key_is_not_shown(tmp_path: Path):
    found, output = told(tmp_path, "app = Flask(**SOUND); app.wsgi_app = ProxyFix(app.wsgi_app); print('hello')")
    assert found["flask"]["secret_key_length"] == 31
    assert "canary" not in output
    assert _probe.judge(found) == ([], [])


def test_an_app_within_middleware_is_found(tmp_path: Path):
    found, _output = told(tmp_path, "def create(): return ProxyFix(Flask(**SOUND))", "shop:create()")
    assert (found["middleware"], _probe.judge(found)) == (["ProxyFix", "Flask", "method"], ([], []))


@pytest.mark.parametrize("code", ["def app(environ, start_response): ...", "app = ProxyFix(lambda e, s: ...)"])
def test_an_app_that_is_not_flask_is_not_judged(tmp_path: Path, code: str):
    assert _probe.judge(told(tmp_path, code)[0]) == ([], [])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("app = Flask(**SOUND); app.debug = True", "Flask's debug is on"),
        ("app = DebuggedApplication(Flask(**SOUND))", "Werkzeug's debugger is mounted"),
        ("app = Flask(**(SOUND | {'SECRET_KEY': None}))", "It has no SECRET_KEY"),
        ("app = Flask()", "It has no SECRET_KEY"),
    ],
)
def test_what_is_unsafe(tmp_path: Path, code: str, words: str):
    (error,), _unwise = _probe.judge(told(tmp_path, code)[0])
    assert words in error


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"SECRET_KEY": "dev"}, "its SECRET_KEY has 3 characters"),
        ({"SESSION_COOKIE_SECURE": False}, "SESSION_COOKIE_SECURE is not on"),
        ({"SESSION_COOKIE_SECURE": "False"}, "SESSION_COOKIE_SECURE is not on"),
        ({"SESSION_COOKIE_HTTPONLY": False}, "SESSION_COOKIE_HTTPONLY is not on"),
        ({"SESSION_COOKIE_SAMESITE": None}, "SESSION_COOKIE_SAMESITE is neither"),
    ],
)
def test_what_is_unwise(tmp_path: Path, change: dict[str, Any], words: str):
    found, _output = told(tmp_path, f"app = ProxyFix(Flask(**(SOUND | {change!r})))")
    insecure, (warning,) = _probe.judge(found)
    assert (insecure, words in warning) == ([], True)


def test_an_app_without_proxy_fix_is_told_so(tmp_path: Path):
    assert "ProxyFix" in _probe.judge(told(tmp_path, "app = Flask(**SOUND)")[0])[1][0]


def test_what_cannot_be_called_is_an_error(tmp_path: Path):
    with pytest.raises(subprocess.CalledProcessError) as error:
        told(tmp_path, "app = 7")
    assert "shop:app is 7, which cannot be called" in error.value.stderr
