# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that the rules of the roles (``meta/rules.yml``) name, for values that no pattern describes.

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

RESERVED_NAMES = frozenset(
    # Files of this collection in the same directories as those of the apps (/run/flask-ops/letsencrypt.lock, /opt/flask-ops/uv); words of
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


def is_loopback_port(text: str) -> bool:
    """A place on this host alone, where a program without any power can listen."""
    port = re.fullmatch(r"127\.0\.0\.1:([1-9][0-9]{3,4})", text)
    return port is not None and 1024 <= int(port.group(1)) <= 65535


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
        re.fullmatch(r"(/[A-Za-z0-9._*?-]+){2,}", path) is not None
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
    return re.fullmatch(r"(/[A-Za-z0-9._+-]+)+", path) is not None and not {".", ".."} & set(path.split("/"))


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


def are_requirements(value: t.Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(line, str) and is_requirement(line) for line in value)


def is_file_text(value: t.Any) -> bool:
    return isinstance(value, str) and "\0" not in value and len(value) < 1 << 20


def is_header_name(key: t.Any) -> bool:
    return (
        isinstance(key, str)
        and re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,63}", key) is not None
        and not re.fullmatch(
            r"strict-transport-security|content-security-policy(-report-only)?|server|date|connection|keep-alive|"
            r"content-(length|type|encoding)|transfer-encoding|upgrade|trailer|te|location|set-cookie|etag|"
            r"last-modified|cache-control|alt-svc|retry-after",
            key.lower(),
        )
    )


def is_nginx_lines(text: str) -> bool:
    return bool(text.strip()) and not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text)


def is_metrics_password(value: t.Any) -> bool:
    return is_secret_text(value) and is_one_line(value) and 12 <= len(value.encode()) <= 72


def is_credential_value(value: t.Any) -> bool:
    """What a file of certbot's credentials can hold."""
    return isinstance(value, int) or (isinstance(value, str) and is_one_line(value) and not {"'", '"'} <= set(value))


SETS: dict[str, t.Collection[str]] = {"findings": FINDINGS, "sandbox_directives": NAMES}
"""What a rule names as ``one_of``."""
