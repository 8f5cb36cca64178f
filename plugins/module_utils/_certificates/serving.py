# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installing a certificate for a proxy, and comparing the served certificate with the one on disk.

This module util is private to the collection.
"""

from __future__ import annotations

import os
import shlex
import ssl
import time

from ansible_collections.flask_ops.production.plugins.module_utils._certificates.model import (
    Certificate,
    CertificateError,
    Settings,
)
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.x509 import X509, served_certificate
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import link, make_directories
from ansible_collections.flask_ops.production.plugins.module_utils._host.systemd import systemctl

PEM_END = "-----END CERTIFICATE-----"

RELOAD_TIMEOUT = 10
"""Seconds until a proxy must serve a certificate after its reload."""


def install(wanted: Certificate, settings: Settings, fresh: bool) -> bool:
    """Make the proxy serve the certificate on disk. Return whether it did not yet.

    :param fresh: whether the certificate is new, for a proxy whose certificate cannot be checked.
    """
    before = os.readlink(wanted.link) if wanted.link and os.path.islink(wanted.link) else ""
    moved = bool(wanted.link) and before != wanted.directory
    mismatch = served_mismatch(wanted, settings) if settings.probe_port else ("not checked" if fresh else "")
    if not moved and not mismatch:
        return False
    if moved:
        make_directories(os.path.dirname(wanted.link))
        link(wanted.link, wanted.directory)
    try:
        if settings.validate:
            run(shlex.split(settings.validate))
        if settings.reload:
            systemctl("try-reload-or-restart", settings.reload)
    except CommandError as error:
        if moved and before:
            link(wanted.link, before)
        raise CertificateError(
            f"The certificate on disk is not served: {settings.reload or 'the proxy'} was not reloaded. {error}"
        ) from error
    deadline = time.monotonic() + RELOAD_TIMEOUT
    while settings.probe_port and (mismatch := served_mismatch(wanted, settings)):
        if time.monotonic() > deadline:
            raise CertificateError(f"The certificate on disk is not served: {mismatch}.")
        time.sleep(0.2)
    return True


def served_mismatch(wanted: Certificate, settings: Settings) -> str:
    """The first domain for which another certificate is served than the one on disk, and which; empty if there is none."""
    with open(os.path.join(wanted.directory, "fullchain.pem"), encoding="ascii") as stream:
        ours = ssl.PEM_cert_to_DER_cert(stream.read().partition(PEM_END)[0] + PEM_END)
    for domain in wanted.domains:
        try:
            served = served_certificate(settings.probe_port, domain.replace("*", "any", 1), timeout=10)
        except OSError as error:
            return f"for {domain}, port {settings.probe_port} of this host does not answer ({error})"
        if served != ours:
            return f"for {domain}, port {settings.probe_port} of this host serves {described(served)}"
    return ""


def described(der: bytes) -> str:
    try:
        return f"the serial {X509.read(der).serial}"
    except (CommandError, ValueError):
        return "no certificate that openssl reads"
