# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the variables of ``node_exporter`` allow, but not together.

This plugin util is private to the collection.
"""

from __future__ import annotations

import ipaddress
import typing as t
from collections.abc import Mapping

from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.passwords import hash_errors
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.predicates import is_address
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.rules import example
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import role_options
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.values import shown


def variable_errors(variables: Mapping[str, t.Any]) -> list[str]:
    """What node_exporter's variables allow, but not together."""
    options = role_options("node_exporter")

    def given(name: str) -> t.Any:
        return variables.get(f"node_exporter_{name}", options[f"node_exporter_{name}"]["default"])

    errors = []
    address, users, passwords = given("address"), given("users"), given("passwords")
    protected = given("tls") or users or passwords or given("unprotected")
    if (
        isinstance(address, str)
        and is_address(address)
        and not ipaddress.ip_address(address).is_loopback
        and not protected
    ):
        errors.append(
            f"node_exporter_address: {shown(address)} is open to the network, and metrics reveal much about a server: set "
            "node_exporter_tls and node_exporter_passwords, or node_exporter_unprotected where a firewall decides who "
            "may read them; a good value is 127.0.0.1"
        )
    if isinstance(users, Mapping) and isinstance(passwords, Mapping):
        errors += [
            f"node_exporter_passwords.{name}: is also in node_exporter_users; keep one of them"
            for name in sorted(users.keys() & passwords.keys())
        ]
    release = {name: given(name) for name in ("version", "archive", "checksums")}
    if any(release.values()):
        errors += [
            f"node_exporter_{name}: is empty; an upstream release needs a version, an archive and its checksum"
            f"{example(f'node_exporter_{name}') or example(f'node_exporter_{name}{{value}}')}"
            for name, value in release.items()
            if not value
        ]
    pair = {name: given(name) for name in ("certificate", "certificate_key")}
    if any(pair.values()):
        errors += [
            f"node_exporter_{name}: is empty, and the other of the two is not" for name in pair if not pair[name]
        ]
        if not given("tls"):
            errors.append("node_exporter_tls: is false, and node_exporter_certificate is set; a good value is true")
    return errors


def final_errors(apps: list[tuple[str, Mapping[str, t.Any]]], variables: Mapping[str, t.Any], name: str) -> list[str]:
    """Passwords on a controller that cannot hash them."""
    wanted = ["node_exporter_passwords"] if variables.get("node_exporter_passwords") else []
    return hash_errors(wanted, "bcrypt", "docs/logs-and-metrics.md", rounds=4)
