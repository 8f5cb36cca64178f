# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of an ACME CA, by certbot: the wanted ones, those on the disk, those that are served.

There are two callers: the module ``acme_certificates`` in a run of Ansible, and a timer on the host. Both take the same steps, so that one finishes the work of the other. A failure of one certificate, of
whatever kind, is never the failure of another.

    /etc/letsencrypt/live/<name>/         certbot's: fullchain.pem, privkey.pem
    /etc/nginx/certificates/<name>        the link by which a proxy reads them, or others
    /etc/flask-ops/letsencrypt.json       what is wanted, for the timer

This module util is private to the collection.
"""

from __future__ import annotations

import contextlib
import datetime
import glob
import http.client
import io
import ipaddress
import json
import os
import re
import secrets
import shlex
import socket
import ssl
import tempfile
import time
import typing as t
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields

from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import (
    ensure_directory,
    host_lock,
    link,
    make_directories,
    remove,
    set_umask,
    write,
)
from ansible_collections.flask_ops.production.plugins.module_utils._host.systemd import systemctl

CERTBOT = "/opt/flask-ops/certbot/bin/certbot"
CONFIG = "/etc/letsencrypt"
WANTED = "/etc/flask-ops/letsencrypt.json"
LOCK = "/run/flask-ops/.letsencrypt.lock"

HTTP_PORT = 80
"""Where a CA begins with HTTP-01, whatever the proxy's own port is."""

HTTPS_PORT = 443
"""Together with :data:`HTTP_PORT` the only port to which a redirect is followed, as by Let's Encrypt."""

REDIRECTS = 10
"""Redirects that are followed for one address, as by Let's Encrypt."""

ADDRESS_SECONDS = 10
NAME_SECONDS = 30
"""Seconds for the answer of one address, with all redirects, and for all addresses of a name."""

LONGEST_BODY = 1000
LONGEST_DIRECTORY = 1 << 20
"""Bytes that are read of the answer of a name, and of a CA's directory."""

PATIENCE = 10
"""Seconds that a proxy gets to serve what it was told to read."""

LOST_ACCOUNT = re.compile(r"accountDoesNotExist|\baccount\b[^\n]*\b(does not exist|not found)", re.IGNORECASE)
"""What certbot says when its account is not known any more, to the CA, in whose words it is, or to itself."""


class CertificateError(Exception):
    """A certificate could not be brought to its state. The message says why, and what a person may do."""


class SettingsError(Exception):
    """The saved settings of a host are damaged. The message names the file and the way to repair it."""


@dataclass(frozen=True)
class Certificate:
    """One certificate that is wanted."""

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
        return os.path.join(CONFIG, "live", self.name)


@dataclass(frozen=True)
class Settings:
    """All certificates of a host, and how they are got. Nothing in it is secret."""

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
    """The certificates that were made from here: no other one of certbot's is ever deleted."""

    @classmethod
    def from_dict(cls, values: dict[str, t.Any]) -> Settings:
        """Settings that this or another version of the collection saved. Unknown fields are left out."""
        kept = known(cls, values)
        kept["certificates"] = tuple(Certificate(**known(Certificate, entry)) for entry in values["certificates"])
        return cls(**kept)

    @classmethod
    def load(cls, path: str | None = None) -> Settings | None:
        """The settings of an earlier run; None where there was none.

        :raises SettingsError: for a damaged file.
        """
        path = path or WANTED
        try:
            with open(path, encoding="utf-8") as stream:
                return cls.from_dict(json.load(stream))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SettingsError(
                f"{path} is damaged. The next run of the playbook with the role letsencrypt writes it anew."
            ) from error

    def save(self, path: str | None = None) -> None:
        path = path or WANTED
        ensure_directory(os.path.dirname(path))
        write(path, (json.dumps(asdict(self), indent=2) + "\n").encode(), 0o644, "root", "root")


