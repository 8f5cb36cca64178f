"""Bad inputs are refused by name, good ones are not, and nothing accepted breaks out of the line it is written to."""

from __future__ import annotations

import copy
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.rules import LOG_RULES, RESERVED_NAMES, RULES
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import (
    ENTRIES,
    ROLES,
    Options,
    entry_options,
    role_options,
    wired_variables,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.validation import (
    SUPPORTED,
    entry_errors,
    fleet_errors,
    misspelt_names,
    overridden_errors,
    platform_errors,
    unread_names,
    variable_errors,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.plugins.rows import rows
from tests.unit.systemd_syntax import SCHEDULES

ALL_ROLES = list(ENTRIES)
EVERY_ROLE = sorted(path.name for path in ROLES.iterdir())
LOGS = ("logrotate_files", "logrotate_extra_files")
LISTS = {*ENTRIES.values(), *LOGS}
"""Variables that hold a list of entries; those of logrotate are tested in test_rotation.py."""
KEY = "2f0c9a1b7d205e1c88aa9be01c44f1aa"
PEM = "-----BEGIN OPENSSH " + "PRIVATE KEY-----\nYWJj\n-----END OPENSSH PRIVATE KEY-----\n"

SHOP: dict[str, Any] = {
    "name": "shop",
    "source": {"git": "https://git.example.com/acme/shop.git", "version": "v1.4.2"},
    "wsgi": "shop:create_app()",
    "domains": ["shop.example.com"],
}


def app(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(SHOP) | changes


def errors_of(*apps: Any) -> list[str]:
    """The errors, with places by number alone: ``flask_apps[0]`` for ``flask_apps[0] (shop)``."""
    return [re.sub(r"(\]) \([a-z0-9-]+\)", r"\1", error) for error in entry_errors(list(apps), "flask_apps", ALL_ROLES)]


def with_value(path: str, value: Any) -> tuple[dict[str, Any], str]:
    """A good app but for one value, given by the rule's path, and the value's place in it."""
    if path.startswith("processes[]."):
        name = path.removeprefix("processes[].")
        process = {"name": "digest", "command": "flask digest"}
        process |= {"kind": "timer", "schedule": "daily"} if name == "schedule" else {}
        return app(processes=[process | {name: value}]), f"processes[0].{name}"
    options = path.split(".")
    place = path.replace("[]", "[0]")
    value = [value] if path.endswith("[]") else value
    options[-1] = options[-1].removesuffix("[]")
    if path.startswith("locations[]."):
        option = options[1].removesuffix("[]")
        return app(locations=[{"path": "/a/", option: value}]), place
    if len(options) == 1:
        return app(**{options[0]: value}), place
    pair = {"fullchain": "/etc/ssl/shop.pem", "privkey": "/etc/ssl/shop.key"}
    beside = {
        "certificate": pair,
        "source": {"version": "v1"} if path == "source.git" else {"git": SHOP["source"]["git"]},
    }
    base = {"static": {"path": "static"}}.get(options[0], beside.get(options[0], {}))
    if path in ("source.path", "source.pypi", "source.archive", "source.wheel"):
        base = {}
    if path == "source.checksum":
        base = {"archive": "https://files.example.com/shop.tar.gz"}
    if path in (
        "source.deploy_key",
        "source.token",
        "source.token_user",
        "source.known_hosts[]",
        "source.subdirectory",
    ):
        base = SHOP["source"]
    if path == "source.archive":
        base = {"checksum": "sha256:" + "0f" * 32}
    return app(**{options[0]: base | {options[1].removesuffix("[]"): value}}), place


# --- one bad value ------------------------------------------------------------------------------------------------------

LONG_LABEL = "a" * 64 + ".example.com"
LONG_NAME = ".".join(["a" * 50] * 5) + ".com"

BAD: dict[str, list[Any]] = {
    "name": [
        "", "../../etc", "a/b", "-shop", ".shop", "shop-", "Shop", "shop_1", "1shop", "s", "s" * 31, "münchen", "sh op",
        "shop\n", "shop;", "shop.service", "{{name}}", "nginx", "uv", "letsencrypt", "prometheus", "previous",
        "flask-ops", "flask-ops-metrics", 7, True, ["shop"],
    ],
    "domains[]": [
        "", "exa mple.com", "http://shop.example.com", "shop.example.com/", "shop.example.com:443", "shop.example.com.",
        "-a.com", "a-.com", LONG_LABEL, LONG_NAME, "my_shop.example.com", "münchen.de", "*", "*.com", "a*.example.com", "*.*.example.com", "a.*.com", "localhost",
        "192.0.2.1", "2001:db8::1", "Shop.example.com", "a..com", ".com", "a.com\n", "a.com;", "a.com b.com", "_", "~^a.com$",
    ],
    "path": [
        "", "admin", "/admin/", "//", "//admin", "/a//b", "/..", "/a/../b", "/.hidden", "/.flask-ops", "/a/.b", "/-a", "/a b", "/a;",
        "/a{", "/$a", "/ä", "/%61", "/a\n", "/a?b", 7, True,
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
        "", "-v1", "--upload-pack=id", "a..b", "a//b", "v1\n", "v 1", "main@{1}", "x.lock", "v1;id", "$v1", "a" * 201, 1.4, 2,
    ],
    "source.deploy_key": ["", "canary", "/root/.ssh/id_ed25519", PEM.removesuffix("-----\n"), f"x{PEM}"],
    "source.token": ["", "short", "with a space", "canary0123\n"],
    "source.token_user": ["", "a:b", "a b", "a\n"],
    "extras[]": ["", "a,b", "a]", "-a", "a\n", "a b"],
    "groups[]": ["", "a,b", "--x", "a\n"],
    "extra_requirements[]": ["", "-r x", "--index-url=x", "./x", "a\n-r x"],
    "build.timeout": [0, -1, 7201, True, "600"],
    "build.command": ["", "a && b", "-x", "a 'b", "a\nb", "a | b"],
    "source.known_hosts[]": [
        "", "git.example.com", "git.example.com ssh-ed25519", "@cert-authority * ssh-ed25519 " + "A" * 60, "# ssh-rsa " + "A" * 60,
        "git.example.com ssh-ed25519 " + "A" * 60 + "\nx",
    ],
    "source.archive": [
        "", "shop.tar.gz", "http://files.example.com/shop.tar.gz", "https://me:canary@files.example.com/a.zip", "ftp://x/y",
        "file:///etc/passwd", "https://x/y z", "/a\n",
    ],
    "source.checksum": ["", "sha256:", "0f" * 32, "sha256:" + "0F" * 32, "md5:" + "0" * 32, "sha256:" + "0" * 63, 1],
    "source.subdirectory": ["", "/a", "..", "a/../..", "a b", "-a", "a\n", "a/"],
    "source.wheel": ["", "shop-1.0-py3-none-any.whl", "/a/shop.whl", "/a/shop-1.0-py3-none-any.tar.gz", "/a/b c-1-py3-none-any.whl", "/a\n/b-1-py3-none-any.whl"],
    "python": ["", "python3", "3.10", "3", "3.12.1", "4.0", 3.12, "/usr/bin/../x", "/usr/bin/python3\n"],
    "packages[]": ["", "libpq-dev=1", "libpq-dev:arm64", "nginx-", "nginx+", "-o", "Libpq", "a b", "./a.deb", "a\n", "gcc;id"],
    "constraints": ["", "/etc/passwd", "../x", "-c", "a b", "a\n"],
    "installer": ["", "poetry", "conda", True],
    "extra_index": ["", "packages.example.com", "file:///srv", "https://x y", "https://x\n"],
    "wheelhouse": ["", "wheels", "../wheels", "~/wheels", "/a\n"],
    "secrets_in": ["", "vault", True],
    "migrate_on": ["", "one", "all_hosts"],
    "fail_on_insecure": ["yes", 1, "true"],
    "source.path": ["", "shop", "../shop", "~/shop", "/home/me\n/shop", "/home/\0"],
    "source.pypi": ["", "httpbin", "httpbin>=1", "httpbin==", "-rx==1", "httpbin==1 --pre", "httpbin == 1", "a==1;b", "a==1\n"],
    "requirements": ["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", "-r", "a/-r", "a b", "a\n", "a;b", "$a"],
    "shared_paths[]": ["", "/data", "..", "../data", "data/..", "da ta", "data/", "data\n", "-data", "%h", "a:b", 1],
    "static.path": ["", "/static", "../static", "a b", "static;", "{"],
    "static.url": [
        "", "/", "static/", "/static", "/sta tic/", "/static;/", "/{/", "/static/\n", "/../", "/a/./", "//", "/a'/", "/$a/",
        "/a\"/", "/#/",
    ],
    "migrate": [
        "", "  ", "flask db upgrade\nid", "flask db upgrade && flask seed", "a | b", "a > b", "a; b ;", "echo 'x", "a\0",
    ],
    "migrate_timeout": [0, -1, 86401, 2.5, True, "300"],
    "health.path": ["", "healthz", "/a b", "/a\r\nHost: x", "http://x/", "/ä", "/a#b", "/{a}"],
    "health.status": [0, 199, 500, 1000, "200", True],
    "health.timeout": [0, -1, 301, 0.5, "5"],
    "health.interval": [0, -1, 61, 0.5],
    "health.deadline": [0, -1, 3601, 0.5],
    "server": ["uwsgi", "", "Waitress", 1],
    "worker_class": ["eventlet", "tornado", "", "gthreads", "uvicorn.workers.UvicornWorker", 1],
    "workers": [0, -1, 2.5, True, 10000, "auto", "2"],
    "instances": [0, 65, 1.5, True, "2"],
    "threads": [0, -1, 513, True, "4", 1.0],
    "timeout": [0, -1, 3601, True, "30"],
    "graceful_timeout": [0, -1, 3601, True],
    "preload": ["yes", 1],
    "logs.to": ["syslog", "", "/var/log/x", 1],
    "logs.format": ["xml", "", 1],
    "logs.access": ["yes", 1],
    "metrics.prometheus": ["yes", 1],
    "metrics.statsd": ["", "localhost", "host:port", "a b:1", ":8125", "h:0", "h:1\n", "http://h:1", "h:1;x", "-h:1", 8125],
    "limits.memory_high": [0, 31, "512M", 1.5, True],
    "limits.memory_max": [0, -1, "1G", 1048577],
    "limits.cpu_quota": [0, "150%", 1.5, 100001],
    "limits.cpu_weight": [0, 10001, "idle"],
    "limits.tasks": [0, 15, "infinity"],
    "limits.open_files": [0, 63, 524289, "1024"],
    "sandbox.strict": ["yes", 1],
    "accept_insecure[]": ["", "secret_key", "NO_SECRET_KEY", "no_secret_key\n", 1],
    "sandbox.without[]": ["", "Private", "User", "ExecStart", "ProtectSystem\nUser", "protectsystem", 1],
    "client_max_body_size": ["", "10mb", "10 m", "m", "-1", "1.5m", "10m;", "1234567890", 1048576],
    "processes[].name": [
        "", "Worker", "1worker", "worker-", "-worker", "w" * 31, "work er", "worker@", "worker.service", "wor_ker", "w\n", 7,
        "ü",
    ],
    "processes[].command": ["", " ", "rq worker\nid", "a && b", "a | b", "echo 'x", "a\0", "--help", 7],
    "processes[].schedule": [
        "", "dayly", "Daily", "daily daily", "06:00 Mon", "25:00", "6", "*-13-01", "*-*-32", "mon 06:00", "06:00\n",
        "06:60", "* * * * *", "@daily", "06:00  UTC", "UTC", "Mon..Foo 06:00", "$x", "%h", "06:00;", True,
        "*:0/0", "*:0/00", "6:9..00", "10..3:00", "*-12..1-1", "*/2:00", "*-*-31/2", "06:00 Europe/Berlinn", "Fri..Mon 06:00",
        "06:00 UTC+1", "Mond 06:00", "1969-*-*", "06:00 ../etc/passwd",
    ],
    "processes[].instances": [0, -1, 65, True, "2", 1.5],
    "processes[].start_seconds": [0, -1, 301, True, 0.5],
    "processes[].stop_timeout": [0, -1, 86401, True, "90"],
    "processes[].only_on": ["", "-x", "web 1", "web1\n", 1],
    "processes[].kind": ["cron", "", True],
    "processes[].stop_signal": ["TERM", "SIGKILL", 15],
    "static.keep": [-1, 31536001, 0.5, "1d", True],
    "hsts.max_age": [-1, 126144001, "1y", True],
    "csp": ["", "default-src $x", "a\nb", "a\0", "ä", 1, "x" * 4000],
    "allow[]": ["", "10.0.0.0/33", "10.0.0.1/8", "10.0.0", "all", "10.0.0.0/8;", "2001:db8::1/32", "example.com", 1],
    "request_limits.rate": ["", "10/s", "10r/h", "0r/s", "10", "-1r/s", "10 r/s", "10r/s;", 10],
    "request_limits.burst": [0, -1, 100001, True, "20"],
    "request_limits.connections": [0, -1, True, "20"],
    "locations[].path": ["", "/", "ws/", "/a b", "/a{", "/a;", "/a\n", "/../a", "/$x", "~ /a", "= /a", "//a", "/a'", '/"', 1],
    "locations[].timeout": [0, 86401, True, "60"],
    "locations[].client_max_body_size": ["", "10mb", "1.5m", "10m;"],
    "locations[].allow[]": ["", "10.0.0.0/33", "10.0.0.1/8", "all"],
    "locations[].redirect": ["", "new", "//evil.example/x", "https://a.example", "/a b", "/a;", "/a\n", "/$uri", "ftp://a/b", "/{"],
    "locations[].snippet": ["", "  ", "a\0b;", "a\rb;"],
    "snippet": ["", "  ", "a\0b;", "a\rb;"],
    "certificate.fullchain": ["", "shop.pem", "/etc/../shop.pem", "/etc/ssl/a b.pem", "/etc/ssl/a.pem\n", "/etc/ssl/a.pem;", "/"],
    "certificate.privkey": ["", "~/shop.key", "/etc/ssl/{name}.key", "/etc//shop.key", 7],
    "acme.challenge": ["tls-alpn-01", "dns", ""],
    "acme.profile": ["", "short lived", "--help", "tlsserver\n", "Classic;", "a" * 65],
    "acme.key_type": ["ed25519", "RSA", ""],
    "acme.ip_addresses[]": ["", "203.0.113.0/24", "203.0.113", "2001:db8::g", "shop.example.com", "203.0.113.7\n", 7],
    "state": ["gone", "", True],
    "purge": ["yes", 1, "true"],
}  # fmt: skip
"""By the path of a rule, or of an option with choices: values that must be refused."""


@pytest.mark.parametrize(("path", "value"), rows(BAD))
def test_a_bad_value_is_refused_with_its_place_and_a_good_value(path: str, value: Any):
    bad, place = with_value(path, value)
    errors = [error for error in errors_of(bad) if error.startswith(f"flask_apps[0].{place}")]
    assert len(errors) == 1, errors_of(bad)
    assert "\n" not in errors[0]
    assert "canary" not in errors[0]
    if path in RULES:
        assert errors[0].endswith(f"; a good value is {RULES[path].example}")
    if path in RULES and isinstance(value, (str, int)) and not re.search(r"must be (a|true|one)[^;]*, not", errors[0]):
        assert RULES[path].says in errors[0]


# The good value of a deploy key is a template that reads it from a file.
@pytest.mark.parametrize("path", sorted((set(RULES) & set(BAD)) - {"source.deploy_key"}))
def test_the_good_value_of_a_message_is_good(path: str):
    example: Any = RULES[path].example
    wanted = int(example) if isinstance(BAD[path][0], int) else example
    good, _ = with_value(path, wanted)
    assert errors_of(good, *([app(name="root")] if path == "path" else [])) == []


def options_with_rules(options: Options, path: str = "") -> list[str]:
    """The paths that a rule is needed for: texts without choices, and numbers."""
    found = []
    for name, option in options.items():
        full = f"{path}.{name}".lstrip(".")
        if option["type"] == "dict" and "options" in option:
            found += options_with_rules(option["options"], full)
        elif option["type"] == "dict":
            found += [f"{full}{{key}}", f"{full}{{value}}"]
        elif option["type"] == "list" and "options" in option:
            found += options_with_rules(option["options"], f"{full}[]")
        elif option["type"] == "list":
            found.append(f"{full}[]")
        elif option["type"] != "bool" and "choices" not in option:
            found.append(full)
    return found


def test_every_option_has_a_rule_and_every_rule_an_option():
    of_roles = [role_options(role) for role in EVERY_ROLE]
    variables = {name: option for options in of_roles for name, option in options.items()}
    for name in ENTRIES.values():
        del variables[name]
    assert sorted(RULES) == sorted({*options_with_rules(entry_options(*ALL_ROLES)), *options_with_rules(variables)})


def test_every_rule_for_an_entry_is_tested_with_bad_values():
    assert set(options_with_rules(entry_options(*ALL_ROLES))) - BAD.keys() == {
        "env{key}", "env{value}", "secrets{key}", "secrets{value}", "headers{key}", "headers{value}", "basic_auth{key}",
        "basic_auth{value}", "build.env{key}", "build.env{value}", "files{key}", "files{value}",
        "secret_files{key}", "secret_files{value}",
    }  # fmt: skip


GOOD: dict[str, list[Any]] = {
    "name": ["shop", "s1", "my-shop-2", "s" * 30, "openvpn", "flask"],
    "domains[]": ["shop.example.com", "xn--mnchen-3ya.de", "a.co", "1.example.com", "shop.test", "a--b.example"],
    "path": ["/"],
    "wsgi": ["app:app", "shop.wsgi:application", "shop:create_app()", "shop:create_app('prod', debug=False)", "_a:_b"],
    "source.git": [
        "https://git.example.com/acme/shop.git", "https://git.example.com:8443/shop", "git@git.example.com:acme/shop.git",
        "ssh://git@git.example.com:2222/acme/shop.git", "ssh://git.example.com/~me/shop",
        "git://git.example.com/shop.git",
    ],
    "source.version": ["v1.4.2", "main", "feature/x-1", "feature/#12", "shop@1.2.3", "1.0+b1", "0" * 40],
    "source.path": ["/home/me/shop", "/home/me/inventories/../shop", "/mnt/my apps/shop"],
    "source.pypi": ["httpbin==0.10.2", "a==1!2.0+local.1", "Flask-App[extra,other]==1.0rc1"],
    "requirements": ["requirements.txt", "requirements/production.txt", "a-b_c.txt"],
    "shared_paths[]": ["uploads", "var/uploads", ".cache"],
    "static.url": ["/static/", "/a/b/", "/~me/.well-known/"],
    "migrate": ["flask --app shop db upgrade", "python manage.py 'two words' a;b", "FLASK_X=1 flask db upgrade"],
    "health.path": ["/", "/healthz", "/health?full=1&x=%20"],
    "client_max_body_size": ["0", "10m", "10M", "1g", "512k", "1048576"],
    "processes[].name": ["w", "worker", "worker-2", "w" * 30],
    "processes[].command": ["celery --app shop worker -n 'w{instance}@%h'", "flask say \"50 $\"", "A=1 rq worker high low"],
    "processes[].schedule": SCHEDULES,
    "processes[].only_on": ["web1", "web1.example.com", "192.0.2.1", "2001:db8::1"],
}  # fmt: skip


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, values in GOOD.items() for value in values])
def test_a_good_value_is_not_refused(path: str, value: Any):
    good, _ = with_value(path, value)
    assert errors_of(good) == []


# --- the app as a whole -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["name", "source", "wsgi", "domains"])
def test_what_is_needed_and_missing_is_named_once(option: str):
    for incomplete in ({key: value for key, value in SHOP.items() if key != option}, app(**{option: None})):
        (error,) = errors_of(incomplete)
        assert error.startswith(f"flask_apps[0].{option}: is missing; a good value is ")


def test_an_option_without_a_value_is_not_called_missing():
    assert errors_of(app(workers=None)) == ["flask_apps[0].workers: is empty; a good value is 4"]
    assert errors_of(app(purge=None)) == ["flask_apps[0].purge: is empty; leave it out for the default"]


def test_an_absent_app_needs_its_name_only():
    assert errors_of({"name": "shop", "state": "absent"}) == []
    assert errors_of({"state": "absent"}) == ["flask_apps[0].name: is missing; a good value is shop"]


A = {"name": "a", "command": "run a"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"processes": [{"name": "a"}]}, "flask_apps[0].processes[0].command: is missing; a good value is celery --app"),
        ({"processes": [{"command": "a"}]}, "flask_apps[0].processes[0].name: is missing; a good value is worker"),
        ({"processes": [{**A, "comand": "a"}]}, "processes[0].comand: is not a known option; did you mean 'command'?"),
        ({"processes": ["rq worker"]}, "flask_apps[0].processes[0]: must be a dictionary, not 'rq worker'"),
        ({"processes": [{**A, "kind": "timer"}]}, "processes[0].schedule: is needed with kind timer; a good value is Mon"),
        ({"processes": [{**A, "schedule": "daily"}]}, "flask_apps[0].processes[0].schedule: goes with kind timer only"),
        ({"processes": [{**A, "kind": "scheduler", "instances": 2}]}, "[0].instances: goes with kind worker only; there is"),
        ({"processes": [A, A]}, "processes[1].name: 'shop-a' is already flask_apps[0].processes[0].name; each process needs"),
        ({"processes": [{**A, "name": "blue"}]}, "processes[0].name: 'shop-blue' is already a unit of the app shop; each"),
        ({"processes": [{**A, "name": "migrate"}]}, "'shop-migrate' is already a unit of the app shop; each process needs"),
        ({"wokers": 2}, "flask_apps[0].wokers: is not a known option; did you mean 'workers'?"),
        ({"health": {"pth": "/"}}, "flask_apps[0].health.pth: is not a known option; did you mean 'path'?"),
        ({"qqqq": 2}, "flask_apps[0].qqqq: is not a known option; known are accept_insecure, acme, allow, basic_auth, build"),
        ({"bind": "0.0.0.0"}, "flask_apps[0].bind: is not a known option"),
        ({"source": {"git": "https://x/y"}}, "flask_apps[0].source.version: is needed with git; a good value is v1.4.2"),
        ({"source": {}}, "flask_apps[0].source: must have exactly one of git, archive, path, wheel and pypi, not none"),
        ({"source": {"path": "/a", "pypi": "a==1"}}, "exactly one of git, archive, path, wheel and pypi, not path and pypi"),
        ({"source": {"pypi": "a==1", "version": "v1"}}, "flask_apps[0].source.version: goes with git only"),
        ({"env": {"PYTHONPATH": "/usr/lib"}}, "flask_apps[0].env.PYTHONPATH: must be one path below the top of the source"),
        ({"env": {"PYTHONPATH": "src:../x"}}, "flask_apps[0].env.PYTHONPATH: must be one path below the top of the source"),
        ({"source": SHOP["source"] | {"git": "git@a.example:b", "token": "x" * 20}}, "flask_apps[0].source.token: goes with an https URL"),
        ({"source": {"pypi": "a==1", "deploy_key": PEM}}, "flask_apps[0].source.deploy_key: goes with git only"),
        ({"source": {"path": "/a", "subdirectory": "b"}}, "flask_apps[0].source.subdirectory: goes with git and archive only"),
        ({"source": {"archive": "https://x/y.zip"}}, "flask_apps[0].source.checksum: is needed with a URL; a good value is sha256:"),
        ({"wheelhouse": "/a", "extra_index": "https://x/y"}, "flask_apps[0].extra_index: is not asked when there is a wheelhouse"),
        ({"source": "https://x/y"}, "flask_apps[0].source: must be a dictionary, not 'https://x/y'"),
        ({"static": {}}, "flask_apps[0].static.path: is missing; a good value is shop/static"),
        ({"domains": []}, "flask_apps[0].domains: must have at least one name; a good value is shop.example.com"),
        ({"domains": "a.example.com"}, "flask_apps[0].domains: must be a list, not 'a.example.com'"),
        ({"domains": ["a.com", "a.com"]}, "flask_apps[0].domains[1]: 'a.com' is already flask_apps[0].domains[0]; "),
        ({"domains": ["*.a.com"]}, "flask_apps[0].domains[0]: the app is asked by its first name, which cannot be '*.a.com'"),
        ({"certificate": {"fullchain": "/a.pem"}}, "flask_apps[0].certificate.privkey: is missing; a good value is /etc/ssl"),
        ({"worker_class": "sync", "threads": 4}, "flask_apps[0].threads: goes with worker_class gthread; "),
        ({"worker_class": "gevent", "threads": 4}, "threads: goes with worker_class gthread; a worker of class gevent"),
        ({"worker_class": "asgi", "threads": 2}, "threads: goes with worker_class gthread; a worker of class asgi"),
        ({"worker_class": "gevent", "preload": True}, "flask_apps[0].preload: does not go with worker_class gevent"),
        ({"instances": 2, "workers": 2}, "flask_apps[0].workers: does not go with instances"),
        ({"server": "waitress", "instances": 2}, "flask_apps[0].instances: goes with server gunicorn"),
        ({"server": "waitress", "workers": 2}, "flask_apps[0].workers: goes with server gunicorn; waitress is one"),
        ({"server": "waitress", "worker_class": "sync"}, "flask_apps[0].worker_class: goes with server gunicorn"),
        ({"server": "waitress", "preload": True}, "flask_apps[0].preload: goes with server gunicorn"),
        ({"server": "waitress", "metrics": {"prometheus": True}}, "flask_apps[0].metrics: goes with server gunicorn"),
        ({"server": "waitress", "logs": {"to": "files"}}, "flask_apps[0].logs.to: waitress has the journal only"),
        ({"limits": {"memory_high": 512, "memory_max": 512}}, "flask_apps[0].limits.memory_high: 512 must be below"),
        ({"metrics": {"statsd": "h:1"}, "sandbox": {"strict": True}}, "flask_apps[0].metrics.statsd: a strict sandbox"),
        ({"hsts": {"preload": True}}, "flask_apps[0].hsts.include_subdomains: browsers preload a name with all below it"),
        (
            {"hsts": {"preload": True, "include_subdomains": True, "max_age": 86400}},
            "flask_apps[0].hsts.max_age: browsers preload from 31536000 seconds on; a good value is 63072000",
        ),
        ({"csp_report_only": True}, "flask_apps[0].csp_report_only: needs csp; a good value is default-src"),
        ({"locations": [{"websocket": True}]}, "flask_apps[0].locations[0].path: is missing; a good value is /ws/"),
        ({"locations": [{"path": "/a"}, {"path": "/a"}]}, "flask_apps[0].locations[1].path: '/a' has a location already"),
        ({"locations": [{"path": "/static/"}], "static": {"path": "s", "url": "/static/"}}, ".path: '/static/' has a loc"),
        ({"locations": [{"path": "/a", "timeout": 20}]}, ".locations[0].timeout: nginx would give up after 20 seconds and"),
        ({"locations": [{"path": "/a", "timeout": 59}], "timeout": 60}, "and gunicorn after 60; must be at least 60"),
        ({"locations": [{"path": "/a", "redirect": "/b", "timeout": 60}]}, "locations[0].redirect: goes with path alone"),
        ({"locations": [{"path": "/a", "redirect": "/a"}]}, "locations[0].redirect: /a leads to /a, without an end"),
        ({"locations": [{"path": "/a", "redirect": "/a?b=c#d"}]}, "locations[0].redirect: /a leads to /a, without an end"),
        ({"locations": [{"path": "/a/", "redirect": "/a/b/"}]}, "locations[0].redirect: /a/ leads to /a/, without an end"),
        ({"locations": [{"path": "/a/", "redirect": "/a/b"}]}, "locations[0].redirect: /a/ leads to /a/, without an end"),
        (
            {"locations": [{"path": "/a", "redirect": "/b"}, {"path": "/b", "redirect": "/a"}]},
            "locations[0].redirect: /a leads to /b leads to /a, without an end",
        ),
        (
            {"domains": ["shop.example.com", "www.example.com"], "canonical_domain": True,
             "locations": [{"path": "/a", "redirect": "http://www.example.com/a"}]},
            "locations[0].redirect: /a leads to /a, without an end",
        ),
        ({"headers": {"X A": "b"}}, "flask_apps[0].headers: the name 'X' must be letters, digits and hyphens"),
        ({"headers": {"Server": "b"}}, "flask_apps[0].headers: the name 'Server' must be letters"),
        ({"headers": {"Strict-Transport-Security": "b"}}, "and not be a header that has an option of its own"),
        ({"headers": {"A": "b\r\nSet-Cookie: c"}}, "flask_apps[0].headers.A: the value must be a text on one line"),
        ({"headers": {"A": "$host"}}, "flask_apps[0].headers.A: the value must be a text on one line without '$'"),
        ({"basic_auth": {"al:ice": "canary-password"}}, "flask_apps[0].basic_auth: the name 'al' must be letters"),
        ({"basic_auth": {"alice": "canary"}}, "flask_apps[0].basic_auth.alice: the value must be a hash that begins with"),
        ({"basic_auth": {"alice": "$1$canary$canary"}}, "flask_apps[0].basic_auth.alice: the value must be a hash"),
        ({"basic_auth": {"alice": "canary-password\nroot:x"}}, "flask_apps[0].basic_auth.alice: the value must be"),
        ({"shared_paths": ["a", "b", "a/x"]}, "flask_apps[0].shared_paths[2]: 'a/x' is within 'a', which is shared"),
        ({"shared_paths": ["a/x", "a"]}, "flask_apps[0].shared_paths[0]: 'a/x' is within 'a', which is shared"),
        ({"shared_paths": ["a", "a"]}, "flask_apps[0].shared_paths[1]: 'a' is within 'a', which is shared"),
        ({"env": {"A": "1"}, "secrets": {"A": "2"}}, "flask_apps[0].secrets.A: is also in flask_apps[0].env; keep one"),
        ({"env": {"FLASK_DEBUG": 1}}, "flask_apps[0].env.FLASK_DEBUG: shows the app's insides to everybody; "),
        ({"env": {"FLASK_DEBUG": True}}, "flask_apps[0].env.FLASK_DEBUG: "),
        ({"env": {"FLASK_ENV": "development"}}, "flask_apps[0].env.FLASK_ENV: is read by old versions of Flask"),
        ({"secrets": {"SECRET_KEY": "changeme"}}, "flask_apps[0].secrets.SECRET_KEY: sessions are only as safe as"),
        ({"secrets": {"FLASK_SECRET_KEY": ""}}, "flask_apps[0].secrets.FLASK_SECRET_KEY: sessions are only as safe"),
        ({"env": {"SECRET_KEY": "x" * 64}}, "flask_apps[0].env.SECRET_KEY: sessions are only as safe as this value: "),
        ({"secrets": {"SECRET_KEY": 1234567890123456789012}}, "flask_apps[0].secrets.SECRET_KEY: sessions are only"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], expected: str):
    (error,) = errors_of(app(**changes))
    assert expected in error
    assert "canary" not in error


