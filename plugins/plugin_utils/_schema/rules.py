# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules that values must keep beyond their type. All of them are here.

Argument specs let through the empty string, a name such as ``../../etc``, ``true`` for an integer, a newline in the
middle of a line. Strangers run these roles as root: what reaches a template, a path or a command is checked first.

This plugin util is private to the collection.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shlex
import typing as t
import urllib.parse
import zoneinfo
from collections.abc import Mapping

from ansible_collections.flask_ops.production.plugins.module_utils._host.sandbox import NAMES
from ansible_collections.flask_ops.production.plugins.module_utils._release.findings import FINDINGS


class Rule(t.NamedTuple):
    """One rule: what it accepts, what it says when it does not, and a value that it would accept."""

    accepts: t.Callable[[t.Any], bool]
    says: str
    example: str


def matches(pattern: str, says: str, example: str) -> Rule:
    # fullmatch: in a regular expression `$` also matches before a newline at the end.
    return Rule(lambda value: re.fullmatch(pattern, value) is not None, says, example)


def between(lowest: int, highest: int, example: int, unit: str = "") -> Rule:
    says = f"must be from {lowest} to {highest}{unit and ' ' + unit}"
    return Rule(lambda value: lowest <= value <= highest, says, str(example))


RESERVED_NAMES = frozenset(
    # Other files of this collection beside those of the apps (/run/flask-ops/letsencrypt.lock, /opt/flask-ops/uv); words of
    # options and playbooks; users of packages that the collection itself installs.
    "letsencrypt certbot uv nginx current previous default collectd mtail prometheus".split()
)
"""Names that no app may have. What else a host has of an app's name is found on the host."""

TAKEN_UNITS = frozenset(
    # A process of an app, <app>-<process>, could take the place of one of them.
    "node-exporter prometheus-node-exporter nginx-exporter prometheus-nginx-exporter access-log-exporter "
    "gunicorn-exporter flask-ops-letsencrypt flask-ops-metrics flask-ops-loopback".split()
)
"""Units of this collection, and of packages that it installs."""

MAX_CREDENTIALS = 900_000
"""systemd hands over 1 MiB to a unit, with names and the secrets of the app."""

LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"


def is_app_name(name: str) -> bool:
    return re.fullmatch(r"(?!flask-ops)[a-z][a-z0-9-]{0,28}[a-z0-9]", name) is not None and name not in RESERVED_NAMES


def is_domain(name: str) -> bool:
    """A full domain name, or all names below one, as in a certificate: ``*.shop.example.com``."""
    return len(name) <= 253 and re.fullmatch(rf"(\*\.(?={LABEL}\.))?({LABEL}\.)+(?!\d+$){LABEL}", name) is not None


def is_ip_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def is_email(text: str) -> bool:
    """An address that somebody reads: the domains of the documentation are nobody's."""
    local, _at, domain = text.partition("@")
    return (
        re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._%+-]{0,63}", local) is not None
        and is_domain(domain.lower())
        and not re.search(r"(^|\.)(example\.(com|net|org)|test|example|invalid|localhost)$", domain.lower())
    )


def is_https_url(text: str) -> bool:
    try:
        url = urllib.parse.urlsplit(text)
        port_is_right = url.port is None or url.port > 0
    except ValueError:
        return False
    return (
        url.scheme == "https"
        and port_is_right
        and re.fullmatch(r"https://[A-Za-z0-9.-]+(:\d+)?(/[\w./~%-]*)?", text) is not None
    )


def is_host_path(path: str) -> bool:
    """An absolute path on the host that a template or a command reads as nothing else."""
    return re.fullmatch(r"(/[A-Za-z0-9._+-]+)+", path) is not None and not {".", ".."} & set(path.split("/"))


def or_empty(rule: Rule) -> Rule:
    says = f"must be empty, or {rule.says.removeprefix('must be ')}"
    return Rule(lambda value: value == "" or rule.accepts(value), says, rule.example)


def is_relative_path(path: str) -> bool:
    """A path that stays below where it starts, and that no template or command reads as anything else."""
    parts = path.split("/")
    return re.fullmatch(r"[A-Za-z0-9._/-]+", path) is not None and all(
        part and part not in (".", "..") and not part.startswith("-") for part in parts
    )


def is_url_path(path: str) -> bool:
    return re.fullmatch(r"/([A-Za-z0-9._~-]+/)+", path) is not None and not {".", ".."} & set(path.split("/"))


def is_location(path: str) -> bool:
    return re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", path) is not None and not {".", ".."} & set(path.split("/"))


def is_network(text: str) -> bool:
    """An address, or a network whose host bits are zero: a wrong one would let in others than was meant."""
    try:
        return ipaddress.ip_network(text) is not None
    except ValueError:
        return False


def is_header_value(value: t.Any) -> bool:
    """nginx would read a ``$`` as a variable, and has no way to say that it is none."""
    return isinstance(value, str) and re.fullmatch(r"[\x20-\x23\x25-\x7e]{0,3900}", value) is not None


