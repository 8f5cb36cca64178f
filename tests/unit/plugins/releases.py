"""Apps and releases for the tests of builds."""

from __future__ import annotations

import dataclasses
import os
import pwd
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import App
from ansible_collections.flask_ops.production.plugins.module_utils._release.release import Release

from tests.unit.plugins.apps import prepared

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
CHECKSUM = "3f2c9a1b7d20" + "0" * 52

SOUND: dict[str, Any] = {
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
"""The report of the probe about an app without a finding."""


def static(path: str, url: str = "/static/") -> dict[str, Any]:
    """The complete option of this name."""
    return {"path": path, "url": url, "keep": 86400}


def app(root: Path | str = "/srv/shop", **changes: Any) -> App:
    """An app as the module sees it. Changes are options of the app, or attributes of ``App``."""
    given = {"name": "shop", "source": {"path": "/home/me/shop"}, "wsgi": "shop:app", "domains": ["a.example.com"]}
    (options,) = prepared(given)
    fields = {field.name for field in dataclasses.fields(App)}
    own: dict[str, Any] = {
        "user": pwd.getpwuid(os.geteuid()).pw_name,
        "root": str(root),
        "python": sys.executable,
        **{key: value for key, value in changes.items() if key in fields},
    }
    options |= {"source": {"path": "/home/me/shop", "sha256": CHECKSUM}}
    return App(options | {key: value for key, value in changes.items() if key not in fields}, **own)


def releases(root: Path, *names: str, keep: int = 3) -> Release:
    """Complete releases, the oldest first; the last one is the new one. A name with a dash in front is incomplete."""
    for age, name in enumerate(reversed(names)):
        path = root / "releases" / name.removeprefix("-")
        path.mkdir(parents=True)
        if not name.startswith("-"):
            (path / ".complete").touch()
            os.utime(path / ".complete", (1_000_000 - age, 1_000_000 - age))
    return Release(app(root, keep=keep), names[-1], "", "")