@pytest.mark.parametrize(
    "changes",
    [
        {"env": {"FLASK_DEBUG": 0, "FLASK_ENV": "production"}, "secrets": {"SECRET_KEY": KEY}},
        {"env": {"FLASK_DEBUG": False, "A": 1.5, "B": True, "C": ""}},
        {"worker_class": "sync", "threads": 1},
        {"worker_class": "gevent", "threads": 1, "preload": False},
        {"worker_class": "asgi", "preload": True},
        {"server": "waitress", "threads": 8, "sandbox": {"strict": True}},
        {"limits": {"memory_high": 511, "memory_max": 512}},
        {"metrics": {"statsd": "h:1"}, "sandbox": {"strict": True, "without": ["PrivateNetwork"]}},
        {"shared_paths": ["data", "data2", "a/b", "a/c"]},
        {"domains": ["a.com", "*.a.com"]},
        {"acme": {"enabled": False}},
        {"state": "present"},
        {"hsts": {"preload": True, "include_subdomains": True}},
        {"hsts": {"max_age": 0}, "headers": {"X-Frame-Options": "", "Permissions-Policy": 'geolocation=(self "x")'}},
        {"csp": "default-src 'self'", "csp_report_only": True, "canonical_domain": True},
        {
            "allow": ["192.0.2.0/24", "192.0.2.7", "2001:db8::/32"],
            "request_limits": {"rate": "10r/s", "connections": 5},
        },
        {"basic_auth": {"alice": "correct horse battery", "bob": "$6$salt$" + "a" * 86, "c.d@e": "$2b$12$" + "a" * 53}},
        {"locations": [{"path": "/ws", "websocket": True}, {"path": "/old", "redirect": "https://a.example/b?c=d"}]},
        {
            "locations": [
                {"path": "/a", "redirect": "/a/"},
                {"path": "/b/", "redirect": "/a"},
                {"path": "/c", "redirect": "/c/d"},
            ]
        },
        {"locations": [{"path": "/a", "redirect": "https://other.example/a"}, {"path": "/d/", "redirect": "/d"}]},
        {"locations": [{"path": "/e/", "redirect": "/e/f/"}, {"path": "/e/f/", "timeout": 60}]},
    ],
)
def test_what_goes_together_is_not_refused(changes: dict[str, Any]):
    assert errors_of(app(**changes)) == []