def is_basic_auth_secret(value: t.Any) -> bool:
    """A hash that Debian's crypt(3) knows, or a password to be hashed: what begins with ``$`` or ``{`` is a hash."""
    if not isinstance(value, str) or not is_one_line(value):
        return False
    if value.startswith(("$", "{")):
        return re.fullmatch(r"\$(2[aby]|5|6|y|apr1)\$[A-Za-z0-9./$=,]{20,200}", value) is not None
    return len(value) >= 8


def is_page(text: str) -> bool:
    return not text or (text.lstrip().startswith("<") and "\0" not in text)


def is_app_path(path: str) -> bool:
    """An absolute path on the host with ``{name}`` in it, so that no two apps share it."""
    return (
        re.fullmatch(r"(/([A-Za-z0-9._-]|\{name\})+)+", path) is not None
        and "{name}" in path
        and not {".", ".."} & set(path.split("/"))
    )


def is_app_root(path: str) -> bool:
    return is_app_path(path) and not re.match(
        r"/(boot|dev|etc|home|proc|root|run|sys|tmp|var/run|var/tmp)/|/[^/]*\{name\}", path
    )


def is_loopback_port(text: str) -> bool:
    """A place on this host alone, where a program without any power can listen."""
    port = re.fullmatch(r"127\.0\.0\.1:([1-9][0-9]{3,4})", text)
    return port is not None and 1024 <= int(port.group(1)) <= 65535


def is_upstream(text: str) -> bool:
    """What nginx' ``server`` directive takes; one socket or port for each app, or for each instance of it."""
    text = text.replace("{instance}", "1")
    socket, port = (
        re.fullmatch(r"unix:(.+)", text),
        re.fullmatch(r"[A-Za-z0-9.-]*\{name\}[A-Za-z0-9.-]*:[0-9]{1,5}", text),
    )
    return is_app_path(socket.group(1)) if socket else port is not None


def is_release(value: t.Any) -> bool:
    """A release as ``python_app`` publishes it. Its paths go into units, where spaces and ``%`` have a meaning."""
    return (
        isinstance(value, Mapping)
        and all(isinstance(value.get(key), str) for key in ("id", "path", "directory", "venv"))
        and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value["id"]) is not None
        and all(re.fullmatch(r"(/[A-Za-z0-9._+-]+)+", value[key]) for key in ("path", "directory", "venv"))
    )


def is_log_path(path: str) -> bool:
    """What logrotate may rename: no part of the system, and no pattern that fits the rotated files as well."""
    return (
        re.fullmatch(r"(/([A-Za-z0-9._*?-]|\{name\})+){2,}", path) is not None
        and not {".", ".."} & set(path.split("/"))
        and not re.match(r"/(bin|boot|dev|etc|lib|lib32|lib64|proc|run|sbin|sys|usr|var/run|[^/]*[*?][^/]*)/", path)
        and path[-1] not in "*?"
    )


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def is_absolute_path(path: str) -> bool:
    """An absolute path that means the same in a unit, a command and a template."""
    return re.fullmatch(r"(/[A-Za-z0-9._-]+)+", path) is not None and not {".", ".."} & set(path.split("/"))


def is_one_line(text: str) -> bool:
    return bool(text.strip()) and not re.search(r"[\x00-\x1f\x7f]", text)


def is_command(text: str) -> bool:
    """A command as it is run: split into words like a shell would, but by no shell."""
    try:
        words = shlex.split(text)
    except ValueError:  # a quote that is not closed
        return False
    operators = {"&", "&&", "|", "||", ";", "<", ">", ">>"}
    return is_one_line(text) and bool(words) and not words[0].startswith("-") and not operators & set(words)


NAMED_SCHEDULES = (
    "minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "semiannually", "yearly", "annually",
)  # fmt: skip


class Numbers(t.NamedTuple):
    """One part of a date or time, as systemd.time(7) has it: any, one, several, a range, each with a repetition."""

    lowest: int
    highest: int

    def accepts(self, text: str) -> bool:
        return text == "*" or all(self._is_one(part) for part in text.split(","))

    def _is_one(self, text: str) -> bool:
        found = re.fullmatch(r"([0-9]{1,4})(?:\.\.([0-9]{1,4}))?(?:/([0-9]{1,4}))?", text)
        if not found:
            return False
        first, last, step = (int(number) if number else None for number in found.groups())
        end = self.highest if last is None else last
        # systemd refuses a repetition that never happens.
        return (
            first is not None
            and self.lowest <= first <= end <= self.highest
            and (step is None or (step > 0 and (last is not None or step <= end - first)))
        )


DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
YEAR, MONTH, DAY, HOUR, SIXTY = Numbers(1970, 2199), Numbers(1, 12), Numbers(1, 31), Numbers(0, 23), Numbers(0, 59)


def _are_days(word: str) -> bool:
    """Weekdays and ranges of them, none of which goes over the end of a week."""
    numbers = {day: number for number, name in enumerate(DAYS) for day in (name, name[:3])}
    ranges = [part.split("..") for part in word.split(",")]
    return all(
        len(days) <= 2 and set(days) <= numbers.keys() and numbers[days[0]] <= numbers[days[-1]] for days in ranges
    )


def _is_date(word: str) -> bool:
    found = re.fullmatch(r"(?:([^-~]+)-)?([^-~]+)[-~]([^-~]+)", word)
    return found is not None and all(
        part is None or numbers.accepts(part) for part, numbers in zip(found.groups(), (YEAR, MONTH, DAY), strict=True)
    )


