# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts that the roles are made for.

This plugin util is private to the collection.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping

from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.apps import ask

SUPPORTED = {"Debian": ("12", "13"), "Ubuntu": ("24", "26")}
"""Distribution and major version. Debian is tested; Ubuntu goes through the same code."""


def platform_errors(facts: Mapping[str, t.Any], variables: Mapping[str, t.Any], roles: Iterable[str]) -> list[str]:
    """Whether the host is one that the roles are made for, by name, and can do what is asked of it."""
    distribution, version = facts.get("distribution"), str(facts.get("distribution_major_version"))
    if facts.get("service_mgr", "systemd") != "systemd":
        return [f"this host is run by {facts['service_mgr']}; must be systemd"]
    if version in SUPPORTED.get(str(distribution), ()):
        return ask("platform_errors", roles, f"{distribution} {version}", variables)
    supported = "; ".join(f"{name} {', '.join(versions)}" for name, versions in SUPPORTED.items())
    return [f"this host runs {distribution} {version}, which is not supported; supported are {supported}"]