def test_all_errors_are_shown_at_once():
    errors = errors_of(app(name="", workers=0, wokers=1, domains=["a b"]), 7, app(name="other", timeout=0))
    places = [error.split(": ")[0].removeprefix("flask_apps") for error in errors]
    assert sorted(places) == sorted(["[0].name", "[0].workers", "[0].wokers", "[0].domains[0]", "[1]", "[2].timeout"])


def test_names_and_domains_that_two_apps_claim_are_refused():
    name, domain = errors_of(app(), app())
    assert name == "flask_apps[1].name: 'shop' is already flask_apps[0].name; each app needs a name of its own"
    assert domain.startswith(
        "flask_apps[1].domains[0]: 'shop.example.com' is already flask_apps[0].domains[0]; each app"
    )


def test_an_absent_app_gives_its_domains_to_another_but_not_its_name():
    assert errors_of(app(), app(name="old", state="absent")) == []
    assert len(errors_of(app(), {"name": "shop", "state": "absent"})) == 1


# --- two apps on one domain ------------------------------------------------------------------------------------------------------


def admin(**changes: Any) -> dict[str, Any]:
    return app(name="admin-ui", path="/admin") | changes


@pytest.mark.parametrize("path", ["/admin", "/a/b", "/v1.0/x_y-z~", "/0"])
def test_apps_share_their_domains_by_path(path: str):
    both = ["a.com", "b.com"]
    assert errors_of(app(domains=both), admin(path=path, domains=both[::-1])) == []
    assert errors_of(admin(path=path), app(path="/")) == []
    assert errors_of(app(), admin(path=path), admin(name="deep", path=f"{path}/deep")) == []


