"""Values that the rules refuse and accept; and nothing that they accept breaks out of the line that it is written to."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema import predicates
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.rules import all_rules, example, role_rules
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import (
    ROLE_NAMES,
    ROLES,
    Options,
    app_options,
    app_roles,
    list_of,
    role_options,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.values import complete
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.plugins.apps import PEM, errors_of
from tests.unit.systemd_syntax import SCHEDULES


def options_of(role: str) -> Options:
    """The options of a role's apps, and its other variables."""
    variables = {name: option for name, option in role_options(role).items() if name != list_of(role)}
    return app_options([role]) | variables


def by_path(options: Options, above: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every option at any depth, and every element of a list, with its path in the rules."""
    for name, option in options.items():
        path = f"{above}{name}"
        yield path, option
        if option["type"] == "list":
            path += "[]"
            yield path, {"type": option["elements"], "options": option.get("options")}
        yield from by_path(option.get("options") or {}, f"{path}.")


def ruled(options: Options) -> set[str]:
    """The paths that a rule is needed for: texts without choices, numbers, and the user's own keys with their values."""
    texts = {path for path, option in by_path(options) if option["type"] in ("str", "int") and "choices" not in option}
    pairs = {path for path, option in by_path(options) if option["type"] == "dict" and not option.get("options")}
    return texts | {f"{path}{{{part}}}" for path in pairs for part in ("key", "value")}


OPTIONS: Options = app_options(app_roles()) | {
    name: option for role in ROLE_NAMES for name, option in options_of(role).items() if name.startswith(f"{role}_")
}
BY_PATH = dict(by_path(OPTIONS))
GIVEN: dict[str, dict[str, Any]] = {path: rule for role in ROLE_NAMES for path, rule in role_rules(role).items()}
RULES = all_rules()


def nested(path: str, value: Any) -> dict[str, Any]:
    """``nested("locations[].allow[]", "x")`` is ``{"locations": [{"allow": ["x"]}]}``."""
    name, _dot, rest = path.partition(".")
    value = nested(rest, value) if rest else value
    return {name.removesuffix("[]"): [value] if name.endswith("[]") else value}


def errors_at(path: str, value: Any) -> list[str]:
    """The errors of a value in the place that a path stands for. Those of its surroundings do not count."""
    place = re.sub(r"\{.*", "", path.replace("[]", "[0]"))
    if path.endswith("{key}"):
        path, value = path.removesuffix("{key}"), {value: "x"}
    elif path.endswith("{value}"):
        path = path.removesuffix("{value}")
        key = RULES[f"{path}{{key}}"].example
        place, value = f"{place}.{key}", {key: value}
    _completed, errors = complete(nested(path, value), OPTIONS, "here")
    return [error for error in errors if error.startswith(f"here.{place}:")]


# --- rules, options and predicates belong together --------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_a_role_has_rules_for_its_own_options_alone(role: str):
    assert role_rules(role).keys() - ruled(options_of(role)) == set()


def test_every_option_has_a_rule():
    assert ruled(OPTIONS) - RULES.keys() == set()


def test_every_predicate_is_used():
    names = [name for name, _function in inspect.getmembers(predicates, inspect.isfunction) if name[0] != "_"]
    source = "\n".join(path.read_text() for path in (ROLES.parent / "plugins").rglob("*.py"))
    checks = {rule.get("check") for rule in GIVEN.values()}
    assert [name for name in names if name not in checks and len(re.findall(rf"\b{name}\b", source)) < 2] == []
    assert {rule["one_of"] for rule in GIVEN.values() if "one_of" in rule} == predicates.SETS.keys()


# --- types and choices ------------------------------------------------------------------------------------------------

WRONG: dict[str, list[Any]] = {
    "str": [7, True, ["canary"], {"canary": 1}], "int": ["4", True, 1.5, ["canary"]], "bool": ["yes", 1, "true"],
    "list": ["canary", {"canary": 1}, 7], "dict": [["canary"], "canary=canary", 7],
}  # fmt: skip


@pytest.mark.parametrize(("path", "option"), BY_PATH.items(), ids=BY_PATH)
def test_a_value_of_another_type_or_choice_is_refused_with_its_place(path: str, option: dict[str, Any]):
    for value in WRONG[option["type"]]:
        (error,) = errors_at(path, value)
        assert ": must be " in error
        if option.get("no_log") or (option["type"] == "dict" and not option.get("options")):
            assert "canary" not in error
    for value in ["", f"{option['choices'][0]}x"] if "choices" in option else []:
        (error,) = errors_at(path, value)
        assert error.endswith(f": {value!r} is not one of {', '.join(option['choices'])}")


# --- numbers ----------------------------------------------------------------------------------------------------------

RANGES: dict[tuple[int, int], str] = {
    (0, 1000): "gunicorn_systemd_shared_by", (0, 31536000): "static.keep", (0, 126144000): "hsts.max_age",
    (0, 3600): "letsencrypt_dns_propagation", (0, 3650): "logrotate_maxage logrotate_files[].maxage logrotate_extra_files[].maxage",
    (0, 65535): "letsencrypt_probe_port node_exporter_https_port", (0, 86400): "python_app_lock_timeout",
    (1, 60): "health.interval", (1, 64): "instances processes[].instances", (1, 100): "python_app_keep_releases",
    (1, 256): "workers", (1, 300): "health.timeout processes[].start_seconds", (1, 512): "threads",
    (1, 1000): "logrotate_keep logrotate_files[].keep logrotate_extra_files[].keep",
    (1, 3600): "timeout graceful_timeout health.deadline", (1, 7200): "build.timeout", (1, 10000): "limits.cpu_weight",
    (1, 65535): "nginx_proxy_http_port nginx_proxy_https_port nginx_proxy_status_port node_exporter_port",
    (1, 86400): "migrate_timeout locations[].timeout processes[].stop_timeout",
    (1, 100000): "request_limits.burst request_limits.connections", (5, 100000): "limits.cpu_quota",
    (16, 100000): "limits.tasks", (32, 1048576): "limits.memory_high limits.memory_max",
    (64, 524288): "limits.open_files", (200, 499): "health.status",
}  # fmt: skip


@pytest.mark.parametrize(("ends", "paths"), RANGES.items(), ids=map(str, RANGES))
def test_a_number_is_refused_beyond_its_range_alone(ends: tuple[int, int], paths: str):
    for path in paths.split():
        for value in ends:
            assert errors_at(path, value) == []
        for value in (ends[0] - 1, ends[1] + 1):
            (error,) = errors_at(path, value)
            assert f": {value} must be from {ends[0]} to {ends[1]}" in error
            assert error.endswith(example(path))


# --- texts ------------------------------------------------------------------------------------------------------------

LONG_LABEL = "a" * 64 + ".example.com"
LONG_NAME = ".".join(["a" * 50] * 5) + ".com"
KEY_LINE = "ssh-ed25519 " + "A" * 60
RELEASE = {"id": "r1", "path": "/r", "directory": "/r/app", "venv": "/r/venv"}

BAD: dict[str, list[Any]] = {
    "name": [
        "", "../../etc", "a/b", "-shop", ".shop", "shop-", "Shop", "shop_1", "1shop", "s", "s" * 31, "münchen", "sh op",
        "shop\n", "shop;", "shop.service", "{{name}}", "nginx", "uv", "letsencrypt", "prometheus", "previous",
        "flask-ops", "flask-ops-metrics",
    ],
    "domains[]": [
        "", "exa mple.com", "http://shop.example.com", "shop.example.com/", "shop.example.com:443", "shop.example.com.",
        "-a.com", "a-.com", LONG_LABEL, LONG_NAME, "my_shop.example.com", "münchen.de", "*", "*.com", "a*.example.com",
        "*.*.example.com", "a.*.com", "localhost", "192.0.2.1", "2001:db8::1", "Shop.example.com", "a..com", ".com",
        "a.com\n", "a.com;", "a.com b.com", "_", "~^a.com$",
    ],
    "path": [
        "", "admin", "/admin/", "//", "//admin", "/a//b", "/..", "/a/../b", "/.hidden", "/.flask-ops", "/a/.b", "/-a",
        "/a b", "/a;", "/a{", "/$a", "/ä", "/%61", "/a\n", "/a?b",
    ],
    "wsgi": [
        "", "app.py", "app", "a:b:c", "a:b;c", "$(id):app", "a:b c", "a:b()()", ":app", "a:", "a:b\n", "../a:b", "a-b:c",
        "a:b.c", "1a:b", "a:b(\n)",
    ],
    "source.git": [
        "", "https://user:canary-password@git.example.com/shop.git", "https://canary-token@git.example.com/shop.git",
        "ssh://git:canary-password@git.example.com/shop.git", "git://me:canary-password@git.example.com/a.git",
        "http://git.example.com/shop.git", "ext::sh -c id", "--upload-pack=id", "-x@host:path", "git@-oProxyCommand=id:x",
        "https://git.example.com/a b", "https://git.example.com/a\n", "/srv/git/shop.git", "file://shop", "git@host:",
        "ssh://-oProxyCommand=id/x", "file:///srv/git/shop.git",
    ],
    "source.version": [
        "", "-v1", "--upload-pack=id", "a..b", "a//b", "v1\n", "v 1", "main@{1}", "x.lock", "v1;id", "$v1", "a" * 201,
    ],
    "source.deploy_key": ["", "canary", "/root/.ssh/id_ed25519", PEM.removesuffix("-----\n"), f"x{PEM}"],
    "source.token": ["", "short", "with a space", "canary0123\n"],
    "source.token_user": ["", "a:b", "a b", "a\n"],
    "source.known_hosts[]": [
        "", "git.example.com", "git.example.com ssh-ed25519", f"@cert-authority * {KEY_LINE}", f"# {KEY_LINE}",
        f"git.example.com {KEY_LINE}\nx",
    ],
    "source.archive": [
        "", "shop.tar.gz", "http://files.example.com/shop.tar.gz", "https://me:canary@files.example.com/a.zip", "ftp://x/y",
        "file:///etc/passwd", "https://x/y z", "/a\n",
    ],
    "source.checksum": ["", "sha256:", "0f" * 32, "sha256:" + "0F" * 32, "md5:" + "0" * 32, "sha256:" + "0" * 63],
    "source.wheel": [
        "", "shop-1.0-py3-none-any.whl", "/a/shop.whl", "/a/shop-1.0-py3-none-any.tar.gz", "/a/b c-1-py3-none-any.whl",
        "/a\n/b-1-py3-none-any.whl",
    ],
    "source.path": ["", "shop", "../shop", "~/shop", "/home/me\n/shop", "/home/\0"],
    "source.pypi": [
        "", "httpbin", "httpbin>=1", "httpbin==", "-rx==1", "httpbin==1 --pre", "httpbin == 1", "a==1;b", "a==1\n",
    ],
    "python": ["", "python3", "3.9", "3.10", "3", "3.12.1", "4.0", "/usr/bin/../x", "/usr/bin/python3 -c", "/usr/bin/python3\n"],
    "packages[]": ["", "libpq-dev=1", "libpq-dev:arm64", "nginx-", "nginx+", "-o", "Libpq", "a b", "./a.deb", "a\n", "gcc;id"],
    "extras[]": ["", "a,b", "a]", "-a", "a\n", "a b", "--x"],
    "extra_requirements[]": ["", "-r x", "--index-url=x", "./x", "a\n-r x"],
    "extra_index": ["", "packages.example.com", "file:///srv", "https://x y", "https://x\n"],
    "requirements": [
        "", "/etc/passwd", "..", "../x", "a/../..", "a/../b", "a//b", "./a", "a/", "-r", "a/-r", "a b", "a\n", "a;b", "$a",
        "%h", "a:b", "{",
    ],
    "files{value}": ["a\0", "a" * (1 << 20), None, 7],
    "static.url": [
        "", "/", "static/", "/static", "/sta tic/", "/static;/", "/{/", "/static/\n", "/../", "/a/./", "//", "/a'/", "/$a/",
        "/a\"/", "/#/",
    ],
    "migrate": [
        "", "  ", "flask db upgrade\nid", "flask db upgrade && flask seed", "a | b", "a > b", "a; b ;", "echo 'x", "a\0",
        "-x", "--help",
    ],
    "env{key}": [
        "", "1A", "A-B", "A B", "A=canary", "Ä", "A\n", "PATH", "LD_PRELOAD", "PYTHONHOME", "HOME", "LISTEN_FDS",
        "NOTIFY_SOCKET", "FLASK_OPS_SLOT", "A" * 129, 7,
    ],
    "env{value}": [
        "canary\nB=1", "canary\r", "canary\0", "canary\x1b", "canary\x7f", "canary\ufffe", "canary\ufdd0", "canary\ud800",
        "canary\U0001ffff", None, ["canary"], {"canary": 1},
    ],
    "secrets{value}": ["canary\r", "canary\0", "canary\x1b", "canary\ufffe", "canary\ud800", None, ["canary"], {"canary": 1}],
    "secret_files{key}": [
        "", ".", "..", ".a", "-a", "a/b", "a b", "a:b", "a..b", "a\n", "ä", "a%h", "secrets.json", "a" * 65, 7,
    ],
    "secret_files{value}": ["", "canary\0", "canary\ud800", None, 7, True, ["canary"], {"canary": 1}],
    "nginx_proxy_site_template": ["", "-x.j2", "templates/{x}.j2", "a\nb"],
    "health.path": ["", "healthz", "/a b", "/a\r\nHost: x", "http://x/", "/ä", "/a#b", "/{a}"],
    "metrics.statsd": ["", "localhost", "host:port", "a b:1", ":8125", "h:0", "h:1\n", "http://h:1", "h:1;x", "-h:1"],
    "accept_insecure[]": ["", "secret_key", "NO_SECRET_KEY", "no_secret_key\n"],
    "sandbox.without[]": ["", "Private", "User", "ExecStart", "ProtectSystem\nUser", "protectsystem"],
    "processes[].name": [
        "", "Worker", "1worker", "worker-", "-worker", "w" * 31, "work er", "worker@", "worker.service", "wor_ker", "w\n", "ü",
    ],
    "processes[].schedule": [
        "", "dayly", "Daily", "daily daily", "06:00 Mon", "25:00", "6", "*-13-01", "*-*-32", "mon 06:00", "06:00\n",
        "06:60", "* * * * *", "@daily", "06:00  UTC", "UTC", "Mon..Foo 06:00", "$x", "%h", "06:00;",
        "*:0/0", "*:0/00", "6:9..00", "10..3:00", "*-12..1-1", "*/2:00", "*-*-31/2", "06:00 Europe/Berlinn", "Fri..Mon 06:00",
        "06:00 UTC+1", "Mond 06:00", "1969-*-*", "06:00 ../etc/passwd",
    ],
    "processes[].only_on": ["", "-x", "web 1", "web1\n"],
    "client_max_body_size": ["", "10mb", "10 m", "m", "-1", "1.5m", "10m;", "1234567890"],
    "csp": ["", "default-src $x", "a\nb", "a\0", "ä", "x" * 4000],
    "headers{key}": ["X A", "Server", "Strict-Transport-Security", "X\n", "1A", "Set-Cookie"],
    "headers{value}": ["b\r\nSet-Cookie: c", "$host", "ä", 7],
    "allow[]": ["", "10.0.0.0/33", "10.0.0.1/8", "10.0.0", "all", "10.0.0.0/8;", "2001:db8::1/32", "example.com"],
    "basic_auth{key}": ["", "al:ice", "al ice", "-a", "a\n"],
    "basic_auth{value}": ["", "canary", "$1$canary$canary", "{SHA}canary", "canary-password\nroot:x", 7],
    "request_limits.rate": ["", "10/s", "10r/h", "0r/s", "10", "-1r/s", "10 r/s", "10r/s;"],
    "locations[].path": ["", "/", "ws/", "/a b", "/a{", "/a;", "/a\n", "/../a", "/$x", "~ /a", "= /a", "//a", "/a'", '/"'],
    "locations[].redirect": ["", "new", "//evil.example/x", "https://a.example", "/a b", "/a;", "/a\n", "/$uri", "ftp://a/b", "/{"],
    "snippet": ["", "  ", "a\0b;", "a\rb;"],
    "certificate.fullchain": [
        "", "shop.pem", "/etc/../shop.pem", "/etc/ssl/a b.pem", "/etc/ssl/a.pem\n", "/etc/ssl/a.pem;", "/", "~/shop.key",
        "/etc/ssl/{name}.key", "/etc//shop.key",
    ],
    "acme.profile": ["", "short lived", "--help", "tlsserver\n", "Classic;", "a" * 65],
    "acme.ip_addresses[]": [
        "", "203.0.113.0/24", "203.0.113", "2001:db8::g", "shop.example.com", "203.0.113.7\n", "localhost", "127.0.0.1:9100",
        "fe80::1%eth0",
    ],
    "nginx_proxy_error_page": ["/srv/error.html", "  x", "<p>\0"],
    "letsencrypt_email": [
        "ops", "ops@", "@flask-shop.com", "ops@example.com", "ops@shop.test", "a b@flask-shop.com", "a@b.com\n",
    ],
    "letsencrypt_server": [
        "", "http://acme.flask-shop.com/dir", "acme.flask-shop.com", "https://", "https://me:canary@ca.flask-shop.com/dir",
        "https://ca.flask-shop.com/a b", "https://ca.flask-shop.com:x/dir", "https://ca.flask-shop.com/dir\n", "ftp://x/",
    ],
    "letsencrypt_eab{key}": ["key", "kid\n"],
    "letsencrypt_eab{value}": ["", "a b", "canary\n", 7],
    "letsencrypt_dns_plugin": ["rfc2136", "dns-", "--help", "dns-x y", "certbot-dns-x", "dns-x\n"],
    "letsencrypt_dns_packages[]": ["", "-r x", "a\nb"],
    "letsencrypt_dns_credentials{key}": ["server", "dns-x", "dns_x\n"],
    "letsencrypt_dns_credentials{value}": ["", "a\nb", ["a"], "'\""],
    "letsencrypt_reload": ["nginx", "nginx.socket", "-x.service", "a b.service", "nginx.service\n"],
    "python_app_python_mirror": ["x", "ftp://x/y", "https://x/y z"],
    "python_app_proxies{key}": ["ftp_proxy", "Https_proxy"],
    "python_app_proxies{value}": ["", "http://x y", 1],
    "python_app_extra_requirements_of{value}": ["gunicorn", ["-r x"], [1], ["gunicorn\n-r x"]],
    "python_app_pinned_releases{value}": ["", "../r1", "r 1", 1],
    "gunicorn_systemd_releases{value}": [
        "r1", {"id": "r1"}, RELEASE | {"venv": "/r/venv\nUser=root"}, RELEASE | {"directory": "/r/%h"}, RELEASE | {"id": "r 1"},
    ],
    "node_exporter_units[]": ["", "nginx", "-nginx.service", "nginx .service", "nginx.service\n"],
    "node_exporter_version": ["latest", "v1.9.1", "1.9", "../1.9.1", "1.9.1\n"],
    "node_exporter_archive": ["x.tar.gz", "ftp://x/y", "/srv/a b.tar.gz", "/srv/%s", "/srv/x\n"],
    "node_exporter_checksums{key}": ["x86_64", ""],
    "node_exporter_checksums{value}": ["", "a" * 63, "A" * 64, "g" * 64],
    "node_exporter_users{key}": ["", "a:b", "-a", "a\n"],
    "node_exporter_users{value}": [
        "", "canary", "$2b$12$short", "$6$" + "a" * 57, None, "$2b$12$" + "a" * 52 + "\n",
    ],
    "node_exporter_passwords{value}": ["canary", "a" * 73, "ä" * 37, "a\nb" * 5, "\ud800" * 12, 7],
    "node_exporter_names[]": ["", "https://x", "a_b", "A.example.com", "a,DNS:b", "a b"],
    "node_exporter_collectors[]": ["CPU", "cpu ", "--web.x", "cpu\n", "cpu=1"],
    "node_exporter_nginx_status": [
        "", "127.0.0.1:9112", "http://192.0.2.7/status", "http://127.0.0.1:9112/a b", "unix:/run/x.sock", "unix:x:/y",
        "http://127.0.0.1:9112/status\n",
    ],
    "node_exporter_statsd": [
        "0.0.0.0:8125", "192.0.2.7:8125", "localhost:8125", "127.0.0.1", ":8125", "127.0.0.1:80", "127.0.0.1:65536",
        "127.0.0.1:08125", "127.0.0.1:8125\n", '127.0.0.1:8125"', "unix:/run/statsd",
    ],
    "logrotate_files[].name": ["", "../x", "a/b", "a.log", "-a", "A", "a b", "a\n", "{name}", "a" * 65],
    "logrotate_files[].paths[]": [
        "", "access.log", "/access.log", "/", "/var/log/../x.log", "/var/log/./x", "/etc/passwd", "/etc/x/a.log", "/usr/a.log",
        "/dev/sda", "/proc/1/x", "/*/x.log", "/v?r/x.log", "/var/log/*", "/var/log/shop/*", "/var/log/a?", "/var/log/a b.log",
        "/var/log/a.log\n/etc/shadow", "/var/log/a.log {", '/var/log/"a.log', "/var/log/{name}.log", "/var/log/$x.log",
        "/var/log/a.log#", "/var/log/", "/var//log/a", "/var/log/[ab].log",
    ],
    "logrotate_files[].owner": ["", "Root", "a b", "root\n", "-x", "1a", "a:b", "adm}", "{name}", "../adm", "a" * 40],
    "logrotate_files[].mode": ["", "640", "0777", "0666", "0646", "0740", "0040", "u=rw", "0640\n"],
    "logrotate_files[].unit": [
        "", "shop", "shop.socket", "shop.service; id", "a.service  b.service", " a.service", "a.service\n", "$x.service",
        "-x.service", "{name}.service",
    ],
    "logrotate_files[].signal": ["", "usr1", "SIGUSR1", "TERM", "KILL", "USR1; id"],
    "logrotate_files[].size": ["", "10 megs", "0", "-1", "10MB", "1.5M", "10m", "M", "10M\n", "1T"],
}  # fmt: skip
"""By the path of a rule. Other rules with the same pattern or predicate refuse the same: of these, the last is tried."""

GOOD: dict[str, list[Any]] = {
    "name": ["shop", "s1", "my-shop-2", "s" * 30, "openvpn", "flask"],
    "domains[]": ["shop.example.com", "xn--mnchen-3ya.de", "a.co", "1.example.com", "shop.test", "a--b.example", "*.a.com"],
    "path": ["/", "/admin", "/a/b", "/v1.0/x_y-z~", "/0"],
    "wsgi": ["app:app", "shop.wsgi:application", "shop:create_app()", "shop:create_app('prod', debug=False)", "_a:_b"],
    "source.git": [
        "https://git.example.com/acme/shop.git", "https://git.example.com:8443/shop", "git@git.example.com:acme/shop.git",
        "ssh://git@git.example.com:2222/acme/shop.git", "ssh://git.example.com/~me/shop",
        "git://git.example.com/shop.git",
    ],
    "source.version": ["v1.4.2", "main", "feature/x-1", "feature/#12", "shop@1.2.3", "1.0+b1", "0" * 40],
    "source.deploy_key": [PEM],
    "source.path": ["/home/me/shop", "/home/me/inventories/../shop", "/mnt/my apps/shop"],
    "source.pypi": ["httpbin==0.10.2", "a==1!2.0+local.1", "Flask-App[extra,other]==1.0rc1"],
    "requirements": ["requirements.txt", "requirements/production.txt", "a-b_c.txt", "var/uploads", ".cache"],
    "static.url": ["/static/", "/a/b/", "/~me/.well-known/"],
    "migrate": [
        "flask --app shop db upgrade", "python manage.py 'two words' a;b", "FLASK_X=1 flask db upgrade",
        "celery --app shop worker -n 'w{instance}@%h'", "flask say \"50 $\"",
    ],
    "env{value}": ["", " ", "%h $x ${x} \"'\\`#;", "a\tb", "ünï 😀 \x85\u2028", 0, -1.5, True],
    "secrets{value}": ["a\nB=1", "a\r\nb", 0, False],
    "secret_files{key}": ["google.json", "A-b_1", "a" * 64],
    "secret_files{value}": ["-----BEGIN KEY-----\r\n\x1b\n", '{"a": 1}\n', " ", "a" * 900_000],
    "health.path": ["/", "/healthz", "/health?full=1&x=%20"],
    "client_max_body_size": ["0", "10m", "10M", "1g", "512k", "1048576"],
    "processes[].name": ["w", "worker", "worker-2", "w" * 30],
    "processes[].schedule": SCHEDULES,
    "processes[].only_on": ["web1", "web1.example.com", "192.0.2.1", "2001:db8::1"],
    "headers{value}": ["", 'geolocation=(self "x")'],
    "allow[]": ["192.0.2.0/24", "192.0.2.7", "2001:db8::/32"],
    "basic_auth{key}": ["c.d@e"],
    "basic_auth{value}": ["correct horse battery", "$6$salt$" + "a" * 86, "$2b$12$" + "a" * 53],
    "locations[].redirect": ["https://a.example/b?c=d", "/a/"],
    "gunicorn_systemd_releases{value}": [RELEASE | {"revision": "any text"}],
    "logrotate_files[].name": ["nginx", "flask-ops", "shop_1", "1"],
    "logrotate_files[].paths[]": ["/srv/shop/logs/*.log", "/data/a.b-c_?x.jsonl", "/var/log/a.log.2x"],
    "logrotate_files[].owner": ["root", "www-data", "_apt"],
    "logrotate_files[].mode": ["0640", "0600", "0644", "0660"],
    "logrotate_files[].unit": ["nginx.service", "a@b.service", "shop-blue.service shop-green.service"],
    "logrotate_files[].size": ["1", "10k", "100M", "1G"],
}  # fmt: skip


def kind(path: str) -> tuple[Any, ...]:
    """What two rules have in common that refuse the same values."""
    return tuple(GIVEN[path].get(key) for key in ("pattern", "check", "one_of"))


def rows(values: Mapping[str, list[Any]]) -> list[tuple[str, Any]]:
    found = [(path, value) for path, of_path in values.items() for value in of_path]
    last = {kind(path): of_path[-1] for path, of_path in values.items()}
    return found + [(path, last[kind(path)]) for path in GIVEN if path not in values and kind(path) in last]


def test_every_rule_for_a_text_has_bad_values_and_every_number_its_range():
    assert {kind(path) for path, rule in GIVEN.items() if "minimum" not in rule} == {kind(path) for path in BAD}
    numbers = [path for paths in RANGES.values() for path in paths.split()]
    assert sorted(path for path, rule in GIVEN.items() if "minimum" in rule) == sorted(numbers)


@pytest.mark.parametrize(("path", "value"), rows(BAD))
def test_a_bad_value_is_refused_with_its_place_and_a_good_value(path: str, value: Any):
    (error,) = errors_at(path, value)
    assert RULES[path].error in error
    assert error.endswith(f"; a good value is {RULES[path].example}")
    assert "\n" not in error
    assert "canary" not in error


@pytest.mark.parametrize(("path", "value"), rows(GOOD))
def test_a_good_value_is_not_refused(path: str, value: Any):
    assert errors_at(path, value) == []


# The others are templates, or words about the value.
EXAMPLES = [path for path, rule in RULES.items() if not rule.example.startswith(('"{{', "what "))]


@pytest.mark.parametrize("path", EXAMPLES)
def test_the_good_value_of_an_error_is_good(path: str):
    value = RULES[path].example
    assert [] in [errors_at(path, value), errors_at(path, yaml.safe_load(value))]


@pytest.mark.parametrize("path", [path for path, rule in GIVEN.items() if rule.get("or_empty")])
def test_some_values_may_be_empty(path: str):
    assert errors_at(path, "") == []


# --- no valid app is refused ----------------------------------------------------------------------------------------------------------


def texts(alphabet: str, longest: int = 12) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=1, max_size=longest)