def _is_time(word: str) -> bool:
    hour, *sixties = word.split(":")
    return len(sixties) in (1, 2) and HOUR.accepts(hour) and all(map(SIXTY.accepts, sixties))


def is_time_zone(name: str) -> bool:
    """A zone that the controller knows; where it knows none at all, a text that looks like one."""
    if not re.fullmatch(r"[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*", name):
        return False
    known = [path for path in zoneinfo.TZPATH if os.path.isdir(path)]
    return name == "UTC" or not known or any(os.path.isfile(os.path.join(path, name)) for path in known)


SCHEDULE_PARTS: tuple[t.Callable[[str], bool], ...] = (
    _are_days,
    _is_date,
    _is_time,
    is_time_zone,
)
"""Weekdays, date, time and time zone. Each may be left out, but not all of the first three."""


def is_schedule(text: str) -> bool:
    """A calendar event of systemd's: ``Mon..Fri *-*-* 06:00``, ``hourly``."""
    words, position = text.split(" "), 0
    if words[0] in NAMED_SCHEDULES:
        position, words = 3, words[1:]
    elif not any(is_part(words[0]) for is_part in SCHEDULE_PARTS[:3]):
        return False
    for word in words:
        while position < len(SCHEDULE_PARTS) and not SCHEDULE_PARTS[position](word):
            position += 1
        if position == len(SCHEDULE_PARTS):
            return False
        position += 1
    return True


def is_environment_value(value: t.Any) -> bool:
    """Anything systemd's EnvironmentFile can carry on one line. It refuses a file with a Unicode noncharacter."""
    if isinstance(value, str):
        return not re.search(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff\ufdd0-\ufdef]", value) and not any(
            ord(character) & 0xFFFE == 0xFFFE for character in value
        )
    return isinstance(value, (int, float))


def is_secret_value(value: t.Any) -> bool:
    """The same, with line breaks: a key in PEM has some."""
    return is_environment_value(re.sub(r"\r?\n", "", value) if isinstance(value, str) else value)


def is_credential_name(value: t.Any) -> bool:
    """The name of a file that systemd hands over. Those that begin with a dot are for files that are not complete."""
    return (
        isinstance(value, str)
        and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value) is not None
        and ".." not in value
        and value != "secrets.json"
    )


def is_secret_text(value: t.Any) -> bool:
    """A text of any characters that a file can have. Without one, the value is most likely missing."""
    if not isinstance(value, str) or not value or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_requirement(line: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9][^\x00-\x1f\x7f]*", line) is not None


def below_the_source(example: str) -> Rule:
    return Rule(
        is_relative_path, "must be a path below the top of the source, without '..', spaces or a leading '/'", example
    )


