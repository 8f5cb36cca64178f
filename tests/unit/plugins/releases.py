"""Apps and releases for the tests of builds."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import App
from ansible_collections.flask_ops.production.plugins.module_utils._release.release import Release

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


def app(root: Path | str = "/srv/shop", **changes: Any) -> App:
    options: dict[str, Any] = {
        "name": "shop",
        "user": pwd.getpwuid(os.geteuid()).pw_name,
        "root": str(root),
        "source": {"path": "/home/me/shop", "sha256": CHECKSUM},
        "python": sys.executable,
        "wsgi": "shop:app",
    }
    return App(**(options | changes))


def releases(root: Path, *names: str, keep: int = 3) -> Release:
    """Complete releases, the oldest first; the last one is the new one. A name with a dash in front is incomplete."""
    for age, name in enumerate(reversed(names)):
        path = root / "releases" / name.removeprefix("-")
        path.mkdir(parents=True)
        if not name.startswith("-"):
            (path / ".complete").touch()
            os.utime(path / ".complete", (1_000_000 - age, 1_000_000 - age))
    return Release(app(root, keep=keep), names[-1], "", "")