LETTERS = "abcdefghijklmnopqrstuvwxyz"
NAMES = st.from_regex(r"(?!flask-ops)[a-z][a-z0-9-]{0,28}[a-z0-9]", fullmatch=True).filter(
    lambda name: name not in predicates.RESERVED_NAMES
)
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
DOMAINS = st.builds(
    lambda labels, top: ".".join([*labels, top]), st.lists(LABELS, min_size=1, max_size=4), texts(LETTERS)
)
FILES = st.lists(texts(LETTERS + "_0123456789", 8), min_size=1, max_size=3).map("/".join)
IDENTIFIERS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True)
VALUES = st.text(st.characters(blacklist_categories=["Cs", "Cc", "Cn"])) | st.integers() | st.booleans()
VARIABLES = st.dictionaries(IDENTIFIERS.map("MY_{}".format), VALUES, max_size=3)
SOURCES = (
    st.builds(lambda host, path: {"git": f"https://{host}/{path}", "version": "v1"}, DOMAINS, FILES)
    | FILES.map(lambda path: {"path": f"/{path}"})
    | IDENTIFIERS.filter(str.isalnum).map(lambda name: {"pypi": f"{name}==1.0"})
)
HEALTH = st.fixed_dictionaries(
    {"path": FILES.map("/{}".format)},
    optional={"status": st.integers(200, 499), "timeout": st.integers(1, 300), "deadline": st.integers(1, 3600)},
)
APPS = st.fixed_dictionaries(
    {
        "name": NAMES,
        "source": SOURCES,
        "wsgi": st.builds(
            "{}:{}{}".format, st.lists(IDENTIFIERS, min_size=1, max_size=3).map(".".join), IDENTIFIERS, st.sampled_from(["", "()"])
        ),
        "domains": st.lists(DOMAINS, min_size=1, max_size=3, unique=True),
    },
    optional={
        "requirements": FILES,
        "shared_paths": st.lists(texts(LETTERS), unique=True, max_size=3),
        "static": st.fixed_dictionaries({"path": FILES}, optional={"url": FILES.map("/{}/".format)}),
        "env": VARIABLES.map(lambda variables: {f"A{key}": value for key, value in variables.items()}),
        "secrets": VARIABLES,
        "health": HEALTH,
        "workers": st.integers(1, 256),
        "threads": st.integers(1, 512),
        "timeout": st.integers(1, 3600),
        "client_max_body_size": st.builds("{}{}".format, st.integers(0, 999_999), st.sampled_from(["", *"kmgKMG"])),
        "migrate": st.lists(texts(LETTERS + " -'\"$%", 8), min_size=1, max_size=4).map(shlex.join),
    },
)  # fmt: skip