@pytest.mark.parametrize("path", [None, "/"])
def test_two_apps_at_one_path_are_refused(path: str | None):
    (error,) = errors_of(app(), app(name="blog", path=path) if path else app(name="blog"))
    assert (
        "'shop.example.com' is already flask_apps[0].domains[0]; each app needs a domain or a path of its own" in error
    )
    (error,) = errors_of(app(), admin(), admin(name="blog"))
    assert error.startswith("flask_apps[2].domains[0]: 'shop.example.com/admin' is already flask_apps[1].domains[0]")


@pytest.mark.parametrize("root", [[], [app(state="absent")], [app(domains=["other.example.com"])]])
def test_a_path_needs_an_app_at_the_root_of_its_domains(root: list[dict[str, Any]]):
    (error,) = errors_of(admin(), *root)
    assert error.startswith("flask_apps[0].path: needs an app with the same domains and the path '/'")


def test_a_list_of_some_apps_may_lack_the_app_at_the_root():
    assert entry_errors([admin()], "chosen_apps", ALL_ROLES, partial=True) == []
    assert (
        entry_errors([{"name": "a1", "wsgi": "a:b", "domains": ["a.com"], "path": "/a"}], "x", ["gunicorn_systemd"])
        == []
    )


@pytest.mark.parametrize("domains", [["a.com"], ["a.com", "b.com", "c.com"], ["b.com", "c.com"]])
def test_apps_of_one_site_have_the_same_domains(domains: list[str]):
    (error,) = errors_of(app(domains=["a.com", "b.com"]), admin(domains=domains))
    assert error == "flask_apps[1].domains: must be those of flask_apps[0], since both are one site: a.com, b.com"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("certificate", {"fullchain": "/a.pem", "privkey": "/b.pem"}), ("acme", {"challenge": "dns-01"}),
        ("canonical_domain", True), ("default_site", True), ("hsts", {"max_age": 1}), ("snippet", "merge_slashes on;"),
    ],
)  # fmt: skip
def test_what_belongs_to_the_site_is_refused_for_an_app_at_a_path(option: str, value: Any):
    (error,) = errors_of(app(), admin(**{option: value}))
    assert error.startswith(
        f"flask_apps[1].{option}: has no effect with the path '/admin'; set it for the app that has"
    )
    assert errors_of(app(**{option: value}), admin()) == []


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"locations": [{"path": "/admin", "timeout": 60}]}, "locations[0].path: '/admin'"),
        (
            {"locations": [{"path": "/a", "timeout": 60}, {"path": "/admin/x/", "timeout": 60}]},
            "locations[1].path: '/admin/x/'",
        ),
        ({"static": {"path": "static", "url": "/admin/static/"}}, "static.url: '/admin/static/'"),
    ],
)
def test_a_path_within_that_of_another_app_is_refused(changes: dict[str, Any], place: str):
    (error,) = errors_of(app(**changes), admin())
    assert error.startswith(f"flask_apps[0].{place} belongs to flask_apps[1], whose path is '/admin'")
    relative = [{**location, "path": "/deep/x"} for location in changes.get("locations", [])][:1]
    if relative:
        (error,) = errors_of(app(), admin(locations=relative), admin(name="deep", path="/admin/deep"))
        assert error.startswith("flask_apps[1].locations[0].path: '/admin/deep/x' belongs to flask_apps[2]")


def test_a_path_that_only_begins_like_that_of_another_app_is_not_refused():
    assert (
        errors_of(app(locations=[{"path": "/administrator/", "timeout": 60}]), admin(static={"path": "static"})) == []
    )
    assert (
        errors_of(app(static={"path": "s", "url": "/ad/"}), admin(locations=[{"path": "/admin/", "timeout": 60}])) == []
    )


@pytest.mark.parametrize("option", ["env", "secrets"])
def test_the_name_of_the_script_is_the_path_or_empty(option: str):
    for good in ("/admin", ""):
        assert errors_of(app(), admin(**{option: {"SCRIPT_NAME": good}})) == []
    (error,) = errors_of(app(), admin(**{option: {"SCRIPT_NAME": "/other"}}))
    assert error.startswith(f"flask_apps[1].{option}.SCRIPT_NAME: must be '/admin', the path of the app")
    assert errors_of(app(**{option: {"SCRIPT_NAME": "/other"}})) == []


def test_redirects_of_an_app_at_a_path_are_relative_to_it():
    (error,) = errors_of(app(), admin(locations=[{"path": "/a", "redirect": "/a"}]))
    assert "redirect: /a leads to /a, without an end" in error
    (error,) = errors_of(app(), admin(locations=[{"path": "/a", "redirect": "https://shop.example.com/admin/a"}]))
    assert "redirect: /a leads to /a, without an end" in error
    assert errors_of(app(), admin(locations=[{"path": "/a", "redirect": "https://shop.example.com/a"}])) == []


def test_one_site_at_most_answers_clients_without_a_name():
    blog = {"name": "blog", "domains": ["blog.example.com"], "default_site": True}
    assert errors_of(app(default_site=True), app(**blog, state="absent")) == []
    (error,) = errors_of(app(default_site=True), app(**blog))
    assert error == "flask_apps[1].default_site: is already true in flask_apps[0].default_site; one site can have it"


@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_process_and_a_slot_of_another_app_may_not_have_one_unit(state: str):
    other = (
        app(name="shop-x", domains=["x.example.com"]) if state == "present" else {"name": "shop-x", "state": "absent"}
    )
    (error,) = errors_of(app(processes=[{"name": "x-green", "command": "a"}]), other)
    assert error.startswith("flask_apps[0].processes[0].name: 'shop-x-green' is already a unit of the app shop-x; ")


def test_processes_of_two_apps_may_not_have_one_unit():
    first, second = (
        app(processes=[{"name": "x-a", "command": "a"}]),
        app(name="shop-x", domains=["x.example.com"], processes=[A]),
    )
    (error,) = errors_of(first, second)
    assert error.startswith(
        "flask_apps[1].processes[0].name: 'shop-x-a' is already flask_apps[0].processes[0].name; each"
    )
    assert errors_of(first, second | {"name": "shop-y"}) == []


@pytest.mark.parametrize("kind", ["scheduler", "timer"])
def test_on_several_hosts_what_must_run_once_says_where(kind: str):
    process = {"name": "a", "command": "a", "kind": kind, "schedule": "daily"}

    def errors(hosts: list[str], **options: Any) -> list[str]:
        entries = [app(), app(processes=[{**A, "kind": "worker"}, process | options])]
        return fleet_errors(entries, "flask_apps", hosts, ["web1", "web2", "db1"])

    assert errors(["web1"]) == []
    assert errors(["web1", "web2"], only_on="web2") == []
    assert errors(["web1"], only_on="web2") == []
    (error,) = errors(["web1", "web2"])
    assert error.startswith(
        "flask_apps[1] (shop).processes[1].only_on: is needed, since each of 2 hosts would run this " + kind
    )
    assert error.endswith("; a good value is web1, or '{{ inventory_hostname }}' where each of them should")
    assert errors(["web1"], only_on="wbe2") == [
        "flask_apps[1] (shop).processes[1].only_on: 'wbe2' is not a host of the inventory; did you mean 'web2'?"
    ]