RULES: dict[str, Rule] = {
    "name": Rule(
        is_app_name,
        "must be 2 to 30 lower-case letters, digits and hyphens, start with a letter, end with a letter or digit, and "
        f"not begin with flask-ops or be one of {', '.join(sorted(RESERVED_NAMES))}",
        "shop",
    ),
    "domains[]": Rule(
        is_domain,
        "must be a full domain name in lower case: labels of at most 63 letters, digits and hyphens, joined by dots; "
        "no scheme, port, path or underscore; an international name in its xn-- form; with '*.' for all names below one",
        "shop.example.com",
    ),
    "path": Rule(
        lambda path: path == "/" or (is_location(path) and re.search(r"/$|/[._~-]", path) is None),
        "must be '/', or a path that begins with '/' and does not end with one, of letters, digits and ._~-, each part of "
        "which begins with a letter or digit",
        "/admin",
    ),
    "wsgi": matches(
        r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\([^()\x00-\x1f\x7f]*\))?",
        "must be 'module:callable' as gunicorn takes it; a factory is called with parentheses",
        "shop:create_app()",
    ),
    "source.git": matches(
        r"(https://(?!.*@)|ssh://(?![^/]*:[^/]*@)|git://(?!.*@)|[A-Za-z0-9_][\w.-]*@[A-Za-z0-9][\w.-]*:)"
        r"[^\s\x00-\x1f\x7f-][^\s\x00-\x1f\x7f]*",
        "must be an https, ssh or git URL without a password in it",
        "https://git.example.com/acme/shop.git",
    ),
    "source.version": matches(
        r"(?!.*(\.\.|//|@\{|\.lock$))[A-Za-z0-9][A-Za-z0-9._/+@#-]{0,199}",
        "must be a branch, a tag or a full commit id",
        "v1.4.2",
    ),
    "source.deploy_key": Rule(
        lambda text: (
            re.fullmatch(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n[^\x00]+-----END [A-Z ]*PRIVATE KEY-----\s*", text)
            is not None
        ),
        "must be the text of a private key, with all of its lines",
        "\"{{ lookup('ansible.builtin.file', 'keys/shop_deploy_key') }}\"",
    ),
    "source.known_hosts[]": matches(
        r"[A-Za-z0-9\[|*?][A-Za-z0-9.,:\[\]|*?/+=_-]* (ssh-|ecdsa-|sk-)[a-z0-9@.-]+ [A-Za-z0-9+/=]{40,}( [^\x00-\x1f]*)?",
        "must be a line of a known_hosts file: the server's name, the kind of its key, the key",
        "git.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
    ),
    "source.token": matches(
        r"[\x21-\x2c\x2e-\x7e][\x21-\x7e]{7,499}",
        "must be the text of an access token, from a vault",
        "0123456789abcdef0123456789abcdef01234567",
    ),
    "source.token_user": matches(r"[A-Za-z0-9][A-Za-z0-9._@-]*", "must be a user name", "x-token-auth"),
    "source.archive": matches(
        r"https://(?!.*@)[^\s\x00-\x1f\x7f]+|/[^\x00-\x1f\x7f]*",
        "must be an https URL without a password in it, or an absolute path on the controller",
        "https://files.example.com/shop-1.4.2.tar.gz",
    ),
    "source.checksum": matches(
        r"sha256:[0-9a-f]{64}",
        "must be 'sha256:' and 64 hexadecimal digits, as sha256sum prints them",
        "sha256:" + "0f" * 32,
    ),
    "source.subdirectory": below_the_source("services/shop"),
    "source.wheel": matches(
        r"/[^\x00-\x1f\x7f]*/[A-Za-z0-9._]+-[A-Za-z0-9._+!-]+\.whl",
        "must be the absolute path of a wheel on the controller",
        "/home/me/shop/dist/shop-1.4.2-py3-none-any.whl",
    ),
    "source.path": matches(
        r"/[^\x00-\x1f\x7f]*",
        "must be an absolute path on the controller; relative to the inventory, it is '{{ inventory_dir }}/../shop'",
        "/home/me/shop",
    ),
    "source.pypi": matches(
        r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(\[[A-Za-z0-9._,-]+\])?==[A-Za-z0-9][A-Za-z0-9.!+_-]*",
        "must name a package and one version of it",
        "httpbin==0.10.2",
    ),
    "requirements": below_the_source("requirements.txt"),
    "constraints": below_the_source("constraints.txt"),
    "extras[]": matches(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", "must be the name of an extra", "prod"),
    "groups[]": matches(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", "must be the name of a dependency group", "prod"),
    "extra_requirements[]": Rule(
        is_requirement, "must be one line of a requirements file that names a package", "psycopg2-binary==2.9.9"
    ),
    "files{key}": below_the_source("superset_config.py"),
    "files{value}": Rule(
        lambda value: isinstance(value, str) and "\0" not in value and len(value) < 1 << 20,
        "must be a text of less than 1 MiB",
        "\"{{ lookup('ansible.builtin.file', 'files/superset_config.py') }}\"",
    ),
    "build.command": Rule(
        is_command,
        "must be one command on one line; no shell runs it, so '&&', '|' and '>' do not work",
        "flask --app shop translate compile",
    ),
    "build.timeout": between(1, 7200, 600, "seconds"),
    "packages[]": matches(
        # apt-get removes a package whose name is followed by a hyphen.
        r"[a-z0-9][a-z0-9+.-]*([a-z0-9]|\+\+)",
        "must be the name of a Debian package alone; a version is pinned by a file in /etc/apt/preferences.d",
        "libpq-dev",
    ),
    "extra_index": matches(
        r"https?://[^\s\x00-\x1f\x7f]+", "must be the URL of a package index", "https://packages.example.com/simple/"
    ),
    "wheelhouse": matches(
        r"/[^\x00-\x1f\x7f]*", "must be the absolute path of a directory on the controller", "/home/me/wheelhouse"
    ),
    "shared_paths[]": below_the_source("uploads"),
    "static.path": below_the_source("shop/static"),
    "static.url": Rule(
        is_url_path, "must be a path that begins and ends with '/', of letters, digits and ._~-", "/static/"
    ),
    "migrate": Rule(
        is_command,
        "must be one command on one line; no shell runs it, so '&&', '|' and '>' do not work",
        "flask --app shop db upgrade",
    ),
    "secret_files{key}": Rule(
        is_credential_name,
        "must be at most 64 letters, digits and ._- without '..', begin with a letter or a digit, and not be secrets.json",
        "google.json",
    ),
    "secret_files{value}": Rule(
        is_secret_text,
        "must be a text that is not empty, without null characters",
        '"{{ vault_shop_google_json }}"',
    ),
    "env{key}": Rule(
        lambda key: (
            re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", key) is not None
            and not re.fullmatch(
                r"PATH|LD_.*|PYTHON(HOME|STARTUP)|HOME|USER|LOGNAME|SHELL|LISTEN_(FDS|PID|FDNAMES)|NOTIFY_SOCKET|FLASK_OPS_.*",
                key,
            )
        ),
        "must be letters, digits and underscores, not begin with a digit, and not be one that the unit itself needs",
        "FLASK_MAIL_SERVER",
    ),
    "env{value}": Rule(
        is_environment_value,
        "must be a text without line breaks or control characters, a number or a boolean; a list or a dictionary is written as "
        """JSON in quotes, such as '["a", "b"]', which Flask's from_prefixed_env() reads""",
        '"mail.example.com"',
    ),
    "health.path": matches(r"/[A-Za-z0-9._~/?=&%-]*", "must be a path that begins with '/'", "/healthz"),
    "health.status": between(200, 499, 200),
    "health.timeout": between(1, 300, 5, "seconds"),
    "health.interval": between(1, 60, 1, "seconds"),
    "health.deadline": between(1, 3600, 60, "seconds"),
    "migrate_timeout": between(1, 86400, 300, "seconds"),
    "workers": between(1, 256, 4),
    "instances": between(1, 64, 4),
    "threads": between(1, 512, 4),
    "timeout": between(1, 3600, 30, "seconds"),
    "graceful_timeout": between(1, 3600, 30, "seconds"),
    "limits.memory_high": between(32, 1048576, 512, "MiB"),
    "limits.memory_max": between(32, 1048576, 768, "MiB"),
    "limits.cpu_quota": between(5, 100000, 150, "percent"),
    "limits.cpu_weight": between(1, 10000, 50),
    "limits.tasks": between(16, 100000, 512),
    "limits.open_files": between(64, 524288, 8192),
    "metrics.statsd": matches(
        r"(\[[0-9a-f:]+\]|[A-Za-z0-9][A-Za-z0-9.-]{0,252}):[1-9][0-9]{0,4}",
        "must be a host and a port",
        "127.0.0.1:8125",
    ),
    "accept_insecure[]": Rule(
        lambda name: name in FINDINGS, f"must be one of {', '.join(sorted(FINDINGS))}", "no_secret_key"
    ),
    "sandbox.without[]": Rule(
        lambda name: name in NAMES, f"must be one of {', '.join(sorted(NAMES))}", "MemoryDenyWriteExecute"
    ),
    "client_max_body_size": matches(
        r"[0-9]{1,9}[kKmMgG]?", "must be a number of bytes, or of k, m or g, as nginx takes it", "10m"
    ),
    "processes[].name": matches(
        r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?",
        "must be 1 to 30 lower-case letters, digits and hyphens, start with a letter, end with a letter or digit",
        "worker",
    ),
    "processes[].schedule": Rule(
        is_schedule, "must be a calendar event as systemd takes it: weekdays, date, time, or a word", "Mon..Fri 06:00"
    ),
    "processes[].instances": between(1, 64, 2),
    "processes[].start_seconds": between(1, 300, 5, "seconds"),
    "processes[].stop_timeout": between(1, 86400, 300, "seconds"),
    "processes[].only_on": matches(
        r"[A-Za-z0-9_][^\s\x00-\x1f\x7f]*", "must be the name of a host in the inventory", "web1.example.com"
    ),
    "python_app_keep_releases": between(1, 100, 3),
    "python_app_lock_timeout": between(0, 86400, 300, "seconds"),
    "static.keep": between(0, 31536000, 86400, "seconds"),
    "hsts.max_age": between(0, 126144000, 63072000, "seconds"),
    "csp": Rule(
        lambda text: text != "" and is_header_value(text),
        "must be one line without '$'",
        "default-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
    ),
    "headers{key}": Rule(
        lambda key: (
            isinstance(key, str)
            and re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,63}", key) is not None
            and not re.fullmatch(
                r"strict-transport-security|content-security-policy(-report-only)?|server|date|connection|keep-alive|"
                r"content-(length|type|encoding)|transfer-encoding|upgrade|trailer|te|location|set-cookie|etag|"
                r"last-modified|cache-control|alt-svc|retry-after",
                key.lower(),
            )
        ),
        "must be letters, digits and hyphens, and not be a header that has an option of its own or is nginx's business",
        "Permissions-Policy",
    ),
    "headers{value}": Rule(is_header_value, "must be a text on one line without '$'", "camera=(), microphone=()"),
    "allow[]": Rule(
        is_network, "must be an address or a network in CIDR form, whose host bits are zero", "192.0.2.0/24"
    ),
    "basic_auth{key}": matches(
        r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", "must be letters, digits and ._@-, without ':'", "alice"
    ),
    "basic_auth{value}": Rule(
        is_basic_auth_secret,
        "must be a hash that begins with $2b$, $5$, $6$ or $y$, or a password of 8 characters or more on one line",
        '"{{ vault_alice_hash }}"',
    ),
    "request_limits.rate": matches(
        r"[1-9][0-9]{0,5}r/[sm]", "must be requests per second (r/s) or minute (r/m)", "10r/s"
    ),
    "request_limits.burst": between(1, 100000, 20),
    "request_limits.connections": between(1, 100000, 20),
    "locations[].path": Rule(
        is_location, "must be a path that begins with '/', of letters, digits and ._~-, and not '/' alone", "/ws/"
    ),
    "locations[].timeout": between(1, 86400, 300, "seconds"),
    "locations[].redirect": matches(
        r"(https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?)?/(?!/)[A-Za-z0-9._~/?&=%#+,:@-]*",
        "must be a path, or an http or https URL with one, of the characters that a URL may have",
        "/new-place/",
    ),
    "snippet": Rule(
        lambda text: bool(text.strip()) and not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text),
        "must be lines of nginx's configuration, without control characters",
        "server_tokens off;",
    ),
    "nginx_proxy_http_port": between(1, 65535, 80),
    "nginx_proxy_https_port": between(1, 65535, 443),
    "nginx_proxy_status_port": between(1, 65535, 9112),
    "nginx_proxy_error_page": Rule(
        is_page, "must be empty, or an HTML page", "<!doctype html><p>Back in a minute.</p>"
    ),
    "nginx_proxy_old_static_directory": or_empty(
        Rule(is_app_path, "must be an absolute path with {name} in it", "/srv/{name}/old-static")
    ),
    "python_app_root": Rule(
        is_app_root,
        "must be an absolute path with {name} in it, below a directory that an app's sandbox does not hide",
        "/srv/{name}",
    ),
    "python_app_extra_requirements[]": Rule(
        is_requirement, "must be one line of a requirements file that names a package", "gunicorn==27.0.1"
    ),
    "python_app_proxies{key}": matches(
        r"(http|https|all|no)_proxy|(HTTP|HTTPS|ALL|NO)_PROXY",
        "must be http_proxy, https_proxy, all_proxy or no_proxy",
        "https_proxy",
    ),
    "python_app_proxies{value}": Rule(
        lambda value: isinstance(value, str) and re.fullmatch(r"[^\s\x00-\x1f\x7f]+", value) is not None,
        "must be a URL, or for no_proxy a list of hosts with commas",
        "http://proxy.example.com:3128",
    ),
    "python_app_extra_requirements_of{key}": Rule(is_app_name, "must be the name of an app", "shop"),
    "python_app_extra_requirements_of{value}": Rule(
        lambda value: (
            isinstance(value, (list, tuple)) and all(isinstance(line, str) and is_requirement(line) for line in value)
        ),
        "must be a list of lines of a requirements file that each name a package",
        "[gunicorn==27.0.1]",
    ),
    "python_app_pinned_releases{key}": Rule(is_app_name, "must be the name of an app", "shop"),
    "python_app_pinned_releases{value}": Rule(
        lambda value: isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,99}", value) is not None,
        "must be the id of a release, or 'previous'",
        "previous",
    ),
    "gunicorn_systemd_releases{key}": Rule(is_app_name, "must be the name of an app", "shop"),
    "gunicorn_systemd_releases{value}": Rule(
        is_release,
        "must have an id and, as absolute paths of letters, digits and ._+-, path, directory and venv",
        "{id: r1, path: /srv/shop/releases/r1, directory: /srv/shop/releases/r1/app, venv: /srv/shop/releases/r1/venv}",
    ),
    "gunicorn_systemd_environment_file": Rule(
        is_app_path, "must be an absolute path with {name} in it", "/etc/flask-ops/{name}/environment"
    ),
    "gunicorn_systemd_changing_files[]": Rule(
        is_host_path, "must be the absolute path of a file on the host", "/etc/flask-ops/shop/environment"
    ),
    "gunicorn_systemd_credentials_directory": or_empty(
        Rule(is_app_path, "must be an absolute path with {name} in it", "/etc/flask-ops/{name}/credentials")
    ),
    "gunicorn_systemd_secret_files{key}": Rule(is_app_name, "must be the name of an app", "shop"),
    "gunicorn_systemd_secret_files{value}": Rule(
        lambda value: isinstance(value, (list, tuple)) and all(map(is_credential_name, value)),
        "must be a list of names of secret files",
        "[google.json]",
    ),
    "gunicorn_systemd_writable_directory": or_empty(
        Rule(is_app_path, "must be an absolute path with {name} in it", "/srv/{name}/shared")
    ),
    "gunicorn_systemd_release_link": or_empty(
        Rule(is_app_path, "must be an absolute path with {name} in it", "/srv/{name}/current")
    ),
    "gunicorn_systemd_shared_by": between(0, 1000, 2),
    "gunicorn_systemd_probe_socket": or_empty(
        Rule(is_app_path, "must be an absolute path with {name} in it", "/run/flask-ops/nginx/{name}.sock")
    ),
    "gunicorn_systemd_probed_apps[]": Rule(is_app_name, "must be the name of an app", "shop"),
    "nginx_proxy_upstream": Rule(
        is_upstream,
        "must be 'unix:' and a socket's path, or a host and a port, with {name} in it, and {instance} where there are "
        "several",
        "unix:/run/flask-ops/{name}/current/{instance}.sock",
    ),
    "nginx_proxy_static_directory": Rule(
        is_app_path, "must be an absolute path with {name} in it", "/srv/{name}/current/static"
    ),
    "node_exporter_release_link": Rule(
        is_app_path, "must be an absolute path with {name} in it", "/srv/{name}/current"
    ),
    "node_exporter_https_port": between(0, 65535, 443),
    "node_exporter_units[]": matches(
        r"[A-Za-z0-9][A-Za-z0-9:_.@\\-]*\.(service|socket|timer|path|mount|target)",
        "must be the full name of a unit",
        "nginx.service",
    ),
    "node_exporter_version": matches(
        r"([0-9]+\.[0-9]+\.[0-9]+[A-Za-z0-9.+~-]*)?", "must be empty, or one version, never 'latest'", "1.9.1"
    ),
    "node_exporter_archive": matches(
        r"((https?:/)?(/[A-Za-z0-9._:~+@{}-]+)+)?",
        "must be empty, or an absolute path on the controller, or an http or https URL, of a .tar.gz",
        "/srv/mirror/node_exporter-{version}.linux-{architecture}.tar.gz",
    ),
    "node_exporter_checksums{key}": matches(r"amd64|arm64", "must be amd64 or arm64", "amd64"),
    "node_exporter_checksums{value}": Rule(
        lambda value: isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None,
        "must be a SHA-256, 64 hexadecimal digits in lower case",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ),
    "node_exporter_address": Rule(is_address, "must be an IP address of the host, or 0.0.0.0", "127.0.0.1"),
    "node_exporter_port": between(1, 65535, 9100),
    "node_exporter_users{key}": matches(
        r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", "must be letters, digits and ._@-, and no ':'", "prometheus"
    ),
    "node_exporter_users{value}": Rule(
        lambda value: (
            isinstance(value, str) and re.fullmatch(r"\$2[aby]\$(0[4-9]|1[0-5])\$[./A-Za-z0-9]{53}", value) is not None
        ),
        "must be a bcrypt hash; for a password there is node_exporter_passwords",
        "$2b$12$sSTA43is.zb.a2G5BxQAQ.ZZfFq1ZU404M9SPds/ouXnveAuUncJK",
    ),
    "node_exporter_passwords{value}": Rule(
        lambda value: isinstance(value, str) and is_one_line(value) and 12 <= len(value.encode()) <= 72,
        "must be a text of 12 to 72 bytes on one line",
        "what python3 -c 'import secrets; print(secrets.token_urlsafe())' prints",
    ),
    "node_exporter_certificate": or_empty(
        Rule(
            is_absolute_path,
            "must be an absolute path on the host",
            "/etc/letsencrypt/live/web1.example.com/fullchain.pem",
        )
    ),
    "node_exporter_certificate_key": or_empty(
        Rule(
            is_absolute_path,
            "must be an absolute path on the host",
            "/etc/letsencrypt/live/web1.example.com/privkey.pem",
        )
    ),
    "node_exporter_names[]": matches(
        rf"({LABEL}\.)*{LABEL}", "must be a name of the host in lower case, without scheme or port", "web1.example.com"
    ),
    "node_exporter_collectors[]": matches(
        r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9-]*)*", "must be the name of a collector of node_exporter", "cpu"
    ),
    "node_exporter_nginx_status": matches(
        r"(http://(127\.0\.[0-9]{1,3}\.[0-9]{1,3}|\[::1\]|localhost):[0-9]{1,5}(/[A-Za-z0-9._-]+)*|unix:(/[A-Za-z0-9._-]+)+:(/[A-Za-z0-9._-]+)+)",
        "must be a URL on the loopback, or unix:, the path of a socket, ':' and a path",
        "http://127.0.9.1:9112/nginx_status",
    ),
    "node_exporter_access_log": Rule(
        is_app_path, "must be an absolute path with {name} in it", "/var/log/nginx/{name}.access.log"
    ),
    "node_exporter_statsd": Rule(
        lambda text: not text or is_loopback_port(text),
        "must be empty, or 127.0.0.1 and a port from 1024 to 65535",
        "127.0.0.1:8125",
    ),
    "python_app_python": matches(
        r"/(?!.*\.\.)[A-Za-z0-9._/-]+|3\.(1[1-9]|[2-9][0-9])",
        "must be the absolute path of an interpreter on the host, or a version from 3.11 on, in quotes",
        "/usr/bin/python3",
    ),
    "python_app_python_mirror": or_empty(
        matches(r"https?://[^\s\x00-\x1f\x7f]+", "must be a URL", "https://mirror.example.com/python-build-standalone")
    ),
}

