# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a CA would refuse, or could not do.

This plugin util is private to the collection.
"""

from __future__ import annotations

import re
import typing as t
from collections.abc import Mapping

from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import role_options

PUBLIC_CAS = (
    "letsencrypt.org", "zerossl.com", "pki.goog", "sectigo.com", "ssl.com", "buypass.com", "digicert.com",
)  # fmt: skip
"""Those that know nobody's private names, by the end of their server's name."""


PRIVATE_NAMES = re.compile(
    r"(^|\.)(test|local|localhost|localdomain|internal|intranet|lan|home|corp|private|invalid|onion|home\.arpa|example"
    r"|example\.(com|net|org))$"
)
"""Names that nobody outside can look up."""


MAX_NAMES = {"tlsserver": 25, "shortlived": 25}
"""How many names a certificate of Let's Encrypt may have, by profile."""


def final_errors(apps: list[tuple[str, Mapping[str, t.Any]]], variables: Mapping[str, t.Any], name: str) -> list[str]:
    """The errors of the CA that is asked, and of the certificates that the apps want."""
    given = {key: variables.get(key, option.get("default")) for key, option in role_options("letsencrypt").items()}
    if name != "letsencrypt_apps" and not given["letsencrypt_email"]:
        return []  # in a playbook, the address turns it on
    errors = ca_errors(given)
    for place, app in apps:
        acme = app.get("acme") or {}
        present = app.get("state", "present") == "present" and app.get("path") in (None, "/")
        if present and not app.get("certificate") and acme.get("enabled", True):
            errors += _order_errors(app, acme, place, given)
    return errors


def ca_errors(given: Mapping[str, t.Any]) -> list[str]:
    """The errors of the CA that is asked."""
    errors = []
    default = role_options("letsencrypt")["letsencrypt_server"]["default"]
    if given["letsencrypt_staging"] and given["letsencrypt_server"] != default:
        errors.append(
            "letsencrypt_staging: is the staging server of Let's Encrypt; leave it out with letsencrypt_server"
        )
    eab = given["letsencrypt_eab"]
    if eab and isinstance(eab, Mapping):
        errors += [
            f"letsencrypt_eab.{key}: is missing; the CA gives both of kid and hmac_key"
            for key in ("kid", "hmac_key")
            if key not in eab
        ]
        if not given["letsencrypt_email"]:
            errors.append("letsencrypt_email: an account that is bound by letsencrypt_eab needs one")
    if given["letsencrypt_dns_plugin"] and not given["letsencrypt_dns_credentials"]:
        errors.append(
            "letsencrypt_dns_credentials: are missing; the documentation of the plugin "
            f"{given['letsencrypt_dns_plugin']} says which ones it needs"
        )
    return errors


def _order_errors(
    app: Mapping[str, t.Any], acme: Mapping[str, t.Any], place: str, given: Mapping[str, t.Any]
) -> list[str]:
    """What is wrong with one certificate that is wanted."""
    errors = []
    server = str(given["letsencrypt_server"]).split("/")
    public = len(server) > 2 and server[2].endswith(PUBLIC_CAS)
    challenge = acme.get("challenge") or given["letsencrypt_challenge"]
    profile = acme.get("profile") or given["letsencrypt_profile"]
    addresses = acme.get("ip_addresses") or []
    names = [domain for domain in app.get("domains") or [] if isinstance(domain, str)]
    off = f"leave the name out, or set {place}.acme: {{enabled: false}}"
    for index, domain in enumerate(names):
        if domain.startswith("*.") and challenge != "dns-01":
            errors.append(
                f"{place}.domains[{index}]: '{domain}' needs the challenge dns-01, and a letsencrypt_dns_plugin; {off}"
            )
        if public and PRIVATE_NAMES.search(domain):
            errors.append(f"{place}.domains[{index}]: no public CA knows the name '{domain}'; {off}")
    if challenge == "dns-01" and not given["letsencrypt_dns_plugin"]:
        errors.append(f"{place}: the challenge dns-01 needs letsencrypt_dns_plugin; a good value is dns-rfc2136")
    if addresses and challenge != "http-01":
        errors.append(f"{place}.acme.ip_addresses: go with the challenge http-01 only")
    if addresses and public and profile != "shortlived":
        errors.append(f"{place}.acme.ip_addresses: need the profile shortlived, in {place}.acme.profile")
    most = MAX_NAMES.get(profile, 100)
    if len(names) + len(addresses) > most:
        errors.append(
            f"{place}.domains: {len(names) + len(addresses)} names are more than the {most} that a certificate "
            f"{f'of the profile {profile} ' if profile else ''}may have; make two apps of it, or use '*.'"
        )
    return errors
