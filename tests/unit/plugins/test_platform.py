"""The hosts that the roles are made for."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.platform import SUPPORTED, platform_errors
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import ROLE_NAMES, ROLES


@pytest.mark.parametrize(
    ("distribution", "version", "supported"),
    [("Debian", "12", True), ("Debian", 13, True), ("Ubuntu", "24", True), ("Debian", "11", False), ("Ubuntu", "22", False),
     ("RedHat", "10", False), ("Debian", "testing", False), (None, None, False)],
)  # fmt: skip
def test_a_host_that_is_not_supported_is_refused_by_name(distribution: Any, version: Any, supported: bool):
    facts = {"distribution": distribution, "distribution_major_version": version}
    refused = (
        f"this host runs {distribution} {version}, which is not supported; supported are Debian 12, 13; Ubuntu 24, 26"
    )
    assert platform_errors(facts, {}, ROLE_NAMES) == ([] if supported else [refused])


@pytest.mark.parametrize(("version", "refused"), [("12", True), ("13", False)])
def test_http_3_is_refused_where_nginx_has_none(version: str, refused: bool):
    facts = {"distribution": "Debian", "distribution_major_version": version}
    words = f"nginx_proxy_http3: the nginx of Debian {version} has no HTTP/3; must be false"
    assert platform_errors(facts, {"nginx_proxy_http3": True}, ROLE_NAMES) == ([words] if refused else [])
    assert platform_errors(facts, {"nginx_proxy_http3": False}, ROLE_NAMES) == []


@pytest.mark.parametrize(
    ("role", "variable"),
    [("nginx_proxy", "__nginx_proxy_platforms"), ("gunicorn_systemd", "__gunicorn_systemd_versions")],
)
def test_what_a_role_knows_of_platforms_is_complete(role: str, variable: str):
    known = yaml.safe_load((ROLES / role / "vars" / "main.yml").read_text())[variable]
    assert sorted(known) == sorted(f"{name}{version}" for name, versions in SUPPORTED.items() for version in versions)
