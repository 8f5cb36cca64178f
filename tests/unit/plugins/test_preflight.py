"""What the pre-flight makes of an app's description: whether it may go live, and what the user reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._release import preflight as _preflight
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import App

SOUND = {
    "framework": "flask",
    "interface": "wsgi",
    "middleware": ["Flask", "ProxyFix"],
    "debug": False,
    "settings": {"SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_HTTPONLY": True, "SESSION_COOKIE_SAMESITE": "Lax"},
    "key": {"length": 43, "weak": "", "source": ""},
    "fallback_keys": [],
    "unused_keys": [],
    "unread": [],
    "static": [["static", "/static/"]],
}


def app(**changes: Any) -> App:
    described: dict[str, Any] = {
        "name": "shop",
        "user": "shop",
        "root": "/srv/shop",
        "source": {},
        "python": "",
        "wsgi": "shop:app",
    }
    return App(**(described | changes))


def judged(changes: dict[str, Any], **options: Any) -> list[tuple[str, bool]]:
    return [(finding.name, finding.stops) for finding in _preflight.judge(app(**options), SOUND | changes)]


def test_a_sound_app_gives_no_finding():
    assert judged({}) == []


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"debug": True}, "debug_mode"),
        ({"middleware": ["DebuggedApplication", "Flask", "ProxyFix"]}, "werkzeug_debugger"),
        ({"key": {"length": 0, "weak": "", "source": ""}}, "no_secret_key"),
        ({"key": {"length": 3, "weak": "known", "source": ""}}, "weak_secret_key"),
        ({"key": {"length": 9, "weak": "short", "source": ""}}, "weak_secret_key"),
        ({"key": {"length": 30, "weak": "monotonous", "source": ""}}, "weak_secret_key"),
        ({"key": {"length": 30, "weak": "", "source": "config.py"}}, "secret_key_in_source"),
        ({"fallback_keys": [{"length": 3, "weak": "known", "source": ""}]}, "weak_secret_key"),
    ],
)
def test_what_stops_a_release_unless_it_is_accepted_by_name(changes: dict[str, Any], name: str):
    assert judged(changes) == [(name, True)]
    assert judged(changes, accept_insecure=(name,)) == []


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"key": {"length": 16, "weak": "", "source": ""}}, "short_secret_key"),
        ({"settings": SOUND["settings"] | {"SESSION_COOKIE_SECURE": False}}, "insecure_cookie"),  # type: ignore[operator]
        ({"settings": SOUND["settings"] | {"SESSION_COOKIE_SECURE": "False"}}, "insecure_cookie"),  # type: ignore[operator]
        ({"settings": SOUND["settings"] | {"SESSION_COOKIE_HTTPONLY": False}}, "cookie_without_httponly"),  # type: ignore[operator]
        ({"settings": SOUND["settings"] | {"SESSION_COOKIE_SAMESITE": None}}, "cookie_without_samesite"),  # type: ignore[operator]
        ({"middleware": ["Flask"]}, "no_proxy_fix"),
        ({"unused_keys": ["FLASK_SECRET_KEY"]}, "unused_secret_key"),
        ({"unread": ["FLASK_MAIL_SERVER"]}, "unread_settings"),
    ],
)
def test_what_is_warned_of_unless_it_is_accepted_by_name(changes: dict[str, Any], name: str):
    assert judged(changes) == [(name, False)]
    assert judged(changes, accept_insecure=(name,)) == []
    assert name in _preflight.FINDINGS


def test_an_app_that_is_not_described_is_not_judged():
    assert _preflight.judge(app(), {"error": "RuntimeError"}) == []
    assert _preflight.judge(app(), {"framework": "fastapi", "interface": "asgi", "middleware": ["FastAPI"]}) == []


def test_a_key_that_is_not_used_is_named_with_the_way_to_use_it():
    changes = {"key": {"length": 3, "weak": "known", "source": ""}, "unused_keys": ["FLASK_SECRET_KEY"]}
    (finding,) = _preflight.judge(app(), SOUND | changes)
    assert "FLASK_SECRET_KEY is given, but the app uses another SECRET_KEY" in finding.text
    assert "app.config.from_prefixed_env()" in finding.text


def test_quart_gets_advice_of_its_own():
    changes = {"framework": "quart", "middleware": ["Quart"], "key": {"length": 0, "weak": "", "source": ""}}
    (finding,) = _preflight.judge(app(), SOUND | changes)
    assert "QUART_SECRET_KEY" in finding.text
    assert "FLASK" not in finding.text


def test_django_gets_advice_of_its_own():
    settings = {**SOUND["settings"], "CSRF_COOKIE_SECURE": False, "SECURE_PROXY_SSL_HEADER": None}  # type: ignore[dict-item]
    changes = {"framework": "django", "key": {"length": 0, "weak": "", "source": ""}, "settings": settings}
    found = _preflight.judge(app(), SOUND | changes)
    assert [finding.name for finding in found] == ["no_secret_key", "insecure_cookie", "no_proxy_fix"]
    assert "settings.py" in found[0].text
    assert "FLASK" not in str(found)


# --- static files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("static", "options", "expected"),
    [
        ([["static", "/static/"]], {"static_path": "static"}, ""),
        ([["shop/static", "/static/"]], {"static_path": "shop/static"}, ""),
        ([["/srv/shop/x/site-packages/shop/static", "/static/"]], {"static_path": "src/shop/static"}, ""),
        ([["static", "/static/"]], {"static_path": "dist"}, "from static.path, dist, but the app's files for it are in static"),
        ([["static", "/static/"]], {"static_path": "dist", "static_url": "/dist/"}, ""),
        ([["static", "/assets/"]], {"static_path": "static"}, "Set static.url: /assets/"),
        ([["static", "/"], ["a/static", "/a/"]], {"static_path": "a/static", "static_url": "/a/"}, ""),
        ([["static", "/static/"]], {}, ""),
        ([["", "/static/"]], {"static_path": "static"}, ""),
    ],
)  # fmt: skip
def test_static_files_that_never_reach_a_visitor(static: list[list[str]], options: dict[str, str], expected: str):
    found = _preflight.judge(app(**options), SOUND | {"static": static})
    assert [finding.name for finding in found] == (["static_url"] if expected else [])
    assert expected in str(found)


# --- what cannot be served ------------------------------------------------------------------------------------------------


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
    text = _preflight.explain(app(), {"failure": failed, "output": ""})
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
    text = _preflight.explain(app(**options), told)
    assert (advice in text, bool(text)) == (True, bool(advice))


def test_what_the_app_printed_is_quoted_without_its_secrets(tmp_path: Path):
    environment = tmp_path / "environment"
    environment.write_text('DB_URL="db://me:geh\\"eim@db"\nMODE="production"\n')
    described = app(environment_file=str(environment), secret_names=("DB_URL",))
    output = 'production: \x1b[31mcannot connect\x1b[0m to db://me:geh"eim@db'
    text = _preflight.explain(described, {"failure": {"kind": "exit", "status": 1}, "output": output})
    assert text.endswith("It printed:\nproduction: cannot connect to ***")


def test_a_secret_of_several_lines_is_masked_also_line_by_line(tmp_path: Path):
    environment = tmp_path / "environment"
    environment.write_text('KEY="-----BEGIN KEY-----\ncanaryabcdefghijklm\n-----END KEY-----\n"\nA="canary"\n')
    described = app(environment_file=str(environment), secret_names=("KEY",))
    failed = {"kind": "error", "lines": ["ValueError: canaryabcdefghijklm"]}
    assert "canary" not in _preflight.explain(described, {"failure": failed, "output": "canaryabcdefghijklm"})


def test_secret_files_are_masked_with_their_lines_and_the_values_in_them(tmp_path: Path):
    key = "-----BEGIN KEY-----\ncanaryabcdefghijklm\n-----END KEY-----\n"
    (tmp_path / "google.json").write_text(json.dumps({"type": "account", "keys": [{"private_key": key}]}))
    (tmp_path / "client.pem").write_text(key.replace("canary", "canary2"))
    (tmp_path / "token").write_text("canary-3\n")
    (tmp_path / "secrets.json").write_text(json.dumps({"TOKEN": "canary-4"}))
    described = app(credentials_directory=str(tmp_path))
    output = f"{key}: account canaryabcdefghijklm canary2abcdefghijklm canary-3 canary-4"
    text = _preflight.explain(described, {"failure": {"kind": "exit", "status": 1}, "output": output})
    assert "canary" not in text
    assert "account" in text


@pytest.mark.parametrize(("deadline", "limit"), [(1, 120), (60, 120), (300, 300)])
def test_the_limit_follows_the_deadline_of_the_health_check(deadline: int, limit: int):
    assert _preflight.request(app(deadline=deadline))["limit"] == limit