@pytest.mark.parametrize("entries", ["shop", {"name": "shop"}, 7])
def test_the_list_must_be_a_list(entries: Any):
    (error,) = entry_errors(entries, "flask_apps", ALL_ROLES)
    assert error.startswith("flask_apps: must be a list of apps, not ")


def test_a_list_that_is_missing_is_named():
    (error,) = entry_errors(None, "flask_apps", ALL_ROLES)
    assert error.startswith("flask_apps: is missing")


def test_an_entry_is_known_by_its_number_and_its_name_where_it_has_one():
    apps = [app(workers=0), app(name="../x", domains=["b.example.com"]), {"workers": 0}]
    errors = entry_errors(apps, "flask_apps", ALL_ROLES)
    assert [error.partition(":")[0] for error in errors][:2] == ["flask_apps[0] (shop).workers", "flask_apps[1].name"]
    assert any(error.startswith("flask_apps[2].workers") for error in errors)


def test_a_clash_names_both_apps():
    errors = entry_errors([app(), app(name="blog")], "flask_apps", ALL_ROLES)
    assert errors[0].startswith(
        "flask_apps[1] (blog).domains[0]: 'shop.example.com' is already flask_apps[0] (shop).domains[0]"
    )


def test_a_role_alone_knows_its_own_options_only():
    assert entry_errors([{"name": "shop", "domains": ["a.example.com"]}], "nginx_proxy_sites", ["nginx_proxy"]) == []
    (error,) = entry_errors([{"name": "a1", "domains": ["a.com"], "workers": 1}], "nginx_proxy_sites", ["nginx_proxy"])
    assert error.startswith("nginx_proxy_sites[0] (a1).workers: is not a known option")


# --- environment variables and secrets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    ["", "1A", "A-B", "A B", "A=1", "Ä", "A\n", "PATH", "LD_PRELOAD", "PYTHONHOME", "HOME", "LISTEN_FDS", "NOTIFY_SOCKET",
     "FLASK_OPS_SLOT", "A" * 129, 7],
)  # fmt: skip
@pytest.mark.parametrize("option", ["env", "secrets"])
def test_a_bad_name_of_a_variable_is_refused(option: str, key: Any):
    (error,) = errors_of(app(**{option: {key: "canary"}}))
    assert error.startswith(f"flask_apps[0].{option}: the name ")
    assert RULES["env{key}"].says in error
    assert "canary" not in error


@pytest.mark.parametrize(
    "value",
    ["canary\nB=1", "canary\r", "canary\0", "canary\x1b", "canary\x7f", "canary\ufffe", "canary\ufdd0", "canary\ud800", "canary\U0001ffff",
     None, ["canary"], {"canary": 1}],
)  # fmt: skip
@pytest.mark.parametrize("option", ["env", "secrets"])
def test_a_bad_value_of_a_variable_is_refused_and_not_repeated(option: str, value: Any):
    if option == "secrets" and value == "canary\nB=1":
        assert errors_of(app(secrets={"TOKEN": value})) == []
        return
    (error,) = errors_of(app(**{option: {"TOKEN": value}}))
    rule = {"env": "without line breaks", "secrets": "without control characters"}[option]
    assert error.startswith(f"flask_apps[0].{option}.TOKEN: the value must be a text {rule}")
    assert "canary" not in error


@pytest.mark.parametrize("value", ["", " ", "%h $x ${x} \"'\\`#;", "a\tb", "ünï 😀 \x85\u2028", 0, -1.5, True])
def test_any_text_on_one_line_is_a_good_value_of_a_variable(value: Any):
    assert errors_of(app(env={"TOKEN": value})) == []


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".a", "-a", "a/b", "a b", "a:b", "a..b", "a\n", "ä", "a%h", "secrets.json", "a" * 65, 7]
)
def test_a_bad_name_of_a_secret_file_is_refused(name: Any):
    (error,) = errors_of(app(secret_files={name: "canary"}))
    assert error.startswith("flask_apps[0].secret_files: the name ")
    assert RULES["secret_files{key}"].says in error
    assert "google.json" in error
    assert "canary" not in error


@pytest.mark.parametrize("value", ["", "canary\0", "canary\ud800", None, 7, True, ["canary"], {"canary": 1}])
def test_a_bad_secret_file_is_refused_and_not_repeated(value: Any):
    (error,) = errors_of(app(secret_files={"google.json": value}))
    assert error.startswith("flask_apps[0].secret_files.google.json: the value must be a text that is not empty")
    assert "canary" not in error


@pytest.mark.parametrize("text", ["-----BEGIN KEY-----\r\n\x1b\n", '{"a": 1}\n', " ", "a" * 900_000])
def test_any_text_is_a_good_secret_file(text: str):
    assert errors_of(app(secret_files={"google.json": text, "A-b_1": "x"} if len(text) < 9 else {"a" * 64: text})) == []


def test_secret_files_are_no_larger_than_systemd_takes():
    (error,) = errors_of(app(secret_files={"a": "ä" * 300_000, "b": "c" * 300_001}))
    assert error.startswith("flask_apps[0].secret_files: has 900001 bytes")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "shop", "secrets": {"TOKEN": "canary"}},
        [{"name": "shop", "secrets": "canary"}],
        [{"name": "shop", "secrets": ["TOKEN=canary"]}],
        [{"name": "shop", "secrets": {"TOKEN=canary": None}}],
        [{"name": "shop", "secrets": {"1A": "canary", "SECRET_KEY": "canary"}}],
        [{"name": "shop", "secret_files": {"../a": "canary"}}],
        [{"name": "shop", "secret_files": {"a": "canary\0"}}],
        [{"name": "shop", "secret_files": "canary"}],
        [{"name": "shop", "secret_files": {"a": {"private_key": "canary"}}}],
        [{"name": "shop", "secret_files": {"a": "canary" * 200_000}}],
        [{"name": "shop", "secretz": {"TOKEN": "canary"}}],
        [{"name": {"secrets": {"TOKEN": "canary"}}}],
        [[{"name": "shop", "secrets": {"TOKEN": "canary"}}]],
        [{"name": "shop", "source": {"git": "https://me:canary@git.example.com/shop.git"}}],
        [{"name": "shop", "source": "https://me:canary@git.example.com/shop.git"}],
    ],
)
def test_no_mistake_makes_a_message_repeat_a_secret(wrong: Any):
    errors = entry_errors(wrong, "flask_apps", ALL_ROLES)
    assert errors
    assert "canary" not in str(errors)


# --- variables of the roles ---------------------------------------------------------------------------------------------------------

