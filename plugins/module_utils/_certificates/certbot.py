# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""certbot: issuing, renewing and deleting one certificate, and the account for it.

This module util is private to the collection.
"""

from __future__ import annotations

import glob
import os
import re
import tempfile
import urllib.parse

from ansible_collections.flask_ops.production.plugins.module_utils._certificates.lineage import read_lineage
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.model import (
    Certificate,
    CertificateError,
    Settings,
    certbot_path,
)
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.precheck import check_ca, check_names
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import ensure_directory, remove

CERTBOT = "/opt/flask-ops/certbot/bin/certbot"
RUNTIME_DIRECTORY = "/run/flask-ops"

UNKNOWN_ACCOUNT = re.compile(r"accountDoesNotExist|\baccount\b[^\n]*\b(does not exist|not found)", re.IGNORECASE)
"""In certbot's error when its account no longer exists: at the CA, in the CA's words, or on disk."""

NOISE = re.compile(
    r"(Saving debug log|Ask for help|See the logfile|Some challenges have failed|- - -|Requesting a|Renewing an)"
)
"""How lines of certbot's output begin that do not explain an error."""


def obtain(wanted: Certificate, settings: Settings, eab: dict[str, str] | None = None) -> None:
    """Have a certificate issued, or reissued."""
    check_ca(wanted, settings)
    if wanted.challenge == "http-01":
        ensure_directory(settings.webroot)
        if settings.precheck:
            check_names(wanted, settings)
    if read_lineage(wanted.name) is None:
        remove_lineage(wanted.name)
    try:
        ensure_account(settings, eab)
        certbot(certonly_arguments(wanted, settings), settings)
    except CertificateError as error:
        if not UNKNOWN_ACCOUNT.search(str(error)):
            raise
        remove_accounts(settings)
        ensure_account(settings, eab)
        certbot(certonly_arguments(wanted, settings), settings)


def renew(wanted: Certificate, settings: Settings) -> None:
    """Let certbot decide whether a renewal is due, by the CA (ARI), or by the remaining lifetime."""
    try:
        certbot(["renew", "--cert-name", wanted.name, "--no-random-sleep-on-renew"], settings)
    except CertificateError as error:
        if not UNKNOWN_ACCOUNT.search(str(error)):
            raise
        obtain(wanted, settings)


def delete(name: str, settings: Settings, revoke: bool) -> None:
    """Delete a certificate; with ``revoke``, revoke it first."""
    if read_lineage(name) is None:
        remove_lineage(name)
    elif revoke:
        certbot(["revoke", "--cert-name", name, "--delete-after-revoke"], settings)
    else:
        certbot(["delete", "--cert-name", name], settings)


def certonly_arguments(wanted: Certificate, settings: Settings) -> list[str]:
    """The arguments by which certbot issues a certificate, or replaces one."""
    argv = [
        *("certonly", "--cert-name", wanted.name, "--agree-tos"),
        *("--server", settings.server, "--key-type", wanted.key_type),
        # Only called when something differs, so the certificate is to be replaced: also by one of a staging server.
        *("--force-renewal", "--renew-with-new-domains", "--break-my-certs"),
    ]
    argv += ["--email", settings.email, "--no-eff-email"] if settings.email else ["--register-unsafely-without-email"]
    if wanted.profile:
        argv += ["--required-profile", wanted.profile]
    if wanted.challenge == "http-01":
        argv += ["--authenticator", "webroot", "--webroot-path", settings.webroot]
    else:
        plugin = settings.dns_plugin
        argv += ["--authenticator", plugin, f"--{plugin}-credentials", settings.dns_credentials]
        argv += [f"--{plugin}-propagation-seconds", str(settings.dns_propagation)]
    for domain in wanted.domains:
        argv += ["--domain", domain]
    for address in wanted.ip_addresses:
        argv += ["--ip-address", address]
    return argv


def ensure_account(settings: Settings, eab: dict[str, str] | None) -> None:
    """Register the account that external account binding needs. certbot registers any other by itself."""
    if not eab or accounts(settings):
        return
    ensure_directory(RUNTIME_DIRECTORY)
    # A file that only root can read, and not for long: arguments are visible to every user of the host.
    handle, path = tempfile.mkstemp(dir=RUNTIME_DIRECTORY)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(f"eab-kid = {eab['kid']}\neab-hmac-key = {eab['hmac_key']}\n")
        argv = ["register", "--config", path, "--agree-tos", "--server", settings.server]
        certbot([*argv, "--email", settings.email, "--no-eff-email"], settings)
    finally:
        os.unlink(path)


def accounts(settings: Settings) -> list[str]:
    """The directories of the accounts at this CA."""
    server = urllib.parse.urlsplit(settings.server)
    return glob.glob(f"{glob.escape(certbot_path('accounts', server.netloc + server.path))}/*/regr.json")


def remove_accounts(settings: Settings) -> None:
    for path in accounts(settings):
        remove(os.path.dirname(path))


def remove_lineage(name: str) -> None:
    """Remove the remains of an incomplete certificate: certbot would stop at it, or choose another name."""
    for path in (f"live/{name}", f"archive/{name}", f"renewal/{name}.conf"):
        remove(certbot_path(path))


def certbot(arguments: list[str], settings: Settings) -> None:
    """Run certbot.

    :raises CertificateError: with the CA's error, without certbot's own advice.
    """
    environment = {
        **os.environ,  # a proxy, for instance
        "LANG": "C.UTF-8",
        # certbot has a CA store of its own. The host's is the one that its owner maintains.
        **({"REQUESTS_CA_BUNDLE": settings.ca_bundle} if settings.ca_bundle else {}),
    }
    try:
        run([CERTBOT, *arguments, "--non-interactive", "--max-log-backups", "100"], env=environment, timeout=600)
    except CommandError as error:
        raise CertificateError(without_noise(str(error))) from error


def without_noise(text: str) -> str:
    """certbot's output without the lines that do not explain an error.

    >>> without_noise("Saving debug log to /x\\nNo such authorization\\nAsk for help or search for solutions at y")
    'No such authorization'
    """
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not NOISE.match(line))
