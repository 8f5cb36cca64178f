# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""X.509 certificates: the one that is served, and the fields of any.

This module util is private to the collection.
"""

from __future__ import annotations

import socket
import ssl
import tempfile
from dataclasses import dataclass

from ansible_collections.flask_ops.production.plugins.module_utils._host.command import run


@dataclass(frozen=True)
class X509:
    """What the collection needs to know of a certificate."""

    serial: str
    expires: float
    """Seconds of the epoch."""
    issuer: str
    self_signed: bool
    names: tuple[str, ...] = ()
    """Domains and IP addresses, as openssl writes them."""

    @classmethod
    def read(cls, certificate: bytes) -> X509:
        """The first certificate of a PEM text, or one in DER.

        :raises CommandError: for anything else.
        :raises ValueError: when openssl's output lacks a field.
        """
        argv = ["openssl", "x509", "-noout", "-serial", "-enddate", "-issuer", "-subject", "-ext", "subjectAltName"]
        with tempfile.TemporaryFile() as stream:
            stream.write(certificate)
            stream.seek(0)
            return cls.parse(run([*argv, "-nameopt", "multiline,utf8,-esc_msb,-align"], stdin=stream))

    @classmethod
    def parse(cls, text: str) -> X509:
        """What openssl prints: ``key=value``, or a heading with indented lines below it."""
        values: dict[str, str] = {}
        blocks: dict[str, list[str]] = {"": [], "subjectAltName": []}
        heading = ""
        for line in text.splitlines():
            if line.startswith(" "):
                blocks[heading].append(line.strip())
            else:
                key, _equals, values[key] = line.partition("=")
                heading = "subjectAltName" if key.startswith("X509v3 Subject Alternative Name") else key
                blocks.setdefault(heading, [])
        try:
            issuer = dict(line.split(" = ", 1) for line in blocks["issuer"])
            return cls(
                serial=values["serial"],
                expires=ssl.cert_time_to_seconds(values["notAfter"]),
                issuer=issuer.get("organizationName") or issuer.get("commonName") or ", ".join(issuer.values()),
                self_signed=blocks["issuer"] == blocks["subject"],
                names=tuple(name.partition(":")[2] for line in blocks["subjectAltName"] for name in line.split(", ")),
            )
        except KeyError as error:
            raise ValueError(f"there is no {error.args[0]}") from error


def served_certificate(port: int, domain: str, timeout: float) -> bytes:
    """The certificate that this host serves for a domain, in DER."""
    # Not verified: a self-signed one is served until there is a better one.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=timeout) as plain,
        context.wrap_socket(plain, server_hostname=domain) as connection,
    ):
        return connection.getpeercert(binary_form=True) or b""