def known(cls: type, values: dict[str, t.Any]) -> dict[str, t.Any]:
    """The fields of a dataclass among the values, with lists as tuples.

    :raises TypeError: for a value of another type than the field's.
    """
    kept = {}
    for one in fields(cls):
        if one.name in values:
            value = values[one.name]
            value = tuple(value) if isinstance(value, list) else value
            if str(one.type).partition("[")[0] != type(value).__name__:
                raise TypeError(one.name)
            kept[one.name] = value
    return kept


@dataclass(frozen=True)
class Lineage:
    """One certificate as certbot has it."""

    names: frozenset[str]
    key_type: str
    expires: float
    serial: str
    options: dict[str, str] = field(default_factory=dict)
    """What certbot has written down for its renewal."""


@dataclass
class Result:
    """What came of one certificate."""

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
        """One line for people, or more where there is a problem."""
        end = f"ends {day(self.expires)}" if self.expires else "there is none of the CA"
        if self.problem:
            return f"{self.name}: NOT as it should be; {end}. {self.problem}"
        if self.action == "removed":
            return f"{self.name}: removed"
        why = f" ({'; '.join(self.reasons)})" if self.reasons else ""
        return f"{self.name}: {self.action}{why}; {end}"


# --- what is wanted, and what is there ------------------------------------------------------------------------------


def reasons(wanted: Certificate, found: Lineage | None, settings: Settings, now: float) -> list[str]:
    """Why a new certificate is needed now; nothing for a certificate that is as it should be.

    One that ends soon is as it should be: its renewal is certbot's to decide, who asks the CA when.
    """
    if found is None:
        return ["there was none"]
    why = []
    added, gone = sorted(wanted.names - found.names), sorted(found.names - wanted.names)
    if added:
        why.append(f"without {', '.join(added)}")
    if gone:
        why.append(f"with {', '.join(gone)}, which is not wanted any more")
    if found.key_type != wanted.key_type:
        why.append(f"key type {found.key_type} instead of {wanted.key_type}")
    for option, value in renewal_options(wanted, settings).items():
        there = found.options.get(option, "")
        if there != value:
            why.append(f"{option.replace('_', ' ')} {there or 'none'} instead of {value or 'none'}")
    if found.expires <= now:
        why.append(f"ended on {day(found.expires)}")
    return why


def renewal_options(wanted: Certificate, settings: Settings) -> dict[str, str]:
    """What certbot's own file must say, so that a renewal does what is wanted now."""
    options = {"server": settings.server, "required_profile": wanted.profile}
    if wanted.challenge == "http-01":
        return options | {"authenticator": "webroot", "webroot_path": settings.webroot}
    prefix = settings.dns_plugin.replace("-", "_")
    return options | {"authenticator": settings.dns_plugin, f"{prefix}_credentials": settings.dns_credentials}