@settings(max_examples=20)
@given(APPS)
def test_a_valid_app_is_not_refused(valid: dict[str, Any]):
    assert errors_of(valid) == []


# --- nothing that is accepted breaks out of its line --------------------------------------------------------------------------------------

CONTROL = "".join(map(chr, [*range(32), 127]))
NGINX = CONTROL + " ;{}$\"'#\\"
"""In an argument of a directive that is not quoted, each of these means something to nginx."""
UNIT = CONTROL + " %$\"'\\;"
"""systemd splits at spaces, expands % and, in a command, $ and quotes."""
ARGUMENT = CONTROL
"""An argument of a program, and a text that is quoted where it is written: one line."""
WORD = ARGUMENT + " "
LOGROTATE = CONTROL + "\"'#\\,;$`&|()<>[]{}!~="
"""A line of logrotate's configuration, or of the shell script in it."""

LANDS_IN: dict[str, str] = {
    path: characters
    for paths, characters in {
        "name processes[].name": NGINX + UNIT + "/.@",  # units, paths, upstream
        "domains[]": NGINX + "/:,_",  # server_name, and a list that openssl takes apart at the commas
        # location, allow, limit_req
        "path static.url client_max_body_size headers{key} allow[] request_limits.rate locations[].path "
        "locations[].client_max_body_size locations[].allow[] nginx_proxy_trusted_proxies[]": NGINX,
        "locations[].redirect": NGINX.replace("#", ""),  # begins no comment in the middle of a word
        "snippet locations[].snippet": "\0\r",  # lines of nginx's own
        "csp headers{value}": CONTROL + "$",  # quoted where they are written
        "basic_auth{key}": CONTROL + ":# ",  # a line of htpasswd
        "health.path": CONTROL + " #;{}$\"'\\",  # the first line of a request, and a key of nginx' map
        "wsgi source.path source.known_hosts[] source.archive source.wheel extra_requirements[] build.command wheelhouse migrate "
        "processes[].command processes[].only_on basic_auth{value} python_app_extra_requirements[] letsencrypt_dns_packages[] "
        "gunicorn_systemd_changing_files[] app_processes_changing_files[] gunicorn_systemd_probed_apps[] letsencrypt_validate "
        "nginx_proxy_self_signed_apps[] node_exporter_certificate node_exporter_certificate_key nginx_proxy_site_template "
        "gunicorn_systemd_service_template": ARGUMENT,
        "letsencrypt_dns_credentials{value} node_exporter_passwords{value}": ARGUMENT,  # quoted, and hashed
        "source.git source.token source.checksum python extra_index python_app_python python_app_python_mirror "
        "python_app_proxies{value} certificate.fullchain certificate.privkey acme.profile acme.ip_addresses[] letsencrypt_email "
        "letsencrypt_server letsencrypt_ca_bundle letsencrypt_eab{value} letsencrypt_webroot letsencrypt_profile "
        "letsencrypt_textfile_directory node_exporter_units[] node_exporter_archive": WORD,
        "source.version": WORD + "~^:?*[\\",  # a pattern to git ls-remote
        "source.token_user": WORD + ":",
        "source.pypi": WORD + ";",
        "extras[] groups[]": WORD + ",[];",
        "letsencrypt_eab{key} letsencrypt_dns_credentials{key}": WORD + "=",
        "letsencrypt_dns_plugin letsencrypt_reload": WORD + "/",
        "source.subdirectory requirements constraints files{key} shared_paths[] static.path accept_insecure[] sandbox.without[] "
        "python_app_extra_requirements_of{key} python_app_pinned_releases{key} python_app_proxies{key} "
        "app_processes_releases{key} gunicorn_systemd_releases{key} node_exporter_checksums{key} "
        "node_exporter_nginx_status": UNIT,
        "packages[]": UNIT + "=/",
        "env{key} secrets{key} build.env{key}": UNIT + "=#",
        "secret_files{key}": UNIT + ":/=",
        "processes[].schedule": UNIT.replace(" ", "") + "#",
        "node_exporter_version node_exporter_checksums{value} node_exporter_address": UNIT + "/",
        "node_exporter_collectors[]": UNIT + "=",
        "node_exporter_names[]": "/:,*_" + UNIT,  # a list that openssl takes apart at the commas
        "node_exporter_statsd": UNIT + "/<>",  # collectd's
        "node_exporter_users{key} node_exporter_passwords{key}": CONTROL + ":\"'#",
        "node_exporter_users{value}": CONTROL + "\"'# :",
        "metrics.statsd": CONTROL + ' "\\',  # Python
        "env{value} build.env{value}": "\n\r\0",  # the filter environment_value quotes the rest
        "secrets{value} secret_files{value} files{value} nginx_proxy_error_page nginx_proxy_maintenance_page": "\0",
        "logrotate_maxsize": LOGROTATE + " ",
        # A space may be between two units, and nowhere else.
        "logrotate_files[].unit logrotate_extra_files[].unit": LOGROTATE,
        " ".join(
            f"logrotate_{files}[].{option}"
            for files in ("files", "extra_files")
            for option in "name paths[] owner group mode signal size minsize maxsize".split()
        ): LOGROTATE + " ",
    }.items()
    for path in paths.split()
}
"""By the path of a rule: what has a meaning where its values are written."""


