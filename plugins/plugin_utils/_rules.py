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
import urllib.parse
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
    """A full domain name, or all names below one, as in a certificate: ``*.shop.example.com``."""
    return len(name) <= 253 and re.fullmatch(rf"(\*\.(?={LABEL}\.))?({LABEL}\.)+(?!\d+$){LABEL}", name) is not None


def is_ip_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def is_email(text: str) -> bool:
    """An address that somebody reads: the domains of the documentation are nobody's."""
    local, _, domain = text.partition("@")
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
    return Rule(lambda value: value == "" or rule.accepts(value), rule.says, rule.example)


def is_relative_path(path: str) -> bool:
    """A path that stays below where it starts, and that no template or command reads as anything else."""
    parts = path.split("/")
    return re.fullmatch(r"[A-Za-z0-9._/-]+", path) is not None and all(
        part and part not in (".", "..") and not part.startswith("-") for part in parts
    )


def is_url_path(path: str) -> bool:
    return re.fullmatch(r"/([A-Za-z0-9._~-]+/)+", path) is not None and not {".", ".."} & set(path.split("/"))


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
        "no scheme, port, path or underscore; an international name in its xn-- form; with '*.' for all names below one",
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
    "nginx_proxy_http_port": between(1, 65535, 80),
    "nginx_proxy_https_port": between(1, 65535, 443),
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
RULES |= {
    "certificate.fullchain": Rule(is_host_path, "must be the absolute path of a file on the host", "/etc/ssl/shop.pem"),
    "certificate.privkey": Rule(
        is_host_path, "must be the absolute path of a file on the host", "/etc/ssl/private/shop.key"
    ),
    "acme.profile": matches(
        r"[a-z0-9][A-Za-z0-9._-]{0,63}", "must be the name of a profile that the authority has", "tlsserver"
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
        "must be one word, as the authority gives it",
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
RULES["secrets{key}"] = RULES["env{key}"]
RULES["secrets{value}"] = RULES["env{value}"]