BAD_VARIABLES: dict[str, list[Any]] = {
    "nginx_proxy_http_port": [0, -1, 70000, "80a", "80", True, 80.5],
    "nginx_proxy_https_port": [0, 65536, None],
    "nginx_proxy_ipv6": ["yes", 1],
    "nginx_proxy_upstream": [
        "", "unix:/run/app.sock", "unix:run/{name}.sock", "127.0.0.1:8000", "unix:/run/flask-ops/{name}.sock;}", "unix:/run/flask-ops/{name} x",
        "unix:/run/flask-ops/{name}/../x", "unix:/run/flask-ops/{nmae}.sock", "http://{name}:80", "unix:/run/flask-ops/{name}.sock\n", "unix:/run/${name}",
    ],
    "nginx_proxy_status_port": [0, 65536, 443, "9112"],
    "nginx_proxy_http3": ["yes", 1],
    "nginx_proxy_maintenance": ["maybe", True],
    "nginx_proxy_tls": ["old", "", "TLSv1"],
    "nginx_proxy_log_format": ["combined", ""],
    "nginx_proxy_trusted_proxies": [["10.0.0.1/8"], ["cloudflare"], "10.0.0.0/8", [1]],
    "nginx_proxy_error_page": ["/srv/error.html", "  x", "<p>\0", 1],
    "nginx_proxy_maintenance_page": ["/srv/maintenance.html", 1],
    "nginx_proxy_old_static_directory": ["/srv/old", "/srv/{name};", "{name}", "/srv/{name}/.."],
    "nginx_proxy_static_directory": ["", "static/{name}", "/srv/static", "/srv/{name};", "/srv/{name} x", "/srv/$x/{name}"],
    "logrotate_frequency": ["dayly", "", 1],
    "logrotate_maxsize": ["10 megs", "0", -1, "1m", "1M\n"],
    "logrotate_keep": [-1, 0, 1001, "14", True],
    "logrotate_maxage": [-1, 3651, "7"],
    "logrotate_compress": ["yes", 1],
    "logrotate_dateext": ["yes", 1],
    "logrotate_schedule": ["weekly", "", True],
    "nginx_proxy_self_signed_sites": [["Shop"], "shop", [""], ["../shop"]],
    "letsencrypt_email": ["ops", "ops@", "@flask-shop.com", "ops@example.com", "ops@shop.test", "a b@flask-shop.com", "a@b.com\n"],
    "letsencrypt_server": [
        "", "http://acme.flask-shop.com/dir", "acme.flask-shop.com", "https://", "https://me:canary@ca.flask-shop.com/dir",
        "https://ca.flask-shop.com/a b", "https://ca.flask-shop.com:x/dir", "https://ca.flask-shop.com/dir\n", "ftp://x/",
    ],
    "letsencrypt_state": ["gone", "", True],
    "letsencrypt_staging": ["yes", 1],
    "letsencrypt_ca_bundle": ["", "ca.pem", "/etc/../ca.pem", "/etc/ca.pem\n"],
    "letsencrypt_eab": [[], {"key": "x"}, {"kid": ""}, {"kid": "a b"}, {"hmac_key": "canary\n"}, {"kid": 7}],
    "letsencrypt_challenge": ["tls-alpn-01", "http", ""],
    "letsencrypt_webroot": ["", "html", "/var/www/../x", "/var/www\n", "/var/my www"],
    "letsencrypt_precheck": ["yes", 1],
    "letsencrypt_dns_plugin": ["rfc2136", "dns-", "--help", "dns-x y", "certbot-dns-x", "dns-x\n"],
    "letsencrypt_dns_packages": [["-r x"], [""], "certbot-dns-x", ["a\nb"]],
    "letsencrypt_dns_credentials": [
        [], {"server": "x"}, {"dns_x": ""}, {"dns_x": "a\nb"}, {"dns_x": ["a"]}, {"dns_x": "'\""}, {"dns-x": "a"},
    ],
    "letsencrypt_dns_propagation": [-1, 3601, True, "60"],
    "letsencrypt_key_type": ["ed25519", ""],
    "letsencrypt_profile": ["short lived", "--help", "tlsserver\n"],
    "letsencrypt_link": ["/etc/nginx/certificates", "{name}", "/etc/flask-ops/{name}/../x", "/etc/{name}\n", "/etc/%h/{name}"],
    "letsencrypt_validate": ["-t", "nginx -t && id", "nginx 't", "a\nb"],
    "letsencrypt_reload": ["nginx", "nginx.socket", "-x.service", "a b.service", "nginx.service\n"],
    "letsencrypt_probe_port": [-1, 65536, "443", True],
    "letsencrypt_required": ["yes", 1],
    "letsencrypt_revoke": ["yes", 1],
    "letsencrypt_textfile_directory": ["metrics", "/var/../x", "/var/m\n", "/"],
    "python_app_root": [
        "", "/", "/etc", "/etc/flask-ops/{name}", "/home/{name}", "/root/{name}", "/tmp/{name}", "/{name}", "/x{name}/a", "srv/{name}",
        "/srv", "/srv/{name}/..", "/srv/my apps/{name}", "/srv/{nmae}", "/srv/{name}\n", "/srv/%h/{name}",
    ],
    "python_app_python_mirror": ["x", "ftp://x/y", "https://x/y z", 1],
    "python_app_python": ["", "python3", "3.9", "/usr/bin/../x", "/usr/bin/python3 -c", "/usr/bin/python3\n"],
    "python_app_keep_releases": [0, -1, 101, True, "3"],
    "python_app_extra_requirements": [[""], ["-r x"], ["--index-url=x"], ["gunicorn\n-r x"], "gunicorn", [1]],
    "python_app_proxies": [[], {"ftp_proxy": "http://x"}, {"https_proxy": ""}, {"https_proxy": "http://x y"}, {"http_proxy": 1}],
    "python_app_extra_requirements_of": [
        [], {"Shop": []}, {"shop": "gunicorn"}, {"shop": ["-r x"]}, {"shop": [1]}, {"shop": ["gunicorn\n-r x"]},
    ],
    "python_app_pinned_releases": [[], {"Shop": "r1"}, {"shop": "../r1"}, {"shop": "r 1"}, {"shop": ""}, {"shop": 1}],
    "gunicorn_systemd_shared_by": [-1, 1001, True, "2"],
    "gunicorn_systemd_probed_apps": [["Shop"], "shop", [""]],
    "gunicorn_systemd_probe_socket": ["/run/probe.sock", "run/{name}.sock", "/run/{name}/../x.sock", 443],
    "python_app_lock_timeout": [-1, 86401, True, "300"],
    "gunicorn_systemd_changing_files": ["/etc/flask-ops/shop/environment", ["environment"], ["/etc/../x"], ["/etc/a\n"], [1]],
    "gunicorn_systemd_secret_files": [
        [], {"Shop": []}, {"shop": "google.json"}, {"shop": ["a:b"]}, {"shop": ["../a"]}, {"shop": ["secrets.json"]}, {"shop": ["a\n"]}, {"shop": [1]},
    ],
    "gunicorn_systemd_credentials_directory": ["/etc/credentials", "/etc/flask-ops/{name} x", "/etc/{name}\n", "-/etc/flask-ops/{name}"],
    "gunicorn_systemd_environment_file": ["", "/etc/environment", "/etc/flask-ops/{name} x", "/etc/{name}\n", "-/etc/flask-ops/{name}"],
    "gunicorn_systemd_writable_directory": ["/srv/shared", "/srv/{name} /etc", "/srv/%n/{name}", "+/srv/{name}", "/srv/{name}\n"],
    "gunicorn_systemd_release_link": ["/srv/current", "{name}", "/srv/{name}/../x"],
    "gunicorn_systemd_releases": [
        [], {"shop": "r1"}, {"shop": {"id": "r1"}}, {"Shop": {}},
        {"shop": {"id": "r1", "path": "/r", "directory": "/r/app", "venv": "/r/venv\nUser=root"}},
        {"shop": {"id": "r1", "path": "/r", "directory": "/r/%h", "venv": "/r/venv"}},
        {"shop": {"id": "r 1", "path": "/r", "directory": "/r/app", "venv": "/r/venv"}},
    ],
    "node_exporter_release_link": ["", "/srv/current", "{name}"],
    "node_exporter_units": ["nginx.service", ["nginx"], ["-nginx.service"], ["nginx .service"], ["nginx.service\n"]],
    "node_exporter_address": ["", "localhost", "0.0.0.0", "::", "192.0.2.7", "127.0.0.1:9100", "10.0.0.0/8", "fe80::1%eth0"],
    "node_exporter_https_port": [-1, 65536, True, "443"],
    "node_exporter_port": [0, 65536, "9100"],
    "node_exporter_unprotected": ["yes"],
    "node_exporter_users": [
        [], {"shop": "secret"}, {"shop": ""}, {"shop": "$2b$12$short"}, {"shop": "$6$" + "a" * 57}, {"shop": None},
        {"a:b": "$2b$12$" + "a" * 53}, {"shop": "$2b$12$" + "a" * 52 + "\n"},
    ],
    "node_exporter_passwords": [[], {"shop": "too short"}, {"shop": "a" * 73}, {"shop": "a\nb" * 5}, {"a:b": "a" * 20}],
    "node_exporter_tls": ["yes"],
    "node_exporter_names": [["https://x"], ["a_b"], ["A.example.com"], ["a,DNS:b"], ["a b"], "web1.example.com"],
    "node_exporter_collectors": [["CPU"], ["cpu "], ["--web.x"], ["cpu\n"], ["cpu=1"], "cpu"],
    "node_exporter_nginx": ["yes"],
    "node_exporter_nginx_status": [
        "",
        "127.0.0.1:9112", "http://192.0.2.7/status", "http://127.0.0.1:9112/a b", "unix:/run/x.sock", "unix:x:/y",
        "http://127.0.0.1:9112/status\n",
    ],
    "node_exporter_access_log": ["", "/var/log/nginx/access.log", "{name}", "/var/log/{name} x", "/var/log/{name}/../x"],
    "node_exporter_statsd": [
        "0.0.0.0:8125", "192.0.2.7:8125", "localhost:8125", "127.0.0.1", ":8125", "127.0.0.1:80", "127.0.0.1:65536",
        "127.0.0.1:08125", "127.0.0.1:8125\n", '127.0.0.1:8125"', "unix:/run/statsd", 8125, True,
    ],
}  # fmt: skip
for _name in (
    "releases",
    "changing_files",
    "credentials_directory",
    "secret_files",
    "environment_file",
    "writable_directory",
):
    BAD_VARIABLES[f"app_processes_{_name}"] = BAD_VARIABLES[f"gunicorn_systemd_{_name}"]

BAD_TOGETHER: dict[str, list[Any]] = {
    "node_exporter_version": ["latest", "v1.9.1", "1.9", "../1.9.1", "1.9.1\n", 1.9, ""],
    "node_exporter_archive": ["x.tar.gz", "ftp://x/y", "/srv/a b.tar.gz", "/srv/%s", "", "/srv/x\n"],
    "node_exporter_checksums": [
        {"amd64": "a" * 63}, {"amd64": "A" * 64}, {"amd64": "g" * 64}, {"amd64": ""}, {"x86_64": "a" * 64}, {}, "a" * 64,
    ],
    "node_exporter_certificate": ["", "tls.crt", "/etc/../tls.crt", "/etc/a b"],
    "node_exporter_certificate_key": ["", "tls.key", "/etc/%d"],
}  # fmt: skip
"""Bad beside good values of the others, which they need."""

GOOD_TOGETHER = {
    "node_exporter_version": "1.9.1",
    "node_exporter_archive": "https://mirror.example.com/node_exporter-{version}.linux-{architecture}.tar.gz",
    "node_exporter_checksums": {"amd64": "a" * 64},
    "node_exporter_tls": True,
    "node_exporter_certificate": "/etc/ssl/web1.pem",
    "node_exporter_certificate_key": "/etc/ssl/web1.key",
}


@pytest.mark.parametrize(("name", "value"), rows(BAD_VARIABLES))
def test_a_bad_variable_of_a_role_is_refused(name: str, value: Any):
    errors = variable_errors({name: value}, EVERY_ROLE)
    assert len(errors) == 1, errors
    keys = ("shop", "kid", "hmac_key", "dns_x", "http_proxy", "https_proxy")
    assert errors[0].startswith((f"{name}: ", f"{name}[0]: ", *(f"{name}.{key}: " for key in keys)))
    assert "\n" not in errors[0]


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD_TOGETHER.items() for value in values]
)
def test_a_bad_variable_among_good_ones_is_refused(name: str, value: Any):
    assert variable_errors(GOOD_TOGETHER, ALL_ROLES) == []
    errors = variable_errors(GOOD_TOGETHER | {name: value}, ALL_ROLES)
    assert len(errors) == 1, errors
    assert errors[0].startswith(name)
    assert "\n" not in errors[0]


def test_every_variable_of_a_role_is_tested_with_bad_values():
    tested = BAD_VARIABLES.keys() | BAD_TOGETHER.keys()
    assert {name for role in EVERY_ROLE for name in role_options(role)} - LISTS == tested


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.7", "2001:db8::7"])
def test_an_address_beyond_the_loopback_needs_protection_or_a_word(address: str):
    (error,) = variable_errors({"node_exporter_address": address}, ["node_exporter"])
    assert "node_exporter_unprotected" in error
    for protection in (
        {"tls": True},
        {"unprotected": True},
        {"users": {"prometheus": RULES["node_exporter_users{value}"].example}},
        {"passwords": {"prometheus": "canary-canary-canary"}},
    ):
        named = {f"node_exporter_{name}": value for name, value in protection.items()}
        assert variable_errors({"node_exporter_address": address, **named}, ["node_exporter"]) == []


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.53", "::1"])
def test_the_loopback_needs_no_protection(address: str):
    assert variable_errors({"node_exporter_address": address}, ["node_exporter"]) == []