def certonly(wanted: Certificate, settings: Settings) -> list[str]:
    """The command that gets a certificate, or another one in its place."""
    argv = [
        *(CERTBOT, "certonly", "--cert-name", wanted.name, "--non-interactive", "--agree-tos"),
        *("--server", settings.server, "--key-type", wanted.key_type),
        # Only called when something differs, so what is there is to be replaced: also by one of a staging server.
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


def read(name: str) -> Lineage | None:
    """A certificate as it is on the disk; None for one that certbot could not renew or a proxy not read.

    :raises CertificateError: when openssl gives no clear answer: another certificate would not help.
    """
    live, renewal = os.path.join(CONFIG, "live", name), os.path.join(CONFIG, "renewal", f"{name}.conf")
    chain = os.path.join(live, "fullchain.pem")
    if not all(os.path.isfile(path) for path in (chain, os.path.join(live, "privkey.pem"), renewal)):
        return None
    try:
        text = run(["openssl", "x509", "-in", chain, "-noout", "-serial", "-enddate", "-text"])
    except CommandError:
        return None
    with open(renewal, encoding="utf-8", errors="replace") as stream:
        options = stream.read()
    try:
        return parse(text, options)
    except ValueError as error:
        raise CertificateError(f"openssl did not describe {chain}: {error}.") from error


def parse(certificate: str, renewal: str = "") -> Lineage:
    """Parse openssl's description of a certificate, and certbot's configuration of its renewal.

    :raises ValueError: when the description lacks something.
    """
    names = _only(r"X509v3 Subject Alternative Name:.*\n\s+(.*)", certificate)
    return Lineage(
        names=frozenset(normalized(value) for value in re.findall(r"(?:DNS|IP Address):([^,\s]+)", names)),
        key_type="rsa" if _only(r"Public Key Algorithm: (\S+)", certificate).startswith("rsa") else "ecdsa",
        expires=ssl.cert_time_to_seconds(_only(r"^notAfter=(.+)$", certificate)),
        serial=_only(r"^serial=(\S+)$", certificate),
        # ConfigObj writes a list of one path as "path,".
        options={key: value.rstrip(",") for key, value in re.findall(r"^(\w+) = (.*)$", renewal, re.MULTILINE)},
    )


def _only(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    if not found:
        raise ValueError(f"there is no line like '{pattern}'")
    return found.group(1)


def normalized(name: str) -> str:
    """An IP address in its one usual form; any other name as it is."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def day(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


# --- before the CA is asked -----------------------------------------------------------------------------------------


def ask_directory(wanted: Certificate, settings: Settings) -> None:
    """Check that the CA answers, and that it offers the profile, if one is wanted."""
    trusted = ssl.create_default_context(cafile=settings.ca_bundle or None)
    try:
        # By the proxies of the environment, as certbot.
        with urllib.request.urlopen(settings.server, timeout=20, context=trusted) as answer:
            directory = json.loads(answer.read(LONGEST_DIRECTORY))
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise CertificateError(f"The CA does not answer at {settings.server}: {reason}.") from error
    meta = directory.get("meta", {}) if isinstance(directory, dict) else {}
    profiles = meta.get("profiles", {}) if isinstance(meta, dict) else {}
    if wanted.profile and wanted.profile not in profiles:
        offered = ", ".join(profiles) or "none"
        raise CertificateError(f"The CA does not offer the profile '{wanted.profile}'; it offers {offered}.")


def check_names(wanted: Certificate, settings: Settings) -> None:
    """Fetch a file through every name, as the CA will. A failed try there counts against a limit; this does not."""
    text = secrets.token_hex(16)
    place = os.path.join(settings.webroot, ".well-known", "acme-challenge")
    path = os.path.join(place, f"flask-ops-{secrets.token_hex(8)}")
    make_directories(place)
    write(path, text.encode(), 0o644, "root", "root")
    try:
        with ThreadPoolExecutor(max_workers=10) as pool:
            names = [*wanted.domains, *wanted.ip_addresses]
            checked = pool.map(lambda name: verdict(name, answers(name, os.path.basename(path), text)), names)
            problems = [problem for problem in checked if problem]
    finally:
        remove(path)
    if problems:
        raise CertificateError(
            f"{len(problems)} of {len(names)} names do not lead here over HTTP, so the CA was not asked:\n"
            + "\n".join(f"- {problem}" for problem in problems)
        )


def verdict(name: str, found: dict[str, str] | str) -> str:
    """What is wrong with a name, or the empty text.

    A CA takes IPv6 first and falls back to IPv4 only when nothing answers at all. So one right answer is
    needed, and none may be wrong.

    :param found: by address, the empty text for the right answer, or what came instead; or why there is no address.
    """
    if isinstance(found, str):
        return f"{name} does not resolve: {found}"
    wrong = {address: said for address, said in found.items() if said}
    if len(wrong) < len(found) and all(said.startswith("no answer") for said in wrong.values()):
        return ""
    return f"{name}: " + "; ".join(f"{address} gives {said}" for address, said in wrong.items())


def answers(name: str, token: str, text: str) -> dict[str, str] | str:
    """What each address of a name answers, see :func:`fetch`; or why the name has no address."""
    deadline = time.monotonic() + NAME_SECONDS
    try:
        entries = socket.getaddrinfo(name, HTTP_PORT, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:  # ValueError: no name of DNS at all
        return getattr(error, "strerror", None) or str(error)
    addresses = dict.fromkeys(str(entry[4][0]) for entry in entries)
    return {
        address: fetch(name, address, token, text, min(deadline, time.monotonic() + ADDRESS_SECONDS))
        for address in addresses
    }


def fetch(name: str, address: str, token: str, text: str, deadline: float | None = None) -> str:
    """Fetch the file through an address, as a CA would. Return the empty text for the right one; else the reason.

    The owner of the address may answer anything. So a redirect is followed to HTTP and HTTPS on their usual ports and to
    nothing else, and neither a slow nor an endless answer is waited for.

    :param deadline: by :func:`time.monotonic`.
    """
    if deadline is None:
        deadline = time.monotonic() + ADDRESS_SECONDS
    host = f"[{name}]" if ":" in name else name
    url, way = f"http://{host}/.well-known/acme-challenge/{token}", ""
    try:
        for _hop in range(1 + REDIRECTS):
            target = parsed(url)
            place = address if target.host == name.lower() else resolved(target)
            status, body, location = get(target, place, deadline)
            if status in (301, 302, 303, 307, 308) and location:
                url = joined(url, location)
                way = f"a redirect to {url[:200]!r}, which gives "
                continue
            if status != 200:
                return f"{way}status {status}"
            if body.decode("utf-8", "replace").strip() == text:
                return ""
            return f"{way}a different file: this is another server"
    except RedirectError as error:
        return str(error)
    except TimeoutError:
        return f"{way}no answer in time"
    except OSError as error:
        return f"{way}no answer ({error.strerror or error})"
    except Exception as error:  # noqa: BLE001
        # Whatever an answer makes a library raise, it is not what a CA would understand either.
        return f"{way}an answer that is not HTTP ({type(error).__name__}: {str(error)[:200]})"
    return f"more than {REDIRECTS} redirects"


class RedirectError(Exception):
    """A redirect that a CA would not follow."""


class Target(t.NamedTuple):
    """Where to ask, of a URL that is safe to ask."""

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
    """Status, beginning of the body, and ``Location`` of one answer. No proxy of the environment is asked."""
    with socket.create_connection((address, target.port), timeout=left(deadline)) as plain_socket:
        connection: socket.socket = plain_socket
        if target.scheme == "https":
            # A CA does not look at certificates on the way either.
            unchecked = ssl._create_unverified_context()
            connection = unchecked.wrap_socket(plain_socket, server_hostname=target.host)
        with connection:
            host = f"[{target.host}]" if ":" in target.host else target.host
            client = http.client.HTTPConnection(target.host, target.port)
            client.sock = Bounded(connection, deadline)
            client.request("GET", target.path, headers={"Host": host, "Connection": "close"})
            answer = client.getresponse()
            return answer.status, answer.read(LONGEST_BODY), answer.getheader("Location") or ""


def left(deadline: float) -> float:
    """Seconds until the deadline.

    :raises TimeoutError: when it has passed.
    """
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


class Bounded(io.RawIOBase):
    """A connection whose answer must be complete at a deadline: a socket's own timeout begins anew with each byte."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self.connection, self.deadline = connection, deadline

    def sendall(self, data: bytes) -> None:
        self.connection.settimeout(left(self.deadline))
        self.connection.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def close(self) -> None:
        """Nothing: http.client closes it before the body is read."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        self.connection.settimeout(left(self.deadline))
        return self.connection.recv_into(buffer)


# --- getting it -----------------------------------------------------------------------------------------------------


def certbot(argv: list[str], settings: Settings) -> str:
    """Run certbot. Its error is what the CA said, without certbot's own advice."""
    environment = {
        **os.environ,  # a proxy, for instance
        "LANG": "C.UTF-8",
        # certbot brings a store of CAs of its own. The host's is the one that its owner keeps.
        **({"REQUESTS_CA_BUNDLE": settings.ca_bundle} if settings.ca_bundle else {}),
    }
    try:
        return run([*argv, "--max-log-backups", "100"], env=environment, timeout=600)
    except CommandError as error:
        raise CertificateError(plain(str(error))) from error


def plain(text: str) -> str:
    """What certbot says without what helps nobody.

    >>> plain("Saving debug log to /x\\nNo such authorization\\nAsk for help or search for solutions at y")
    'No such authorization'
    """
    noise = (
        r"(Saving debug log|Ask for help|See the logfile|Some challenges have failed|- - -|Requesting a|Renewing an)"
    )
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not re.match(noise, line))


def obtain(wanted: Certificate, settings: Settings, eab: dict[str, str] | None = None) -> None:
    """Get a certificate, or another in place of the one that is there."""
    ask_directory(wanted, settings)
    if wanted.challenge == "http-01":
        ensure_directory(settings.webroot)
        if settings.precheck:
            check_names(wanted, settings)
    if read(wanted.name) is None:
        clear_remains(wanted.name)
    try:
        register(settings, eab)
        certbot(certonly(wanted, settings), settings)
    except CertificateError as error:
        if not LOST_ACCOUNT.search(str(error)):
            raise
        forget_accounts(settings)
        register(settings, eab)
        certbot(certonly(wanted, settings), settings)


def renew(wanted: Certificate, settings: Settings) -> None:
    """Let certbot decide whether a renewal is due, by what the CA says (ARI), or by the remaining lifetime."""
    argv = [CERTBOT, "renew", "--cert-name", wanted.name, "--non-interactive", "--no-random-sleep-on-renew"]
    try:
        certbot(argv, settings)
    except CertificateError as error:
        if not LOST_ACCOUNT.search(str(error)):
            raise
        obtain(wanted, settings)


def register(settings: Settings, eab: dict[str, str] | None) -> None:
    """Make the account that needs to be bound to one that the CA knows. Others are made by the way."""
    if not eab or accounts(settings):
        return
    ensure_directory(os.path.dirname(LOCK))
    # A file that only root can read, and not for long: arguments are visible to every user of the host.
    handle, path = tempfile.mkstemp(dir=os.path.dirname(LOCK))
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(f"eab-kid = {eab['kid']}\neab-hmac-key = {eab['hmac_key']}\n")
        argv = [CERTBOT, "register", "--config", path, "--non-interactive", "--agree-tos", "--server", settings.server]
        argv += ["--email", settings.email, "--no-eff-email"]
        certbot(argv, settings)
    finally:
        os.unlink(path)


def accounts(settings: Settings) -> list[str]:
    """The directories of the accounts at this CA."""
    server = urllib.parse.urlsplit(settings.server)
    return glob.glob(f"{glob.escape(f'{CONFIG}/accounts/{server.netloc}{server.path}')}/*/regr.json")


def forget_accounts(settings: Settings) -> None:
    for path in accounts(settings):
        remove(os.path.dirname(path))


def clear_remains(name: str) -> None:
    """Remove what is left of a certificate that is not whole: certbot would stop at it, or choose another name."""
    for path in (f"live/{name}", f"archive/{name}", f"renewal/{name}.conf"):
        remove(os.path.join(CONFIG, path))


# --- bringing it to those who ask -------------------------------------------------------------------------------------


def install(wanted: Certificate, settings: Settings, fresh: bool) -> bool:
    """See to it that what is on the disk is what is served. Return whether something had to be done.

    :param fresh: whether the certificate is new, for a proxy that cannot be asked what it serves.
    """
    before = os.readlink(wanted.link) if wanted.link and os.path.islink(wanted.link) else ""
    moved = bool(wanted.link) and before != wanted.directory
    stale = served_otherwise(wanted, settings) if settings.probe_port else ("not asked" if fresh else "")
    if not moved and not stale:
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
            f"The certificate is on the disk, but not served: {settings.reload or 'the proxy'} was not reloaded. {error}"
        ) from error
    deadline = time.monotonic() + PATIENCE
    while settings.probe_port and (stale := served_otherwise(wanted, settings)):
        if time.monotonic() > deadline:
            raise CertificateError(f"The certificate is on the disk, but not served: {stale}.")
        time.sleep(0.2)
    return True


