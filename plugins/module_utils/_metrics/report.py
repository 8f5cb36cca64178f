# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of apps on the screen.

This module util is private to the collection.
"""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.flask_ops.production.plugins.module_utils._deploy.health import Health


def in_words(seconds: float) -> str:
    """The one form of time in the status.

    >>> in_words(1764000000)
    '2025-11-24 16:00 UTC'
    """
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def times(count: int | str) -> str:
    return "once" if int(count) == 1 else f"{count} times"


def summary(found: dict[str, t.Any]) -> str:
    """One line about an app."""
    if found["slot"] is None:
        return f"{found['name']}: nothing is live"
    live = f"{found['slot']} serves {found['version'] or 'release'}, release {found['release']}"
    if not found["version"]:
        live = f"{found['slot']} serves release {found['release']}"
    since = f", since {in_words(found['since'])}" if found["since"] else ""
    closed = ", CLOSED for maintenance" if found["maintenance"] else ""
    return f"{found['name']}: {live}{since}{closed}"


def lines_of(found: dict[str, t.Any], app: dict, deploys: t.Sequence[str]) -> list[str]:
    """The status of an app on the screen."""
    lines = [summary(found)]
    path = Health.of(app).path
    if found["health"]:
        through = f", through nginx: {found['nginx']}" if found["nginx"] else ""
        lines.append(f"  GET {path}: {found['health']} in {found['seconds']:g} s{through}")
    if known := found["certificate"]:
        kind = "self-signed" if known["self_signed"] else f"by {known['issuer']}"
        lines.append(f"  certificate: {kind}, until {in_words(known['expires'])}, {known['days_left']} days left")
    lines += [f"  deploy: {deploy}" for deploy in deploys]
    lines += [f"  PROBLEM: {problem}" for problem in found["problems"]]
    return lines