def test_a_user_has_a_hash_or_a_password_and_neither_is_shown():
    users = {"node_exporter_users": {"me": "canary"}, "node_exporter_passwords": {"me": "canary"}}
    errors = variable_errors(users, ["node_exporter"])
    places = ["node_exporter_passwords.me", "node_exporter_passwords.me", "node_exporter_users.me"]
    assert sorted(error.split(":")[0] for error in errors) == places
    assert "canary" not in str(errors)


def test_a_certificate_without_tls_is_refused():
    (error,) = variable_errors(GOOD_TOGETHER | {"node_exporter_tls": False}, ["node_exporter"])
    assert error.startswith("node_exporter_tls: ")


@pytest.mark.parametrize("role", EVERY_ROLE)
def test_a_role_does_not_refuse_its_own_defaults_and_what_it_publishes(role: str):
    defaults = yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text())
    published = yaml.safe_load((ROLES / role / "vars" / "main.yml").read_text())
    assert variable_errors(defaults | published, [role]) == []


def test_what_one_role_publishes_another_takes():
    """As the playbook wires it."""
    published: dict[str, Any] = {}
    for role in ALL_ROLES:
        published |= yaml.safe_load((ROLES / role / "vars" / "main.yml").read_text())
    root = role_options("python_app")["python_app_root"]["default"]
    release = {"id": "httpbin-0.10.2-5e1c88aa", "path": "/srv/shop/releases/x", "revision": "any text"}
    taken = {
        "python_app_extra_requirements": published["__gunicorn_systemd_packages"]["gevent"],
        "python_app_extra_requirements_of": {"shop": published["__gunicorn_systemd_packages"]["gunicorn"]},
        "gunicorn_systemd_releases": {"shop": release | {"directory": "/srv/shop/a", "venv": "/srv/shop/v"}},
        "gunicorn_systemd_environment_file": published["python_app_environment_file"],
        "gunicorn_systemd_writable_directory": published["python_app_shared_directory"],
        "gunicorn_systemd_release_link": published["python_app_release_link"],
        "nginx_proxy_upstream": published["gunicorn_systemd_upstream"],
        "nginx_proxy_static_directory": published["python_app_static_directory"],
        "logrotate_files": published["nginx_proxy_log_rotation"],
        "nginx_proxy_old_static_directory": published["python_app_old_static_directory"],
    }
    for name in ("releases", "environment_file", "writable_directory"):
        taken[f"app_processes_{name}"] = taken[f"gunicorn_systemd_{name}"]
    filled = {
        name: value.replace("{{ python_app_root }}", root) if isinstance(value, str) else value
        for name, value in taken.items()
    }
    assert variable_errors(filled, EVERY_ROLE) == []


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (["a"], "written as JSON in quotes"),
        ({"a": 1}, "written as JSON in quotes"),
    ],
)
def test_a_list_in_the_environment_gets_a_hint_at_json(value: Any, hint: str):
    (error,) = errors_of(app(env={"HOSTS": value}))
    assert error.startswith("flask_apps[0].env.HOSTS: ")
    assert hint in error


ENVIRONMENT = """
flask_apps:
  - name: shop
    env:
      ZIP: 01234
      WINDOW: 12:30
      VERSION: 1.10
      "MASK" : 0x1F
      ANSWER: yes  # a comment
      DAY: 2026-11-30
      RATE: 0.5
      COUNT: 8
      ON: true
      TEXT: "01234"
    secrets: {PIN: 0077, NUMBER: 42, SPACED: 1_000, LAST: off}
"""


def test_a_value_that_yaml_has_changed_is_refused_and_not_shown(tmp_path: Path):
    path = tmp_path / "flask_servers.yml"
    path.write_text(ENVIRONMENT)
    loader = DataLoader()
    (given,) = Templar(loader=loader, variables={}).template(loader.load_from_file(str(path))["flask_apps"])
    errors = [
        error for error in entry_errors([given], "flask_apps", ALL_ROLES) if "quotes" in error and "YAML" in error
    ]
    changed = {error.partition(":")[0].rpartition(".")[2] for error in errors}
    assert changed == {"ZIP", "WINDOW", "VERSION", "MASK", "ANSWER", "DAY", "PIN", "SPACED", "LAST"}
    assert "0077" not in str(errors)


def test_a_value_without_a_file_is_taken_as_it_is():
    assert errors_of(app(env={"RATE": 1.1, "ON": True, "COUNT": 668})) == []


def test_a_misspelt_variable_gets_the_nearest_name():
    assert variable_errors({"nginx_proxy_htps_port": 1, "nginx_port": 1, "other": 1}, ALL_ROLES) == [
        "nginx_proxy_htps_port: is not a variable of the role nginx_proxy; did you mean 'nginx_proxy_https_port'?"
    ]


OTHER_COLLECTIONS = (
    # prometheus.prometheus, geerlingguy.node_exporter
    "node_exporter_web_listen_address", "node_exporter_enabled_collectors", "node_exporter_disabled_collectors",
    "node_exporter_local_cache_path", "node_exporter_system_user", "node_exporter_basic_auth_users",
    "node_exporter_binary_install_dir", "node_exporter_host", "node_exporter_state", "node_exporter_arch",
    # nickhammond.logrotate, robertdebock.logrotate
    "logrotate_scripts", "logrotate_entries", "logrotate_applications",
    # community roles for certificates
    "letsencrypt_account_email", "letsencrypt_domains", "letsencrypt_cert_path",
    "nginx_proxy_host", "nginx_proxy_cache_path",
)  # fmt: skip


@pytest.mark.parametrize("name", OTHER_COLLECTIONS)
def test_a_variable_of_another_collection_is_no_error_and_is_known_as_unread(name: str):
    assert variable_errors({name: "x"}, EVERY_ROLE) == []
    assert misspelt_names([name], EVERY_ROLE) == []
    assert unread_names([name], EVERY_ROLE) == [name]


@pytest.mark.parametrize(
    ("name", "value", "near"),
    [
        ("node_exporter_adress", "127.0.0.1", "node_exporter_address"),
        ("node_exporter_prot", 9100, "node_exporter_port"),
        ("letsencrypt_emial", "me@shop.com", "letsencrypt_email"),
        ("logrotate_maxsiz", "10M", "logrotate_maxsize"),
        ("nginx_proxy_http_prt", 80, "nginx_proxy_http_port"),
        ("python_app_keep_release", 3, "python_app_keep_releases"),
        ("python_app_kepe_releases", 3, "python_app_keep_releases"),
    ],
)
def test_a_close_misspelling_is_refused(name: str, value: Any, near: str):
    (error,) = variable_errors({name: value}, EVERY_ROLE)
    assert f"did you mean '{near}'?" in error


def test_a_singular_with_a_value_of_another_type_is_another_collections():
    assert variable_errors({"node_exporter_user": "node-exp"}, ["node_exporter"]) == []
    assert variable_errors({"node_exporter_user": {}}, ["node_exporter"])


def test_a_value_of_another_collections_kind_is_refused_with_who_reads_it():
    (error,) = variable_errors({"node_exporter_port": "9100"}, ["node_exporter"])
    assert error.endswith("(this variable is read by the role node_exporter of flask_ops.production)")


def test_a_name_close_to_the_list_of_apps_matters_only_where_the_list_is_missing_or_it_holds_apps():
    assert misspelt_names(["flask_app"], EVERY_ROLE, ["flask_apps"])
    values: dict[str, Any] = {"flask_app": "shop", "flask_apps": [SHOP]}
    assert misspelt_names(values, EVERY_ROLE, ["flask_apps"], values) == []
    values = {"flask_app": [SHOP], "flask_apps": [SHOP]}
    assert misspelt_names(values, EVERY_ROLE, ["flask_apps"], values) == [
        "flask_app: holds apps, and so does flask_apps; keep one of them"
    ]


@pytest.mark.parametrize("name", sorted(wired_variables()))
def test_a_variable_that_the_playbook_sets_is_refused_by_name(name: str):
    (error,) = overridden_errors([name, "flask_apps", "nginx_proxy_http_port"])
    assert error.startswith(f"{name}: is ")
    assert ("move its entries to flask_apps" in error) == (name in ENTRIES.values())


def test_a_variable_that_a_role_sets_is_refused_by_name():
    (error,) = overridden_errors(["python_app_environment_file"])
    assert error.startswith("python_app_environment_file: is set by the role python_app")


def test_every_option_of_a_role_is_either_wired_or_for_the_user():
    assert overridden_errors(GOOD_TOGETHER) == []
    assert wired_variables() <= {name for role in EVERY_ROLE for name in role_options(role)}


@pytest.mark.parametrize(
    "ports", [{"http": 443}, {"https": 80}, {"http": 8080, "https": 8080}], ids=["http", "https", "both"]
)
def test_the_two_ports_must_differ_also_from_a_default(ports: dict[str, int]):
    variables = {f"nginx_proxy_{scheme}_port": port for scheme, port in ports.items()}
    (error,) = variable_errors(variables, ALL_ROLES)
    assert re.fullmatch(
        r"nginx_proxy_https_port: \d+ is also nginx_proxy_http_port; good values are 80, 443 and 9112", error
    )


@pytest.mark.parametrize(
    ("distribution", "version", "supported"),
    [("Debian", "12", True), ("Debian", 13, True), ("Ubuntu", "24", True), ("Debian", "11", False), ("Ubuntu", "22", False),
     ("RedHat", "10", False), ("Debian", "testing", False), (None, None, False)],
)  # fmt: skip
def test_a_host_that_is_not_supported_is_refused_by_name(distribution: Any, version: Any, supported: bool):
    facts = {"distribution": distribution, "distribution_major_version": version}
    refused = (
        f"this host runs {distribution} {version}, which is not supported; supported are Debian 12, 13; Ubuntu 24, 26"
    )
    assert platform_errors(facts, {}) == ([] if supported else [refused])


@pytest.mark.parametrize(("version", "refused"), [("12", True), ("13", False)])
def test_http_3_is_refused_where_nginx_has_none(version: str, refused: bool):
    facts = {"distribution": "Debian", "distribution_major_version": version}
    words = f"nginx_proxy_http3: the nginx of Debian {version} has no HTTP/3; must be false"
    assert platform_errors(facts, {"nginx_proxy_http3": True}) == ([words] if refused else [])
    assert platform_errors(facts, {"nginx_proxy_http3": False}) == []


def test_nginx_is_known_on_every_supported_platform():
    known = yaml.safe_load((ROLES / "nginx_proxy" / "vars" / "main.yml").read_text())["__nginx_proxy_platforms"]
    assert sorted(known) == sorted(f"{name}{version}" for name, versions in SUPPORTED.items() for version in versions)