def served_otherwise(wanted: Certificate, settings: Settings) -> str:
    """For the first name under which something else is served than what is on the disk: what that is."""
    with open(os.path.join(wanted.directory, "fullchain.pem"), encoding="ascii") as stream:
        ours = ssl.PEM_cert_to_DER_cert(first_certificate(stream.read()))
    context = ssl._create_unverified_context()
    for domain in wanted.domains:
        name = domain.replace("*", "any", 1)
        try:
            with (
                socket.create_connection(("127.0.0.1", settings.probe_port), timeout=10) as plain_socket,
                context.wrap_socket(plain_socket, server_hostname=name) as secured,
            ):
                served = secured.getpeercert(binary_form=True)
        except OSError as error:
            return f"for {domain}, port {settings.probe_port} of this host does not answer ({error})"
        if served != ours:
            return f"for {domain}, port {settings.probe_port} of this host shows the serial {serial_of(served)}"
    return ""


def first_certificate(pem: str) -> str:
    end = "-----END CERTIFICATE-----"
    return pem.split(end)[0] + end + "\n"


def serial_of(der: bytes | None) -> str:
    if not der:
        return "of no certificate"
    with tempfile.NamedTemporaryFile(suffix=".der") as file:
        file.write(der)
        file.flush()
        with contextlib.suppress(CommandError):
            shown = run(["openssl", "x509", "-inform", "DER", "-in", file.name, "-noout", "-serial"])
            return shown.strip().removeprefix("serial=")
    return "of no certificate that openssl reads"


