# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificates that a host should have, as the timer reads them, and what became of each.

    /etc/letsencrypt/live/<name>/         certbot's: fullchain.pem, privkey.pem
    /etc/nginx/certificates/<name>        the link by which a proxy reads them, for instance
    /etc/flask-ops/letsencrypt.json       the settings of the host

This module util is private to the collection.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import typing as t
from dataclasses import asdict, dataclass, field, fields

from ansible_collections.flask_ops.production.plugins.module_utils._host.files import ensure_directory, write

CERTBOT_DIRECTORY = "/etc/letsencrypt"
SETTINGS_FILE = "/etc/flask-ops/letsencrypt.json"


class CertificateError(Exception):
    """A certificate could not be issued, renewed, installed or deleted. The message has the reason and, if there is one, a
    remedy."""


class SettingsError(Exception):
    """The saved settings of a host are damaged. The message names the file and the way to repair it."""


@dataclass(frozen=True)
class Certificate:
    """The configuration of one certificate."""

    name: str
    domains: tuple[str, ...]
    ip_addresses: tuple[str, ...] = ()
    challenge: str = "http-01"
    key_type: str = "ecdsa"
    profile: str = ""
    link: str = ""
    """The symbolic link that a proxy reads; none when it reads certbot's directory."""

    @property
    def names(self) -> frozenset[str]:
        return frozenset((*self.domains, *map(normalized, self.ip_addresses)))

    @property
    def directory(self) -> str:
        return certbot_path("live", self.name)


@dataclass(frozen=True)
class Settings:
    """All certificates of a host, and how they are issued and installed. Nothing in it is secret."""

    server: str
    email: str = ""
    ca_bundle: str = ""
    webroot: str = ""
    dns_plugin: str = ""
    dns_credentials: str = ""
    dns_propagation: int = 60
    precheck: bool = True
    validate: str = ""
    reload: str = ""
    probe_port: int = 0
    textfile_directory: str = ""
    certificates: tuple[Certificate, ...] = ()
    ours: tuple[str, ...] = ()
    """The certificates that this collection obtained: no other one of certbot's is ever deleted."""

    @classmethod
    def from_dict(cls, values: dict[str, t.Any]) -> Settings:
        """Settings that this or another version of the collection saved. Unknown fields are left out."""
        certificates = tuple(Certificate(**known_fields(Certificate, entry)) for entry in values["certificates"])
        return cls(**known_fields(cls, values) | {"certificates": certificates})

    @classmethod
    def load(cls) -> Settings | None:
        """The settings of an earlier run; None where there was none.

        :raises SettingsError: for a damaged file.
        """
        try:
            with open(SETTINGS_FILE, encoding="utf-8") as stream:
                return cls.from_dict(json.load(stream))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SettingsError(
                f"{SETTINGS_FILE} is damaged. The next run of the playbook with the role letsencrypt rewrites it."
            ) from error

    def save(self) -> None:
        ensure_directory(os.path.dirname(SETTINGS_FILE))
        write(SETTINGS_FILE, (json.dumps(asdict(self), indent=2) + "\n").encode(), 0o644, "root", "root")


def known_fields(cls: type, values: dict[str, t.Any]) -> dict[str, t.Any]:
    """The fields of a dataclass among the values, with lists as tuples."""
    names = {one.name for one in fields(cls)}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items() if key in names}


@dataclass
class CertificateOutcome:
    """What became of one certificate."""

    name: str
    action: str = "unchanged"
    """``unchanged``, ``issued``, ``renewed``, ``installed`` (only the link or the reload) or ``removed``."""

    reasons: list[str] = field(default_factory=list)
    problem: str = ""
    expires: float | None = None
    served: bool = False

    @property
    def changed(self) -> bool:
        return self.action != "unchanged"

    @property
    def summary(self) -> str:
        """One line, or more where there is a problem."""
        end = f"expires {day(self.expires)}" if self.expires else "no CA-issued certificate"
        if self.problem:
            return f"{self.name}: FAILED; {end}. {self.problem}"
        if self.action == "removed":
            return f"{self.name}: removed"
        why = f" ({'; '.join(self.reasons)})" if self.reasons else ""
        return f"{self.name}: {self.action}{why}; {end}"


def certbot_path(*parts: str) -> str:
    return os.path.join(CERTBOT_DIRECTORY, *parts)


def normalized(name: str) -> str:
    """An IP address in its canonical form; any other name as it is."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def day(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