# --- no valid app is refused ----------------------------------------------------------------------------------------------------------


def texts(alphabet: str, longest: int = 12) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=1, max_size=longest)


LETTERS = "abcdefghijklmnopqrstuvwxyz"
NAMES = st.from_regex(r"(?!flask-ops)[a-z][a-z0-9-]{0,28}[a-z0-9]", fullmatch=True).filter(
    lambda name: name not in RESERVED_NAMES
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
LOGROTATE = CONTROL + "\"'#\\,;$`&|()<>[]!~="
"""A line of logrotate's configuration, or of the shell script in it. (Braces: {name} is filled in.)"""

LANDS_IN: dict[str, str] = {
    "name": NGINX + UNIT + "/.@",  # units, paths, upstream
    "domains[]": NGINX + "/:,_",  # server_name, and a list that openssl takes apart at the commas
    "path": NGINX,  # location, and a line of the environment
    "static.url": NGINX,  # location
    "client_max_body_size": NGINX,
    "wsgi": ARGUMENT,  # quoted as JSON in gunicorn.conf.py
    "source.git": ARGUMENT + " ",
    "source.version": ARGUMENT + " ~^:?*[\\",  # a pattern to git ls-remote
    "source.path": ARGUMENT,
    "source.known_hosts[]": ARGUMENT,
    "source.token": CONTROL + " ",
    "source.token_user": ARGUMENT + " :",
    "extras[]": ARGUMENT + " ,[];",
    "groups[]": ARGUMENT + " ,[];",
    "extra_requirements[]": ARGUMENT,
    "files{key}": UNIT,
    "files{value}": "\0",
    "build.command": ARGUMENT,
    "build.env{key}": UNIT + "=#",
    "build.env{value}": "\n\r\0",
    "source.archive": ARGUMENT,
    "source.checksum": ARGUMENT + " ",
    "source.subdirectory": UNIT,
    "source.wheel": ARGUMENT,
    "python": ARGUMENT + " ",
    "packages[]": UNIT + "=/",
    "constraints": UNIT,
    "extra_index": ARGUMENT + " ",
    "wheelhouse": ARGUMENT,
    "source.pypi": ARGUMENT + " ;",
    "requirements": UNIT,
    "shared_paths[]": UNIT,
    "static.path": UNIT,
    "migrate": ARGUMENT,
    "processes[].name": NGINX + UNIT + "/.@_",  # units, paths
    "processes[].command": ARGUMENT,  # quoted as systemd wants it
    "processes[].schedule": UNIT.replace(" ", "") + "#",
    "processes[].only_on": ARGUMENT,
    "health.path": CONTROL + " #;{}$\"'\\",  # the first line of a request, and a key of nginx' map
    "env{key}": UNIT + "=#",
    "secrets{key}": UNIT + "=#",
    "env{value}": "\n\r\0",  # the filter environment_value quotes the rest
    "secrets{value}": "\0",
    "secret_files{key}": UNIT + ":/=",
    "secret_files{value}": "\0",
    "python_app_root": UNIT,
    "python_app_python": ARGUMENT + " ",
    "python_app_python_mirror": ARGUMENT + " ",
    "python_app_extra_requirements[]": ARGUMENT,
    "python_app_extra_requirements_of{key}": UNIT,
    "python_app_proxies{key}": UNIT,
    "python_app_proxies{value}": CONTROL + " ",
    "metrics.statsd": CONTROL + ' "\\',  # Python
    "accept_insecure[]": UNIT,
    "sandbox.without[]": UNIT,
    "gunicorn_systemd_environment_file": UNIT,
    "app_processes_credentials_directory": UNIT,
    "app_processes_secret_files{key}": UNIT,
    "app_processes_environment_file": UNIT,
    "app_processes_writable_directory": UNIT,
    "app_processes_releases{key}": UNIT,
    "gunicorn_systemd_changing_files[]": ARGUMENT,
    "app_processes_changing_files[]": ARGUMENT,
    "gunicorn_systemd_credentials_directory": UNIT,
    "gunicorn_systemd_secret_files{key}": UNIT,
    "gunicorn_systemd_writable_directory": UNIT,
    "gunicorn_systemd_release_link": ARGUMENT,
    "gunicorn_systemd_probe_socket": ARGUMENT,
    "gunicorn_systemd_probed_apps[]": ARGUMENT,
    "gunicorn_systemd_releases{key}": UNIT,
    "certificate.fullchain": ARGUMENT + " ",
    "certificate.privkey": ARGUMENT + " ",
    "acme.profile": ARGUMENT + " ",
    "acme.ip_addresses[]": ARGUMENT + " ",
    "nginx_proxy_self_signed_sites[]": ARGUMENT,
    "letsencrypt_email": ARGUMENT + " ",
    "letsencrypt_server": ARGUMENT + " ",
    "letsencrypt_ca_bundle": ARGUMENT + " ",
    "letsencrypt_eab{key}": ARGUMENT + " =",
    "letsencrypt_eab{value}": ARGUMENT + " ",
    "letsencrypt_webroot": ARGUMENT + " ",
    "letsencrypt_dns_plugin": ARGUMENT + " /",
    "letsencrypt_dns_packages[]": ARGUMENT,
    "letsencrypt_dns_credentials{key}": ARGUMENT + " =",
    "letsencrypt_dns_credentials{value}": ARGUMENT,  # quoted where it is written
    "letsencrypt_profile": ARGUMENT + " ",
    "letsencrypt_link": UNIT,
    "letsencrypt_validate": ARGUMENT,
    "letsencrypt_reload": ARGUMENT + " /",
    "letsencrypt_textfile_directory": ARGUMENT + " ",
    "python_app_pinned_releases{key}": UNIT,
    "node_exporter_release_link": ARGUMENT,
    "node_exporter_units[]": ARGUMENT + " ",
    "node_exporter_version": UNIT + "/",
    "node_exporter_archive": ARGUMENT + " ",
    "node_exporter_checksums{key}": UNIT,
    "node_exporter_checksums{value}": UNIT + "/",
    "node_exporter_address": UNIT + "/",
    "node_exporter_users{key}": CONTROL + ":\"'#",
    "node_exporter_users{value}": CONTROL + "\"'# :",
    "node_exporter_passwords{key}": CONTROL + ":\"'#",
    "node_exporter_passwords{value}": CONTROL,  # hashed
    "node_exporter_certificate": ARGUMENT,
    "node_exporter_certificate_key": ARGUMENT,
    "node_exporter_names[]": "/:,*_" + UNIT,  # a list that openssl takes apart at the commas
    "node_exporter_collectors[]": UNIT + "=",
    "node_exporter_nginx_status": UNIT,
    "node_exporter_access_log": UNIT + "()|*+?",  # a pattern of mtail
    "node_exporter_statsd": UNIT + "/<>",  # collectd's
    "csp": CONTROL + "$",  # quoted where it is written
    "headers{key}": NGINX,
    "headers{value}": CONTROL + "$",
    "allow[]": NGINX,
    "basic_auth{key}": CONTROL + ":# ",  # a line of htpasswd
    "basic_auth{value}": CONTROL,
    "request_limits.rate": NGINX,
    "locations[].path": NGINX,
    "locations[].client_max_body_size": NGINX,
    "locations[].allow[]": NGINX,
    "locations[].redirect": NGINX.replace("#", ""),  # begins no comment in the middle of a word
    "locations[].snippet": "\0\r",  # lines of nginx's own
    "snippet": "\0\r",
    "nginx_proxy_trusted_proxies[]": NGINX,
    "nginx_proxy_error_page": "\0",  # a file of its own
    "nginx_proxy_maintenance_page": "\0",
    "nginx_proxy_old_static_directory": NGINX.replace("{", "").replace("}", ""),
    "nginx_proxy_upstream": NGINX.replace("{", "").replace("}", ""),  # {name} and {instance} are filled in
    "nginx_proxy_static_directory": NGINX.replace("{", "").replace("}", ""),
    "logrotate_maxsize": LOGROTATE + " {}",
}
for path in LOG_RULES.keys() - {"keep", "maxage"}:
    # A space may be between two units, and nowhere else.
    LANDS_IN |= {f"{variable}[].{path}": LOGROTATE + ("" if path == "unit" else " ") for variable in LOGS}


def test_it_is_known_where_each_text_lands():
    texts_ = {path for path, rule in RULES.items() if not rule.says.startswith("must be from ")}
    dictionaries = {
        "gunicorn_systemd_releases{value}",
        "app_processes_releases{value}",
        "gunicorn_systemd_secret_files{value}",
        "app_processes_secret_files{value}",
        "python_app_pinned_releases{value}",
        "python_app_extra_requirements_of{value}",
    }
    assert texts_ - dictionaries - {"source.deploy_key"} == LANDS_IN.keys()


@pytest.mark.parametrize(("path", "forbidden"), LANDS_IN.items(), ids=LANDS_IN)
def test_no_place_in_a_good_value_takes_what_breaks_out(path: str, forbidden: str):
    rule = RULES[path]
    goods = {example for example in (rule.example, *GOOD.get(path, [])) if rule.accepts(example)}
    assert goods
    for good in goods:
        for character in forbidden:
            for position in range(len(good) + 1):
                for changed in (
                    good[:position] + character + good[position:],
                    good[:position] + character + good[position + 1 :],
                ):
                    if character in changed and changed.count(character) > good.count(character):
                        assert not rule.accepts(changed), f"{path} accepts {changed!r}"


@given(st.data())
def test_no_text_that_is_accepted_breaks_out(data: st.DataObject):
    """Any text at all, mostly made of what has a meaning somewhere."""
    path = data.draw(st.sampled_from(sorted(LANDS_IN)))
    pieces = [RULES[path].example, *NGINX, *UNIT, "..", "/", "-", "{name}", "é", "٣", "\x85", "\u2028"]
    value = "".join(data.draw(st.lists(st.sampled_from(pieces) | st.text(max_size=3), max_size=5)))
    if RULES[path].accepts(value):
        allowed = value.replace("{name}", "") if path.startswith(tuple(EVERY_ROLE)) else value
        assert not set(allowed) & set(LANDS_IN[path]), value
        assert "\n" not in value or path.endswith(("snippet", "page"))


@pytest.mark.parametrize("path", [path for path in LANDS_IN if not path.endswith(("{value}", "csp", "snippet"))])
def test_an_argument_is_never_taken_for_an_option(path: str):
    assert not RULES[path].accepts("-" + RULES[path].example)
    assert not RULES[path].accepts("--help")