# --- the whole way ----------------------------------------------------------------------------------------------------


def bring(
    wanted: Certificate,
    settings: Settings,
    *,
    renewing: bool = False,
    check_mode: bool = False,
    eab: dict[str, str] | None = None,
) -> Result:
    """Bring one certificate to its state, as far as possible. A failure, of any kind, is part of the result."""
    result = Result(wanted.name)
    serial = None
    with recorded(result):
        found = read(wanted.name)
        result.expires, serial = (found.expires, found.serial) if found else (None, None)
        result.reasons = reasons(wanted, found, settings, time.time())
        if check_mode:
            result.action = "issued" if result.reasons else "unchanged"
        elif result.reasons:
            obtain(wanted, settings, eab)
        elif renewing:
            renew(wanted, settings)
    if check_mode:
        return result
    with recorded(result):
        found = read(wanted.name)
        if found:
            result.expires = found.expires
            fresh = found.serial != serial
            if fresh:
                result.action = "issued" if result.reasons else "renewed"
            # Also one that is not quite the wanted one: it is better than a self-signed one.
            installed = found.expires > time.time() and install(wanted, settings, fresh)
            if installed and not fresh:
                result.action = "installed"
            result.served = found.expires > time.time()
    return result


def observe(wanted: Certificate, settings: Settings) -> Result:
    """The state of a certificate that is left as it is."""
    result = Result(wanted.name)
    with recorded(result):
        found = read(wanted.name)
        if not found:
            raise CertificateError(f"There is none in {wanted.directory}.")
        result.expires = found.expires
        result.served = found.expires > time.time() and not (settings.probe_port and served_otherwise(wanted, settings))
    return result


