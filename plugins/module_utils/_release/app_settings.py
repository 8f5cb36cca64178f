# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The framework, the interface and the settings of an imported app that matter in production.

The app's own Python runs this file as a part of the pre-flight's program (see :mod:`probe`): it uses the standard
library alone.
"""

from __future__ import annotations

import inspect
import os
import re
import typing as t

from ansible_collections.flask_ops.production.plugins.module_utils._release.secret_keys import key_report, unused_keys

FRAMEWORKS = frozenset("flask quart fastapi starlette django litestar falcon bottle pyramid sanic aiohttp".split())

INNER = ("wsgi_app", "asgi_app", "app", "application", "wsgi_application", "wrapped_app")
"""The attributes in which middleware keeps what it wraps."""

COOKIES = ("SESSION_COOKIE_SECURE", "SESSION_COOKIE_HTTPONLY", "SESSION_COOKIE_SAMESITE")


def makes_apps(name: str) -> bool:
    return re.match(r"(create|make|build|get|init)_?(\w*_)?app|(app|application)_?factory$", name) is not None


def framework(app: t.Any) -> str:
    """The framework of an app, or of a class, by its package; empty if it is none of those known here."""
    for kind in app.__mro__ if isinstance(app, type) else type(app).__mro__:
        package = str(kind.__module__).partition(".")[0]
        if package in FRAMEWORKS:
            return package
    return ""


def layers(app: t.Any) -> list[t.Any]:
    """The app and what is wrapped around it, from the outside; of Flask also what wraps its ``wsgi_app``."""
    found: list[t.Any] = []
    while app is not None and len(found) < 20 and not any(app is layer for layer in found):
        found.append(app)
        inner = getattr(app, "__self__", None) if inspect.ismethod(app) else None
        inner = inner or next((value for name in INNER if callable(value := getattr(app, name, None))), None)
        app = inner
    return found


def interface(app: t.Any) -> str:
    """How an app is called: ``wsgi``, ``asgi``, or ``factory`` for what has to be called first; empty if unknown."""
    function = inspect.isfunction(app) or isinstance(app, type)
    call = app if function or inspect.isroutine(app) else getattr(app, "__call__", app)  # noqa: B004
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):
        return ""
    two, three = takes(signature, 2), takes(signature, 3)
    if isinstance(app, type) and framework(app):
        return "factory"
    if function and (not (two or three) or (makes_apps(app.__name__) and not protocol(signature))):
        return "factory"
    if inspect.iscoroutinefunction(call) or protocol(signature) == "asgi":
        return "asgi"
    return {(True, False): "wsgi", (False, True): "asgi"}.get((two, three), protocol(signature))


def takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def protocol(signature: inspect.Signature) -> str:
    """Which interface the names of the parameters belong to."""
    names = list(signature.parameters)
    if names[-2:] == ["receive", "send"]:
        return "asgi"
    return "wsgi" if "start_response" in names else ""


def describe(app: t.Any, request: dict[str, t.Any], read: set[str]) -> dict[str, t.Any]:
    """The settings that matter in production. Of a key never more than what is wrong with it."""
    found = layers(app)
    report: dict[str, t.Any] = {
        "middleware": [type(layer).__name__ for layer in found],
        "interface": interface(app),
        "framework": next(filter(None, map(framework, found)), ""),
    }
    if report["interface"] == "factory":
        return report
    flask = next((layer for layer in found if framework(layer) in ("flask", "quart")), None)
    if report["framework"] == "django":
        report |= django_report(request)
    elif flask is not None:
        report |= flask_report(flask, request, read)
    return report


def flask_report(app: t.Any, request: dict[str, t.Any], read: set[str]) -> dict[str, t.Any]:
    config, prefix = app.config, f"{framework(app)}_".upper()
    fallbacks = config.get("SECRET_KEY_FALLBACKS") or []
    unread = [
        name
        for name in request["given"]
        if name.startswith(prefix)
        and not re.match(r"\w+?_(APP|ENV|DEBUG|RUN_\w+|SKIP_DOTENV|SECRET_KEY)$", name)
        and name not in read
        and name.removeprefix(prefix).partition("__")[0] not in config
    ]
    return {
        "debug": bool(app.debug),
        "settings": {name: json_value(config.get(name)) for name in COOKIES},
        "key": key_report(config.get("SECRET_KEY"), request),
        "fallback_keys": [
            key_report(key, request) for key in (fallbacks if isinstance(fallbacks, (list, tuple)) else [])
        ],
        "unused_keys": unused_keys(config.get("SECRET_KEY"), request),
        "unread": unread,
        "static": [[folder and relative_to_source(folder), url] for folder, url in static_folders(app)],
    }


def django_report(request: dict[str, t.Any]) -> dict[str, t.Any]:
    from django.conf import settings  # type: ignore[import-not-found,import-untyped,unused-ignore]

    names = (*COOKIES, "CSRF_COOKIE_SECURE", "SECURE_PROXY_SSL_HEADER", "ALLOWED_HOSTS")
    return {
        "debug": bool(settings.DEBUG),
        "settings": {name: json_value(getattr(settings, name, None)) for name in names},
        "key": key_report(settings.SECRET_KEY, request),
        "fallback_keys": [key_report(key, request) for key in getattr(settings, "SECRET_KEY_FALLBACKS", None) or []],
        "unused_keys": unused_keys(settings.SECRET_KEY, request),
    }


def json_value(value: t.Any) -> t.Any:
    """A setting as JSON can hold it."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return [str(item) for item in value] if isinstance(value, (list, tuple, set)) else type(value).__name__


def relative_to_source(path: str) -> str:
    """A path relative to the top of the source, if it is below that."""
    path, here = os.path.realpath(path), os.path.realpath("")
    return os.path.relpath(path, here) if path.startswith(here + os.sep) else path


def static_folders(app: t.Any) -> t.Iterator[tuple[str, str]]:
    """The directories of static files that the app serves itself, with the path of each."""
    prefix = os.environ.get("SCRIPT_NAME", "").rstrip("/")
    for rule in app.url_map.iter_rules():
        blueprint, _dot, view = rule.endpoint.rpartition(".")
        if view == "static" and "<" in rule.rule:
            owner = app.blueprints.get(blueprint) if blueprint else app
            yield str(getattr(owner, "static_folder", None) or ""), prefix + rule.rule.partition("<")[0]
