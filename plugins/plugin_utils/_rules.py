# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules that values must keep beyond their type. All of them are here.

Argument specs let through the empty string, a name such as ``../../etc``, ``true`` for an integer, a newline in the
middle of a line. Strangers run these roles as root: what reaches a template, a path or a command is checked first.

This plugin util is private to the collection.
"""

from __future__ import annotations

import re
import typing as t


class Rule(t.NamedTuple):
    """One rule: what it accepts, what it says when it does not, and a value that it would accept."""

    accepts: t.Callable[[t.Any], bool]
    says: str
    example: str


def matches(pattern: str, says: str, example: str) -> Rule:
    # fullmatch: in a regular expression `$` also matches before a newline at the end.
    return Rule(lambda value: re.fullmatch(pattern, value) is not None, says, example)


def between(lowest: int, highest: int, unit: str = "") -> Rule:
    says = f"must be from {lowest} to {highest}{unit and ' ' + unit}"
    return Rule(lambda value: lowest <= value <= highest, says, str(min(max(lowest, 10), highest)))


TAKEN_NAMES = frozenset(
    # Users and services that Debian, or what people install beside an app, already have.
    "root daemon bin sys sync games man lp mail news uucp proxy backup list irc gnats nobody www-data sshd ssh "
    "nginx apache apache2 systemd systemd-network systemd-resolve systemd-timesync messagebus dbus polkitd "
    "postgres mysql redis memcached mongodb rabbitmq prometheus grafana docker podman git ansible admin sudo adm "
    "users staff shadow tty disk network cron crontab rsyslog syslog journal certbot letsencrypt logrotate "
    "node-exporter gunicorn uv shutdown reboot default current previous".split()
)

LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"


def is_app_name(name: str) -> bool:
    return re.fullmatch(r"[a-z][a-z0-9-]{0,28}[a-z0-9]", name) is not None and name not in TAKEN_NAMES


def is_domain(name: str) -> bool:
    return len(name) <= 253 and re.fullmatch(rf"({LABEL}\.)+(?!\d+$){LABEL}", name) is not None


def is_relative_path(path: str) -> bool:
    """A path that stays below where it starts, and that no template or command reads as anything else."""
    parts = path.split("/")
    return re.fullmatch(r"[A-Za-z0-9._/-]+", path) is not None and all(
        part and part not in (".", "..") and not part.startswith("-") for part in parts
    )


def is_one_line(text: str) -> bool:
    return bool(text.strip()) and not re.search(r"[\x00-\x1f\x7f]", text)


def is_environment_value(value: t.Any) -> bool:
    """Anything systemd's EnvironmentFile can carry on one line."""
    return not isinstance(value, str) or not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value)


RELATIVE_PATH = Rule(
    is_relative_path, "must be a path below the top of the source, without '..', spaces or a leading '/'", "uploads"
)

RULES: dict[str, Rule] = {
    "name": Rule(
        is_app_name,
        "must be 2 to 30 lower-case letters, digits and hyphens, start with a letter, end with a letter or digit, and "
        "not be the name of a user or service that a server has anyway",
        "shop",
    ),
    "domains[]": Rule(
        is_domain,
        "must be a full domain name in lower case: labels of at most 63 letters, digits and hyphens, joined by dots; "
        "no scheme, port, path or underscore; an international name in its xn-- form",
        "shop.example.com",
    ),
    "wsgi": matches(
        r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(\([^()\x00-\x1f\x7f]*\))?",
        "must be 'module:callable' as gunicorn takes it; a factory is called with parentheses",
        "shop:create_app()",
    ),
    "source.git": matches(
        r"(https://(?![^/]*@)|ssh://(?![^/]*:[^/]*@)|git://|file:///|[\w.-]+@[\w.-]+:)[^\s\x00-\x1f\x7f]+",
        "must be an https, ssh, git or file URL without a password in it",
        "https://git.example.com/acme/shop.git",
    ),
    "source.version": matches(
        r"(?!.*(\.\.|//|@\{|\.lock$))[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}",
        "must be a branch, a tag or a full commit id",
        "v1.4.2",
    ),
    "source.path": matches(
        r"/(?!.*/\.\.(/|$))[^\x00-\x1f\x7f]*",
        "must be an absolute path on the controller",
        "{{ inventory_dir }}/../shop",
    ),
    "source.pypi": matches(
        r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(\[[A-Za-z0-9._,-]+\])?==[A-Za-z0-9][A-Za-z0-9.!+_-]*",
        "must name a package and one version of it",
        "httpbin==0.10.2",
    ),
    "requirements": RELATIVE_PATH,
    "shared_paths[]": RELATIVE_PATH,
    "static.path": RELATIVE_PATH,
    "static.url": matches(
        r"/([A-Za-z0-9._~-]+/)+", "must be a path that begins and ends with '/', of letters, digits and ._~-", "/static/"
    ),
    "migrate": Rule(is_one_line, "must be a command on one line", "flask --app shop db upgrade"),
    "env{key}": Rule(
        lambda key: re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", key) is not None
        and not re.fullmatch(r"PATH|LD_.*|PYTHON(PATH|HOME|STARTUP)|HOME|USER|LISTEN_(FDS|PID|FDNAMES)|NOTIFY_SOCKET", key),
        "must be letters, digits and underscores, not begin with a digit, and not be one that the unit itself needs",
        "FLASK_MAIL_SERVER",
    ),
    "env{value}": Rule(
        lambda value: isinstance(value, (str, int, float)) and is_environment_value(value),
        "must be a text without line breaks or control characters, a number or a boolean",
        '"mail.example.com"',
    ),
    "health.path": matches(r"/[A-Za-z0-9._~/?=&%-]*", "must be a path that begins with '/'", "/healthz"),
    "health.status": between(200, 499),
    "health.timeout": between(1, 300, "seconds"),
    "health.interval": between(1, 60, "seconds"),
    "health.deadline": between(1, 3600, "seconds"),
    "migrate_timeout": between(1, 86400, "seconds"),
    "workers": between(1, 256),
    "threads": between(1, 512),
    "timeout": between(1, 3600, "seconds"),
    "graceful_timeout": between(1, 3600, "seconds"),
    "client_max_body_size": matches(r"[0-9]{1,6}[kmg]?", "must be a number of bytes, or of k, m or g, as nginx takes it", "10m"),
    "nginx_proxy_http_port": between(1, 65535),
    "nginx_proxy_https_port": between(1, 65535),
    "python_app_keep_releases": between(0, 100),
    "python_app_python": matches(r"/(?!.*\.\.)[A-Za-z0-9._/-]+", "must be the absolute path of an interpreter on the host", "/usr/bin/python3"),
}
RULES["secrets{key}"] = RULES["env{key}"]
RULES["secrets{value}"] = RULES["env{value}"]