@contextlib.contextmanager
def recorded(result: Result) -> t.Iterator[None]:
    """Add a failure to the result of the certificate, and go on with the others."""
    try:
        yield
    except (CertificateError, CommandError, OSError) as error:
        problem = str(error)
    except Exception as error:  # noqa: BLE001
        problem = f"Unexpected {type(error).__name__}: {error}. This is a defect of the collection: please report it."
    else:
        return
    if problem not in result.problem:
        result.problem = f"{result.problem}\n{problem}".strip()


def discard(name: str, directory_link: str, settings: Settings, revoke: bool, check_mode: bool = False) -> Result:
    """Delete a certificate that nothing uses any more."""
    result = Result(name, action="removed")
    live = os.path.join(CONFIG, "live", name)
    if check_mode:
        return result
    with recorded(result):
        if directory_link and os.path.islink(directory_link) and os.readlink(directory_link) == live:
            raise CertificateError(f"{directory_link} still leads to it, so it was not deleted.")
        if read(name) is None:
            clear_remains(name)
        elif revoke:
            certbot([CERTBOT, "revoke", "--cert-name", name, "--non-interactive", "--delete-after-revoke"], settings)
        else:
            certbot([CERTBOT, "delete", "--cert-name", name, "--non-interactive"], settings)
    if result.problem:
        result.action = "unchanged"
    return result


