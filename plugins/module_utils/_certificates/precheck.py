# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is checked before a CA is asked: a failed order counts against its rate limits, a failed check does not.

This module util is private to the collection.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import socket
import ssl
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.flask_ops.production.plugins.module_utils._certificates.fetch import fetch
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.model import (
    Certificate,
    CertificateError,
    Settings,
)
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import make_directories, remove, write

ADDRESS_TIMEOUT = 10
NAME_TIMEOUT = 30
"""Seconds for the answer of one address, with all redirects, and for all addresses of a name."""

MAX_DIRECTORY_BYTES = 1 << 20


def check_ca(wanted: Certificate, settings: Settings) -> None:
    """Check that the CA answers, and that it offers the profile, if one is configured."""
    trusted = ssl.create_default_context(cafile=settings.ca_bundle or None)
    try:
        # Through the proxies of the environment, as certbot.
        with urllib.request.urlopen(settings.server, timeout=20, context=trusted) as answer:
            directory = json.loads(answer.read(MAX_DIRECTORY_BYTES))
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise CertificateError(f"The CA does not answer at {settings.server}: {reason}.") from error
    meta = directory.get("meta", {}) if isinstance(directory, dict) else {}
    profiles = meta.get("profiles", {}) if isinstance(meta, dict) else {}
    if wanted.profile and wanted.profile not in profiles:
        offered = ", ".join(profiles) or "none"
        raise CertificateError(f"The CA does not offer the profile '{wanted.profile}'; it offers {offered}.")


def check_names(wanted: Certificate, settings: Settings) -> None:
    """Fetch a file through every name, as the CA will.

    :raises CertificateError: with each name for which the CA would not get it.
    """
    text = secrets.token_hex(16)
    directory = os.path.join(settings.webroot, ".well-known", "acme-challenge")
    path = os.path.join(directory, f"flask-ops-{secrets.token_hex(8)}")
    make_directories(directory)
    write(path, text.encode(), 0o644, "root", "root")
    try:
        with ThreadPoolExecutor(max_workers=10) as pool:
            names = [*wanted.domains, *wanted.ip_addresses]
            checked = pool.map(lambda name: problem_of(name, responses(name, os.path.basename(path), text)), names)
            problems = [problem for problem in checked if problem]
    finally:
        remove(path)
    if problems:
        raise CertificateError(
            f"HTTP-01 pre-check failed for {len(problems)} of {len(names)} names; no certificate was requested:\n"
            + "\n".join(f"- {problem}" for problem in problems)
        )


def problem_of(name: str, found: dict[str, str] | str) -> str:
    """What is wrong with a name, or the empty text.

    A CA takes IPv6 first and falls back to IPv4 only when nothing answers at all. So one right answer is
    needed, and none may be wrong.

    :param found: see :func:`responses`.
    """
    if isinstance(found, str):
        return f"{name} does not resolve: {found}"
    wrong = {address: response for address, response in found.items() if response}
    if len(wrong) < len(found) and all(response.startswith("no answer") for response in wrong.values()):
        return ""
    return f"{name}: " + "; ".join(f"{address} gives {response}" for address, response in wrong.items())


def responses(name: str, token: str, text: str) -> dict[str, str] | str:
    """By address of a name, the result of :func:`fetch`; or why the name has no address."""
    deadline = time.monotonic() + NAME_TIMEOUT
    try:
        entries = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:  # ValueError: not a DNS name
        return getattr(error, "strerror", None) or str(error)
    addresses = dict.fromkeys(str(entry[4][0]) for entry in entries)
    return {
        address: fetch(name, address, token, text, min(deadline, time.monotonic() + ADDRESS_TIMEOUT))
        for address in addresses
    }
