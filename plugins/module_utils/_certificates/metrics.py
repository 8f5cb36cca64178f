# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics of the certificates, for the textfile collector of node_exporter.

This module util is private to the collection.
"""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.flask_ops.production.plugins.module_utils._certificates.model import (
    CertificateOutcome,
    Settings,
)
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import remove
from ansible_collections.flask_ops.production.plugins.module_utils._metrics.exposition import Metric, write_file


def metric(name: str, description: str) -> Metric:
    return Metric(f"letsencrypt_{name}", description)


def metrics(outcomes: t.Iterable[CertificateOutcome], settings: Settings, now: float) -> list[Metric]:
    expiry = metric("certificate_expiry_timestamp_seconds", "When the certificate on disk expires.")
    served = metric("certificate_served", "Whether the certificate on disk is the one that is served.")
    success = metric("last_run_success", "Whether the last run succeeded for the certificate.")
    last_run = metric("last_run_timestamp_seconds", "When certificates were last checked.")
    last_run.add(now)
    domains = {certificate.name: certificate.domains for certificate in settings.certificates}
    for outcome in outcomes:
        if outcome.name not in domains:
            continue
        if outcome.expires:
            for domain in domains[outcome.name]:
                expiry.add(outcome.expires, name=outcome.name, domain=domain)
        served.add(outcome.served, name=outcome.name)
        success.add(not outcome.problem, name=outcome.name)
    return [expiry, served, success, last_run]


def write_metrics(outcomes: t.Iterable[CertificateOutcome], settings: Settings) -> None:
    """Write the metrics where node_exporter reads them, if it does; none of a host without certificates."""
    if settings.textfile_directory and os.path.isdir(settings.textfile_directory):
        path = os.path.join(settings.textfile_directory, "letsencrypt.prom")
        if settings.certificates:
            write_file(path, metrics(outcomes, settings, round(time.time())))
        else:
            remove(path)