def metrics(results: t.Iterable[Result], settings: Settings, now: float) -> str:
    """All that is known of the certificates, for the textfile collector of node_exporter."""
    domains = {certificate.name: certificate.domains for certificate in settings.certificates}
    families: list[tuple[str, str, list[str]]] = [
        ("certificate_expiry_timestamp_seconds", "When the certificate on the disk ends.", []),
        ("certificate_served", "Whether the certificate on the disk is the one that is served.", []),
        ("last_run_success", "Whether the last run left the certificate as it should be.", []),
        ("last_run_timestamp_seconds", "When certificates were last looked after.", [f" {now:.0f}"]),
    ]
    for result in results:
        if result.name not in domains:
            continue
        if result.expires:
            families[0][2].extend(
                f'{{name="{result.name}",domain="{domain}"}} {result.expires:.0f}' for domain in domains[result.name]
            )
        families[1][2].append(f'{{name="{result.name}"}} {result.served:d}')
        families[2][2].append(f'{{name="{result.name}"}} {not result.problem:d}')
    text = ""
    for family, says, samples in families:
        text += f"# HELP letsencrypt_{family} {says}\n# TYPE letsencrypt_{family} gauge\n"
        text += "".join(f"letsencrypt_{family}{sample}\n" for sample in samples)
    return text


def publish(results: t.Iterable[Result], settings: Settings) -> None:
    """Write the metrics where node_exporter reads them, if it does; none of a host without certificates."""
    if settings.textfile_directory and os.path.isdir(settings.textfile_directory):
        place = os.path.join(settings.textfile_directory, "letsencrypt.prom")
        if not settings.certificates:
            remove(place)
            return
        write(place, metrics(results, settings, time.time()).encode(), 0o644, "root", "root")


@contextlib.contextmanager
def lock() -> t.Iterator[None]:
    """One at a time: the timer, or a run of Ansible. The second waits."""
    set_umask()
    with host_lock(LOCK):
        yield


def main() -> int:
    """What the timer runs: try again what failed, renew what is due, serve what is on the disk."""
    with lock():
        try:
            settings = Settings.load()
        except SettingsError as error:
            print(error)
            return 1
        if settings is None or not settings.certificates:
            print("no certificate is wanted")
            return 0
        results = []
        for certificate in settings.certificates:
            results.append(bring(certificate, settings, renewing=True))
            print(results[-1].summary, flush=True)
        publish(results, settings)
    return 1 if any(result.problem for result in results) else 0
