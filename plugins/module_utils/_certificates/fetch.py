# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetching the file of an HTTP-01 challenge as a CA does. Whatever the server answers, and however slowly, is a result.

This module util is private to the collection.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import ssl
import time
import typing as t
import urllib.parse

HTTP_PORT = 80
HTTPS_PORT = 443
"""A CA begins at the first, whatever the proxy's own port is. A redirect is followed to these two, as by Let's Encrypt."""

MAX_REDIRECTS = 10
MAX_BODY_BYTES = 1000


class RedirectError(Exception):
    """A redirect that a CA would not follow."""


def fetch(name: str, address: str, token: str, text: str, deadline: float) -> str:
    """Fetch the file from an address. Return the empty text for the right one; else the reason.

    The owner of the address may answer anything. So a redirect is followed to HTTP and HTTPS on their usual ports and to
    nothing else, and neither a slow nor an endless answer is waited for.

    :param deadline: by :func:`time.monotonic`.
    """
    host = f"[{name}]" if ":" in name else name
    url, via = f"http://{host}/.well-known/acme-challenge/{token}", ""
    try:
        for _hop in range(1 + MAX_REDIRECTS):
            target = parsed(url)
            server = address if target.host == name.lower() else resolved(target)
            status, body, location = get(target, server, deadline)
            if status in (301, 302, 303, 307, 308) and location:
                url = joined(url, location)
                via = f"a redirect to {url[:200]!r}, which gives "
                continue
            if status != 200:
                return f"{via}status {status}"
            if body.decode("utf-8", "replace").strip() == text:
                return ""
            return f"{via}a different file: this is another server"
    except RedirectError as error:
        return str(error)
    except TimeoutError:
        return f"{via}no answer in time"
    except OSError as error:
        return f"{via}no answer ({error.strerror or error})"
    except Exception as error:  # noqa: BLE001
        # Whatever an answer makes a library raise, it is not what a CA would understand either.
        return f"{via}an answer that is not HTTP ({type(error).__name__}: {str(error)[:200]})"
    return f"more than {MAX_REDIRECTS} redirects"


class Target(t.NamedTuple):
    """The parts of a URL that may be requested."""

    scheme: str
    host: str
    port: int
    path: str


def joined(url: str, location: str) -> str:
    """The absolute URL of a redirect.

    :raises RedirectError: when it is none.
    """
    try:
        return urllib.parse.urljoin(url, location.strip())
    except ValueError as error:
        raise RedirectError(f"a redirect to {location[:200]!r}, which is no URL") from error


def parsed(url: str) -> Target:
    """The parts of a URL.

    :raises RedirectError: for anything but HTTP and HTTPS on their usual ports.
    """
    ports = {"http": HTTP_PORT, "https": HTTPS_PORT}
    try:
        parts = urllib.parse.urlsplit(url)
        scheme, host = parts.scheme, parts.hostname or ""
        port = ports.get(scheme, 0) if parts.port is None else parts.port
    except ValueError as error:
        raise RedirectError(f"a redirect to {url[:200]!r}, which is no URL") from error
    if scheme not in ports or not host:
        raise RedirectError(f"a redirect to {url[:200]!r}, which is neither HTTP nor HTTPS")
    if port not in ports.values():
        raise RedirectError(f"a redirect to {url[:200]!r}: only the ports {HTTP_PORT} and {HTTPS_PORT} are followed")
    # http.client decodes headers as Latin-1; what is not ASCII goes back as it came.
    path = urllib.parse.quote(parts.path or "/", safe="/%:=&~+!$,;'@()*|", encoding="latin-1", errors="replace")
    query = urllib.parse.quote(parts.query, safe="/%:=&?~+!$,;'@()*|", encoding="latin-1", errors="replace")
    return Target(scheme, host, port, f"{path}?{query}" if query else path)


def resolved(target: Target) -> str:
    """The first address of the host of a redirect.

    :raises RedirectError: for a link-local one, where clouds keep what only the host itself may read.
    """
    address = str(socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)[0][4][0])
    if ipaddress.ip_address(address.partition("%")[0]).is_link_local:
        raise RedirectError(f"a redirect to {target.host!r}, which is the link-local address {address}")
    return address


def get(target: Target, address: str, deadline: float) -> tuple[int, bytes, str]:
    """Status, beginning of the body, and ``Location`` of one answer. Proxies of the environment are not used."""
    with socket.create_connection((address, target.port), timeout=seconds_until(deadline)) as plain_socket:
        connection: socket.socket = plain_socket
        if target.scheme == "https":
            # A CA does not check the certificate of a redirect's target either.
            unchecked = ssl._create_unverified_context()
            connection = unchecked.wrap_socket(plain_socket, server_hostname=target.host)
        with connection:
            host = f"[{target.host}]" if ":" in target.host else target.host
            client = http.client.HTTPConnection(target.host, target.port)
            client.sock = DeadlineSocket(connection, deadline)
            client.request("GET", target.path, headers={"Host": host, "Connection": "close"})
            answer = client.getresponse()
            return answer.status, answer.read(MAX_BODY_BYTES), answer.getheader("Location") or ""


def seconds_until(deadline: float) -> float:
    """Seconds until the deadline.

    :raises TimeoutError: when it has passed.
    """
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


class DeadlineSocket(io.RawIOBase):
    """A connection whose answer must be complete at a deadline: a socket's own timeout begins anew with each byte."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self.connection, self.deadline = connection, deadline

    def sendall(self, data: bytes) -> None:
        self.connection.settimeout(seconds_until(self.deadline))
        self.connection.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def close(self) -> None:
        """Nothing: http.client closes it before the body is read."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        self.connection.settimeout(seconds_until(self.deadline))
        return self.connection.recv_into(buffer)