USER = r"([a-z_]|\{name\})([a-z0-9_-]|\{name\}){0,31}"
SERVICE = r"([A-Za-z0-9_]|\{name\})([A-Za-z0-9:_.@-]|\{name\})*\.service"

LOG_RULES: dict[str, Rule] = {
    "name": matches(
        r"[a-z0-9][a-z0-9_-]{0,63}", "must be letters in lower case, digits, hyphens and underscores", "shop"
    ),
    "paths[]": Rule(
        is_log_path,
        "must be an absolute path of letters, digits and ._-, * and ? not at its end, and no file of the system's",
        "/var/log/shop/*.log",
    ),
    "owner": matches(USER, "must be the name of a user", "www-data"),
    "group": matches(USER, "must be the name of a group", "adm"),
    "mode": matches(
        r"0[46][046][04]", "must be an octal number in quotes, without a right to execute or to write for all", "0640"
    ),
    "unit": matches(
        rf"{SERVICE}( {SERVICE})*", "must be a systemd service, or several, separated by one space", "nginx.service"
    ),
    "signal": matches("USR[12]|HUP", "must be USR1, USR2 or HUP", "USR1"),
    "size": matches(
        r"[1-9][0-9]{0,8}[kMG]?", "must be a number of bytes, or of k, M or G, as logrotate takes it", "100M"
    ),
    "keep": between(1, 1000, 14),
    "maxage": between(0, 3650, 90, "days"),
}
LOG_RULES["minsize"] = LOG_RULES["maxsize"] = LOG_RULES["size"]

