"""What the settings of an app may not be in production, and what the user reads about them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._release.findings import FINDINGS, evaluate

from tests.unit.plugins.releases import SOUND, app, static


def judged(changes: dict[str, Any], **options: Any) -> list[tuple[str, bool]]:
    return [(finding.name, finding.stops) for finding in evaluate(app(**options), SOUND | changes)]


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
        ({"settings": SOUND["settings"] | {"SESSION_COOKIE_SECURE": False}}, "insecure_cookie"),
        ({"settings": SOUND["settings"] | {"SESSION_COOKIE_SECURE": "False"}}, "insecure_cookie"),
        ({"settings": SOUND["settings"] | {"SESSION_COOKIE_HTTPONLY": False}}, "cookie_without_httponly"),
        ({"settings": SOUND["settings"] | {"SESSION_COOKIE_SAMESITE": None}}, "cookie_without_samesite"),
        ({"middleware": ["Flask"]}, "no_proxy_fix"),
        ({"unused_keys": ["FLASK_SECRET_KEY"]}, "unused_secret_key"),
        ({"unread": ["FLASK_MAIL_SERVER"]}, "unread_settings"),
    ],
)
def test_what_is_warned_of_unless_it_is_accepted_by_name(changes: dict[str, Any], name: str):
    assert judged(changes) == [(name, False)]
    assert judged(changes, accept_insecure=(name,)) == []
    assert name in FINDINGS


def test_an_app_that_is_not_described_is_not_judged():
    assert evaluate(app(), {"error": "RuntimeError"}) == []
    assert evaluate(app(), {"framework": "fastapi", "interface": "asgi", "middleware": ["FastAPI"]}) == []


def test_a_key_that_is_not_used_is_named_with_the_way_to_use_it():
    changes = {"key": {"length": 3, "weak": "known", "source": ""}, "unused_keys": ["FLASK_SECRET_KEY"]}
    (finding,) = evaluate(app(), SOUND | changes)
    assert "FLASK_SECRET_KEY is given, but the app uses another SECRET_KEY" in finding.text
    assert "app.config.from_prefixed_env()" in finding.text


def test_quart_gets_advice_of_its_own():
    changes = {"framework": "quart", "middleware": ["Quart"], "key": {"length": 0, "weak": "", "source": ""}}
    (finding,) = evaluate(app(), SOUND | changes)
    assert "QUART_SECRET_KEY" in finding.text
    assert "FLASK" not in finding.text


def test_django_gets_advice_of_its_own():
    settings = {**SOUND["settings"], "CSRF_COOKIE_SECURE": False, "SECURE_PROXY_SSL_HEADER": None}
    changes = {"framework": "django", "key": {"length": 0, "weak": "", "source": ""}, "settings": settings}
    found = evaluate(app(), SOUND | changes)
    assert [finding.name for finding in found] == ["no_secret_key", "insecure_cookie", "no_proxy_fix"]
    assert "settings.py" in found[0].text
    assert "FLASK" not in str(found)


@pytest.mark.parametrize(
    ("static", "options", "expected"),
    [
        ([["static", "/static/"]], {"static": static("static")}, ""),
        ([["shop/static", "/static/"]], {"static": static("shop/static")}, ""),
        ([["/srv/shop/x/site-packages/shop/static", "/static/"]], {"static": static("src/shop/static")}, ""),
        ([["static", "/static/"]], {"static": static("dist")}, "from static.path, dist, but the app's files for it are in static"),
        ([["static", "/static/"]], {"static": static("dist", "/dist/")}, ""),
        ([["static", "/assets/"]], {"static": static("static")}, "Set static.url: /assets/"),
        ([["static", "/"], ["a/static", "/a/"]], {"static": static("a/static", "/a/")}, ""),
        ([["static", "/static/"]], {}, ""),
        ([["", "/static/"]], {"static": static("static")}, ""),
    ],
)  # fmt: skip
def test_static_files_that_never_reach_a_visitor(static: list[list[str]], options: dict[str, str], expected: str):
    found = evaluate(app(**options), SOUND | {"static": static})
    assert [finding.name for finding in found] == (["static_url"] if expected else [])
    assert expected in str(found)