def test_it_is_known_where_each_text_lands():
    texts_ = {path for path, rule in GIVEN.items() if "minimum" not in rule}
    lists = {path for path in texts_ if GIVEN[path].get("check") in ("is_release", "are_requirements")}
    assert texts_ - lists - {"source.deploy_key", "python_app_pinned_releases{value}"} == LANDS_IN.keys()


@pytest.mark.parametrize(("path", "forbidden"), LANDS_IN.items(), ids=LANDS_IN)
def test_no_place_in_a_good_value_takes_what_breaks_out(path: str, forbidden: str):
    rule = RULES[path]
    short = [value for value in GOOD.get(path, []) if isinstance(value, str) and len(value) < 100]
    goods = {good for good in (rule.example, *short) if rule.accepts(good)}
    assert goods
    for good in goods:
        for character in forbidden:
            for position in range(len(good) + 1):
                for end in (position, position + 1):
                    changed = good[:position] + character + good[end:]
                    if changed.count(character) > good.count(character):
                        assert not rule.accepts(changed), f"{path} accepts {changed!r}"


@given(st.data())
def test_no_text_that_is_accepted_breaks_out(data: st.DataObject):
    """Any text at all, mostly made of what has a meaning somewhere."""
    path = data.draw(st.sampled_from(sorted(LANDS_IN)))
    pieces = [RULES[path].example, *NGINX, *UNIT, "..", "/", "-", "{name}", "é", "٣", "\x85", "\u2028"]
    value = "".join(data.draw(st.lists(st.sampled_from(pieces) | st.text(max_size=3), max_size=5)))
    if RULES[path].accepts(value):
        assert not set(value) & set(LANDS_IN[path]), value
        assert "\n" not in value or path.endswith(("snippet", "page", "s{value}"))


@pytest.mark.parametrize("path", [path for path in LANDS_IN if not path.endswith(("{value}", "csp", "snippet"))])
def test_an_argument_is_never_taken_for_an_option(path: str):
    assert not RULES[path].accepts("-" + RULES[path].example)
    assert not RULES[path].accepts("--help")