for _list in ("logrotate_files", "logrotate_extra_files"):
    RULES |= {f"{_list}[].{option}": rule for option, rule in LOG_RULES.items()}
RULES |= {f"logrotate_{option}": LOG_RULES[option] for option in ("keep", "maxage")}
RULES["logrotate_maxsize"] = or_empty(LOG_RULES["size"])

RULES["node_exporter_passwords{key}"] = RULES["node_exporter_users{key}"]
RULES["python"] = RULES["python_app_python"]
RULES |= {
    "certificate.fullchain": Rule(is_host_path, "must be the absolute path of a file on the host", "/etc/ssl/shop.pem"),
    "certificate.privkey": Rule(
        is_host_path, "must be the absolute path of a file on the host", "/etc/ssl/private/shop.key"
    ),
    "acme.profile": matches(
        r"[a-z0-9][A-Za-z0-9._-]{0,63}", "must be the name of a profile that the CA has", "tlsserver"
    ),
    "acme.ip_addresses[]": Rule(is_ip_address, "must be an IPv4 or IPv6 address", "203.0.113.7"),
    "nginx_proxy_self_signed_sites[]": Rule(is_app_name, "must be the name of an app", "shop"),
    "letsencrypt_email": or_empty(
        Rule(
            is_email,
            "must be an address that you read; Let's Encrypt refuses those of example.com",
            "webmaster@flask-shop.com",
        )
    ),
    "letsencrypt_server": Rule(
        is_https_url,
        "must be the https URL of an ACME directory, without a password in it",
        "https://acme-v02.api.letsencrypt.org/directory",
    ),
    "letsencrypt_ca_bundle": Rule(
        is_host_path, "must be the absolute path of a file on the host", "/etc/ssl/certs/ca-certificates.crt"
    ),
    "letsencrypt_eab{key}": matches(r"kid|hmac_key", "must be kid or hmac_key", "kid"),
    "letsencrypt_eab{value}": Rule(
        lambda value: isinstance(value, str) and re.fullmatch(r"[!-~]{1,500}", value) is not None,
        "must be one word, as the CA gives it",
        "kid-7Jx2",
    ),
    "letsencrypt_webroot": Rule(is_host_path, "must be the absolute path of a directory on the host", "/var/www/html"),
    "letsencrypt_dns_plugin": or_empty(
        matches(r"dns-[a-z0-9-]{1,50}", "must be the name of an authenticator of certbot's", "dns-rfc2136")
    ),
    "letsencrypt_dns_packages[]": matches(
        r"[A-Za-z0-9][^\x00-\x1f\x7f]*",
        "must be one line of a requirements file that names a package",
        "certbot-dns-rfc2136==5.8.0",
    ),
    "letsencrypt_dns_credentials{key}": matches(
        r"dns_[a-z0-9_]{1,80}", "must be a name of the plugin's file of credentials", "dns_rfc2136_server"
    ),
    "letsencrypt_dns_credentials{value}": Rule(
        lambda value: (
            isinstance(value, int) or (isinstance(value, str) and is_one_line(value) and not {"'", '"'} <= set(value))
        ),
        "must be a number, or a text on one line with only one kind of quotes in it",
        "192.0.2.53",
    ),
    "letsencrypt_dns_propagation": between(0, 3600, 60, "seconds"),
    "letsencrypt_link": or_empty(
        Rule(is_app_path, "must be an absolute path with {name} in it", "/etc/nginx/certificates/{name}")
    ),
    "letsencrypt_validate": or_empty(
        Rule(is_command, "must be one command on one line, which no shell runs", "nginx -t")
    ),
    "letsencrypt_reload": or_empty(
        matches(r"[A-Za-z0-9@._][A-Za-z0-9@._-]*\.service", "must be the name of a systemd service", "nginx.service")
    ),
    "letsencrypt_probe_port": between(0, 65535, 443),
    "letsencrypt_textfile_directory": or_empty(
        Rule(is_host_path, "must be the absolute path of a directory on the host", "/var/lib/prometheus/node-exporter")
    ),
}
RULES["letsencrypt_profile"] = or_empty(RULES["acme.profile"])
RULES["build.env{key}"] = RULES["env{key}"]
RULES["build.env{value}"] = RULES["env{value}"]
RULES["secrets{key}"] = RULES["env{key}"]
RULES["secrets{value}"] = RULES["env{value}"]._replace(
    accepts=is_secret_value, says="must be a text without control characters but line breaks, a number or a boolean"
)
RULES["processes[].command"] = RULES["migrate"]._replace(example="celery --app shop worker")
for _name in (
    "releases{key}", "releases{value}", "changing_files[]", "credentials_directory", "secret_files{key}",
    "secret_files{value}", "environment_file", "writable_directory",
):  # fmt: skip
    RULES[f"app_processes_{_name}"] = RULES[f"gunicorn_systemd_{_name}"]
RULES["locations[].client_max_body_size"] = RULES["client_max_body_size"]
RULES["locations[].allow[]"] = RULES["nginx_proxy_trusted_proxies[]"] = RULES["allow[]"]
RULES["locations[].snippet"] = RULES["snippet"]
RULES["nginx_proxy_maintenance_page"] = RULES["nginx_proxy_error_page"]
