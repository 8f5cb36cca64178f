# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules that values must keep beyond their type. All of them are here.

Argument specs let through the empty string, a name such as ``../../etc``, ``true`` for an integer, a newline in the
middle of a line. Strangers run these roles as root: what reaches a template, a path or a command is checked first.

This plugin util is private to the collection.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
import typing as t
from collections.abc import Mapping


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


TAKEN_NAMES = frozenset(
    # An app has a user and a group, /etc/<name> and /run/<name>, and all of them go when the app goes.
    # Users, groups and services that Debian, or what people install beside an app, already have.
    "root daemon bin sys sync games man lp mail news uucp proxy backup list irc gnats nobody nogroup www-data sshd ssh "
    "nginx apache apache2 lighttpd caddy haproxy varnish squid systemd systemd-network systemd-resolve systemd-timesync "
    "systemd-journal systemd-coredump messagebus dbus polkitd postgres mysql mariadb redis valkey memcached mongodb "
    "rabbitmq elasticsearch prometheus grafana docker podman git gitlab jenkins ansible admin sudo adm wheel users staff "
    "shadow tty disk audio video cdrom dialout dip fax floppy input kmem kvm netdev operator plugdev render sasl sgx src "
    "ssl-cert tape utmp voice cron crontab rsyslog syslog journal certbot letsencrypt logrotate node-exporter gunicorn "
    "uv chrony ntp ntpsec bind named unbound dnsmasq postfix dovecot exim4 cups samba nfs snapd fail2ban ufw shutdown "
    "reboot halt default current previous "
    # What else Debian keeps in /etc and /run, and what this collection keeps there.
    "adduser alternatives apparmor appstream apt binfmt ca-certificates cloud cni containers credentials cryptsetup "
    "dconf debconf dhcp dpkg environment fonts fstab glvnd group gshadow gss host hostname hosts init initctl "
    "initramfs-tools iproute2 issue kernel ldap libpod locale lock log login lvm machine-id magic mdadm mime modprobe "
    "modules motd mount mtab netns netplan network networks nftables opt os-release pam passwd perl polkit-1 "
    "postgresql profile protocols python python2 python3 resolvconf rmt rpc runc security selinux services sgml shells "
    "shm skel ssl subgid subuid sudoers sysctl terminfo timezone tmpfiles ucf udev user utmp vim wireguard xattr xdg xml "
    "flask-ops".split()
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


def is_upstream(text: str) -> bool:
    """What nginx' ``server`` directive takes; one socket or port for each app."""
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


def is_environment_value(value: t.Any) -> bool:
    """Anything systemd's EnvironmentFile can carry on one line. It refuses a file with a Unicode noncharacter."""
    if isinstance(value, str):
        return not re.search(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff\ufdd0-\ufdef]", value) and not any(
            ord(character) & 0xFFFE == 0xFFFE for character in value
        )
    return isinstance(value, (int, float))


def below_the_source(example: str) -> Rule:
    return Rule(
        is_relative_path, "must be a path below the top of the source, without '..', spaces or a leading '/'", example
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
    "source.path": matches(
        r"/[^\x00-\x1f\x7f]*",
        "must be an absolute path on the controller",
        "/home/me/shop",
    ),
    "source.pypi": matches(
        r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(\[[A-Za-z0-9._,-]+\])?==[A-Za-z0-9][A-Za-z0-9.!+_-]*",
        "must name a package and one version of it",
        "httpbin==0.10.2",
    ),
    "requirements": below_the_source("requirements.txt"),
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
    "env{key}": Rule(
        lambda key: (
            re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", key) is not None
            and not re.fullmatch(
                r"PATH|LD_.*|PYTHON(PATH|HOME|STARTUP)|HOME|USER|LOGNAME|SHELL|LISTEN_(FDS|PID|FDNAMES)|NOTIFY_SOCKET|FLASK_OPS_.*",
                key,
            )
        ),
        "must be letters, digits and underscores, not begin with a digit, and not be one that the unit itself needs",
        "FLASK_MAIL_SERVER",
    ),
    "env{value}": Rule(
        is_environment_value,
        "must be a text without line breaks or control characters, a number or a boolean",
        '"mail.example.com"',
    ),
    "health.path": matches(r"/[A-Za-z0-9._~/?=&%-]*", "must be a path that begins with '/'", "/healthz"),
    "health.status": between(200, 499, 200),
    "health.timeout": between(1, 300, 5, "seconds"),
    "health.interval": between(1, 60, 1, "seconds"),
    "health.deadline": between(1, 3600, 60, "seconds"),
    "migrate_timeout": between(1, 86400, 300, "seconds"),
    "workers": between(1, 256, 4),
    "threads": between(1, 512, 4),
    "timeout": between(1, 3600, 30, "seconds"),
    "graceful_timeout": between(1, 3600, 30, "seconds"),
    "client_max_body_size": matches(
        r"[0-9]{1,9}[kKmMgG]?", "must be a number of bytes, or of k, m or g, as nginx takes it", "10m"
    ),
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
    "request_limits.burst": between(0, 100000, 20),
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
    "nginx_proxy_old_static_directory": Rule(
        lambda path: not path or is_app_path(path),
        "must be empty, or an absolute path with {name} in it",
        "/srv/{name}/old-static",
    ),
    "python_app_keep_releases": between(0, 100, 3),
    "python_app_root": Rule(
        is_app_root,
        "must be an absolute path with {name} in it, below a directory that an app's sandbox does not hide",
        "/srv/{name}",
    ),
    "python_app_extra_requirements[]": matches(
        r"[A-Za-z0-9][^\x00-\x1f\x7f]*",
        "must be one line of a requirements file that names a package",
        "gunicorn==27.0.1",
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
        is_app_path, "must be an absolute path with {name} in it", "/etc/{name}/environment"
    ),
    "gunicorn_systemd_writable_directory": Rule(
        lambda path: not path or is_app_path(path),
        "must be empty, or an absolute path with {name} in it",
        "/srv/{name}/shared",
    ),
    "gunicorn_systemd_release_link": Rule(
        lambda path: not path or is_app_path(path),
        "must be empty, or an absolute path with {name} in it",
        "/srv/{name}/current",
    ),
    "gunicorn_systemd_shared_by": between(0, 1000, 2),
    "gunicorn_systemd_probe_port": between(0, 65535, 443),
    "nginx_proxy_upstream": Rule(
        is_upstream,
        "must be 'unix:' and a socket's path, or a host and a port, with {name} in it",
        "unix:/run/{name}/current.sock",
    ),
    "nginx_proxy_static_directory": Rule(
        is_app_path, "must be an absolute path with {name} in it", "/srv/{name}/current/static"
    ),
    "python_app_python": matches(
        r"/(?!.*\.\.)[A-Za-z0-9._/-]+", "must be the absolute path of an interpreter on the host", "/usr/bin/python3"
    ),
}
RULES["secrets{key}"] = RULES["env{key}"]
RULES["secrets{value}"] = RULES["env{value}"]
RULES["locations[].client_max_body_size"] = RULES["client_max_body_size"]
RULES["locations[].allow[]"] = RULES["nginx_proxy_trusted_proxies[]"] = RULES["allow[]"]
RULES["locations[].snippet"] = RULES["snippet"]
RULES["nginx_proxy_maintenance_page"] = RULES["nginx_proxy_error_page"]
