# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificates of a host, one at a time: issued, renewed, installed, deleted. A failure is part of one's outcome.

There are two callers: the module ``acme_certificates`` in a run of Ansible, and a timer on the host. Both take the same
steps, so that one finishes the work of the other. A failure of one certificate, of whatever kind, is never the failure
of another.

This module util is private to the collection.
"""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ansible_collections.flask_ops.production.plugins.module_utils._certificates import certbot
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.lineage import (
    read_lineage,
    reissue_reasons,
)
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.metrics import write_metrics
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.model import (
    Certificate,
    CertificateError,
    CertificateOutcome,
    Settings,
    SettingsError,
    certbot_path,
)
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.serving import install, served_mismatch
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import host_lock, set_umask

LOCK = "/run/flask-ops/.letsencrypt.lock"


def ensure(
    wanted: Certificate,
    settings: Settings,
    *,
    renewing: bool = False,
    check_mode: bool = False,
    eab: dict[str, str] | None = None,
) -> CertificateOutcome:
    """Issue, renew and install one certificate, as far as needed. A failure, of any kind, is part of the outcome."""
    outcome = CertificateOutcome(wanted.name)
    serial = None
    with recorded(outcome):
        found = read_lineage(wanted.name)
        outcome.expires, serial = (found.expires, found.serial) if found else (None, None)
        outcome.reasons = reissue_reasons(wanted, found, settings, time.time())
        if check_mode:
            outcome.action = "issued" if outcome.reasons else "unchanged"
        elif outcome.reasons:
            certbot.obtain(wanted, settings, eab)
        elif renewing:
            certbot.renew(wanted, settings)
    if check_mode:
        return outcome
    with recorded(outcome):
        found = read_lineage(wanted.name)
        if found:
            outcome.expires = found.expires
            fresh = found.serial != serial
            if fresh:
                outcome.action = "issued" if outcome.reasons else "renewed"
            # Also one that does not match its configuration: it is better than a self-signed one.
            installed = found.expires > time.time() and install(wanted, settings, fresh)
            if installed and not fresh:
                outcome.action = "installed"
            outcome.served = found.expires > time.time()
    return outcome


def inspect(wanted: Certificate, settings: Settings) -> CertificateOutcome:
    """The state of a certificate that is left unchanged."""
    outcome = CertificateOutcome(wanted.name)
    with recorded(outcome):
        found = read_lineage(wanted.name)
        if not found:
            raise CertificateError(f"There is no certificate in {wanted.directory}.")
        outcome.expires = found.expires
        outcome.served = found.expires > time.time() and not (settings.probe_port and served_mismatch(wanted, settings))
    return outcome


@contextlib.contextmanager
def recorded(outcome: CertificateOutcome) -> t.Iterator[None]:
    """Add a failure to the outcome of a certificate, and go on."""
    try:
        yield
    except (CertificateError, CommandError, OSError) as error:
        problem = str(error)
    except Exception as error:  # noqa: BLE001
        problem = f"Unexpected {type(error).__name__}: {error}. This is a bug of the collection: please report it."
    else:
        return
    if problem not in outcome.problem:
        outcome.problem = f"{outcome.problem}\n{problem}".strip()


def discard(
    name: str, proxy_link: str, settings: Settings, revoke: bool, check_mode: bool = False
) -> CertificateOutcome:
    """Delete a certificate, unless a proxy still reads it."""
    outcome = CertificateOutcome(name, action="removed")
    if check_mode:
        return outcome
    with recorded(outcome):
        if os.path.islink(proxy_link) and os.readlink(proxy_link) == certbot_path("live", name):
            raise CertificateError(f"It was not deleted: {proxy_link} still points to it.")
        certbot.delete(name, settings, revoke)
    if outcome.problem:
        outcome.action = "unchanged"
    return outcome


@contextlib.contextmanager
def lock() -> t.Iterator[None]:
    """Only one of the timer and the runs of Ansible works at a time. Another one waits."""
    set_umask()
    with host_lock(LOCK):
        yield


def renew_all() -> int:
    """Retry what failed, renew what is due, install what is not served. This is what the timer runs."""
    with lock():
        try:
            settings = Settings.load()
        except SettingsError as error:
            print(error)
            return 1
        if settings is None or not settings.certificates:
            print("no certificate is configured")
            return 0
        outcomes = []
        for certificate in settings.certificates:
            outcomes.append(ensure(certificate, settings, renewing=True))
            print(outcomes[-1].summary, flush=True)
        write_metrics(outcomes, settings)
    return 1 if any(outcome.problem for outcome in outcomes) else 0
