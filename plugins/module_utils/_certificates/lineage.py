# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate as certbot keeps it on disk (a *lineage*), and whether it is still the configured one.

This module util is private to the collection.
"""

from __future__ import annotations

import configparser
import contextlib
import os
from dataclasses import dataclass, field

from ansible_collections.flask_ops.production.plugins.module_utils._certificates.model import (
    Certificate,
    CertificateError,
    Settings,
    certbot_path,
    day,
    normalized,
)
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.x509 import X509
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError


@dataclass(frozen=True)
class Lineage:
    """One certificate as certbot has it."""

    names: frozenset[str]
    expires: float
    serial: str
    options: dict[str, str] = field(default_factory=dict)
    """The parameters that certbot saved for its renewal."""


def read_lineage(name: str) -> Lineage | None:
    """A certificate on disk; None for one that certbot could not renew, or a proxy not read.

    :raises CertificateError: when openssl's output is not understood: another certificate would not help.
    """
    chain, renewal = certbot_path("live", name, "fullchain.pem"), certbot_path("renewal", f"{name}.conf")
    if not all(os.path.isfile(path) for path in (chain, certbot_path("live", name, "privkey.pem"), renewal)):
        return None
    try:
        with open(chain, "rb") as stream:
            found = X509.read(stream.read())
    except CommandError:
        return None
    except ValueError as error:
        raise CertificateError(f"openssl's description of {chain} is not understood: {error}.") from error
    with open(renewal, encoding="utf-8", errors="replace") as stream:
        options = renewal_parameters(stream.read())
    return Lineage(frozenset(map(normalized, found.names)), found.expires, found.serial, options)


def renewal_parameters(text: str) -> dict[str, str]:
    """The parameters in certbot's configuration of a renewal; none in a damaged one."""
    parser = configparser.ConfigParser(interpolation=None, strict=False, delimiters=("=",))
    with contextlib.suppress(configparser.Error, KeyError):
        parser.read_string(f"[lineage]\n{text}")
        # ConfigObj writes a list of one path as "path,".
        return {key: value.rstrip(",") for key, value in parser["renewalparams"].items()}
    return {}


def reissue_reasons(wanted: Certificate, found: Lineage | None, settings: Settings, now: float) -> list[str]:
    """Why a new certificate is needed now; nothing for one that matches its configuration.

    One that expires soon matches: when to renew is certbot's decision, which asks the CA.
    """
    if found is None:
        return ["there was none"]
    reasons = []
    if added := sorted(wanted.names - found.names):
        reasons.append(f"names added: {', '.join(added)}")
    if removed := sorted(found.names - wanted.names):
        reasons.append(f"names removed: {', '.join(removed)}")
    for option, value in renewal_options(wanted, settings).items():
        current = found.options.get(option, "")
        if current != value:
            reasons.append(f"{option.replace('_', ' ')} {current or 'none'} instead of {value or 'none'}")
    if found.expires <= now:
        reasons.append(f"expired on {day(found.expires)}")
    return reasons


def renewal_options(wanted: Certificate, settings: Settings) -> dict[str, str]:
    """The parameters that certbot must have saved, so that a renewal follows the configuration."""
    options = {"server": settings.server, "required_profile": wanted.profile, "key_type": wanted.key_type}
    if wanted.challenge == "http-01":
        return options | {"authenticator": "webroot", "webroot_path": settings.webroot}
    prefix = settings.dns_plugin.replace("-", "_")
    return options | {"authenticator": settings.dns_plugin, f"{prefix}_credentials": settings.dns_credentials}
