"""What people write into an inventory that must not get any further: a case for each row of a list of bad inputs.

Each case is a host of its own. What only a host can tell (a port that is taken, a key that does not fit) is with the
tests of the role that asks; what there is no option for is refused as an unknown option or variable.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

CANARY = "canary-2f8d61c09b7e44a3"
"""In every secret of every case. It must never be in what a run says."""

SECRETS: dict[str, Any] = {"TOKEN": CANARY, "FLASK_SECRET_KEY": f"{CANARY}-and-random-7c1f0e2d"}
SHOP: dict[str, Any] = {
    "name": "shop",
    "source": {"git": "https://git.example.com/acme/shop.git", "version": "v1.4.2"},
    "wsgi": "shop:create_app()",
    "domains": ["shop.example.com"],
    "secrets": SECRETS,
    "basic_auth": {"alice": CANARY},
}
SECRET_VARIABLES: dict[str, Any] = {
    "node_exporter_passwords": {"prometheus": CANARY},
    "letsencrypt_eab": {"kid": "kid-1", "hmac_key": CANARY},
    "letsencrypt_dns_credentials": {"dns_rfc2136_secret": CANARY},
}
REAL_NAME = "shop.flask-shop.com"
PEM_CANARY = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{CANARY}"


class Case(NamedTuple):
    """One host of the inventory."""

    row: int
    place: str
    """What the line of its error begins with."""
    says: str
    """What else is in that line: the rule, or a good value, or both with ``...`` between them."""
    apps: Any
    variables: dict[str, Any]


CASES: list[Case] = []


def app(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in (copy.deepcopy(SHOP) | changes).items() if value is not ...}


def bad_app(row: int, place: str, says: str, **changes: Any) -> None:
    """One app with something wrong in it; an option that is ``...`` is left out."""
    CASES.append(Case(row, f"flask_apps[0].{place}", says, [app(**changes)], {}))


def bad_variable(row: int, says: str, place: str = "", **variables: Any) -> None:
    """A right app, and a wrong variable."""
    CASES.append(Case(row, place or next(iter(variables)), says, [app()], variables))


def clash(row: int, place: str, says: str, *apps: dict[str, Any]) -> None:
    """Apps that are right, but not together."""
    CASES.append(Case(row, place, says, list(apps), {}))


def blog(**changes: Any) -> dict[str, Any]:
    return app(**{"name": "blog", "domains": ["blog.example.com"]} | changes)


# fmt: off
# --- names --------------------------------------------------------------------------------------------------------------
bad_app(1, "name", "is missing...good value is shop", name=...)
bad_app(1, "name", "must be 2 to 30...good value is shop", name="")
bad_app(1, "name", "is missing...good value is shop", name=None)
bad_app(1, "wsgi", "is missing...good value is shop:create_app()", wsgi=...)
bad_app(1, "domains", "is missing...good value is shop.example.com", domains=...)
bad_app(1, "domains", "must have at least one name...good value is shop.example.com", domains=[])
for name in ("../../etc", "a/b", "-shop", ".shop", "Shop", "sh op", "münchen", "shop\n"):
    bad_app(2, "name", "must be 2 to 30 lower-case letters...good value is shop", name=name)
bad_app(3, "name", "must be 2 to 30...good value is shop", name="s" * 33)
for name in ("letsencrypt", "uv", "nginx", "prometheus", "flask-ops", "flask-ops-metrics"):
    bad_app(4, "name", "not begin with flask-ops or be one of...good value is shop", name=name)

# --- two apps -----------------------------------------------------------------------------------------------------------
clash(5, "flask_apps[1].name", "'shop' is already flask_apps[0].name", app(), blog(name="shop"))
clash(5, "flask_apps[1].name", "'shop' is already flask_apps[0].name", app(), {"name": "shop", "state": "absent"})
clash(6, "flask_apps[1].domains[1]", "'shop.example.com' is already flask_apps[0].domains[0]; each app needs a domain",
    app(), blog(domains=["blog.example.com", "shop.example.com"]))
clash(6, "flask_apps[0].domains[1]", "'shop.example.com' is already flask_apps[0].domains[0]",
    app(domains=["shop.example.com", "shop.example.com"]))
WORKER = {"name": "worker", "command": "rq worker"}
clash(7, "flask_apps[0].processes[1].name",
    "'shop-worker' is already flask_apps[0].processes[0].name; each process needs", app(processes=[WORKER, WORKER]))
clash(7, "flask_apps[1].processes[0].name", "'shop-a-worker' is already flask_apps[0].processes[0].name",
    app(processes=[{"name": "a-worker", "command": "rq worker"}]), blog(name="shop-a", processes=[WORKER]))
clash(7, "flask_apps[1].processes[0].name", "'shop-a-blue' is already a unit of the app shop-a", blog(name="shop-a"),
    app(processes=[{"name": "a-blue", "command": "rq worker"}]))
for process in ("blue", "green", "migrate", "preflight"):
    bad_app(7, "processes[0].name", f"'shop-{process}' is already a unit of the app shop",
        processes=[WORKER | {"name": process}])
clash(7, "flask_apps[0].processes[0].name", "'node-exporter' is already a unit of the server",
    app(name="node", processes=[WORKER | {"name": "exporter"}]))

# --- ports --------------------------------------------------------------------------------------------------------------
for port in (0, 70000):
    bad_variable(8, "must be from 1 to 65535...good value is 80", nginx_proxy_http_port=port)
bad_variable(8, "must be a whole number, not '80a'...good value is 80", nginx_proxy_http_port="80a")
bad_variable(8, "must be a whole number, not True", nginx_proxy_http_port=True)
bad_variable(7, "8080 is also nginx_proxy_http_port...80, 443", "nginx_proxy_https_port", nginx_proxy_http_port=8080,
    nginx_proxy_https_port=8080)
bad_variable(7, "443 is also nginx_proxy_https_port", "nginx_proxy_status_port", nginx_proxy_status_port=443)
bad_app(10, "port", "is not a known option", port=80)

# --- domains ------------------------------------------------------------------------------------------------------------
for domain in (
    "exa mple.com", "http://shop.example.com", "shop.example.com/", "shop.example.com:443", "shop.example.com.", "-a.com",
    "a" * 64 + ".example.com", ".".join(["a" * 50] * 5) + ".com", "my_shop.example.com", "Shop.example.com", "a.com\n",
):
    bad_app(11, "domains[0]", "must be a full domain name...good value is shop.example.com", domains=[domain])
bad_app(12, "domains[0]", "an international name in its xn-- form...good value is shop.example.com",
    domains=["münchen.de"])

# --- certificates of a CA ----------------------------------------------------------------------------------------------
MAIL = {"letsencrypt_email": "webmaster@flask-shop.com"}


def bad_order(row: int, place: str, says: str, changes: dict[str, Any], **variables: Any) -> None:
    CASES.append(
        Case(row, f"flask_apps[0]{place}", says, [app(**{"domains": [REAL_NAME]} | changes)], MAIL | variables)
    )


bad_order(13, ".domains[1]", "needs the challenge dns-01...acme: {enabled: false}",
    {"domains": [REAL_NAME, "*.flask-shop.com"]})
bad_app(13, "domains[0]", "cannot be '*.example.com'; put another before it", domains=["*.example.com"])
bad_app(14, "domains[0]", "must be a full domain name...good value is", domains=["localhost"])
for domain in ("shop.local", "shop.test", "shop.internal", "shop.example.com"):
    bad_order(14, ".domains[0]", "no public CA knows the name...acme: {enabled: false}", {"domains": [domain]})
bad_app(15, "domains[0]", "must be a full domain name...good value is", domains=["192.0.2.1"])
bad_order(15, ".acme.ip_addresses", "need the profile shortlived", {"acme": {"ip_addresses": ["203.0.113.7"]}})
bad_order(16, ".domains", "101 names are more than the 100", {"domains": [f"a{n}.flask-shop.com" for n in range(101)]})
bad_order(16, ".domains", "26 names are more than the 25 that a certificate of the profile tlsserver",
    {"domains": [f"a{n}.flask-shop.com" for n in range(26)], "acme": {"profile": "tlsserver"}})
for mail in ("ops", "ops@", "ops@example.com", "a b@flask-shop.com"):
    bad_variable(18, "an address that you read...good value is webmaster@", letsencrypt_email=mail)
for server in ("http://ca.flask-shop.com/dir", "ca.flask-shop.com", "https://",
    f"https://me:{CANARY}@ca.flask-shop.com/dir"):
    bad_variable(19, "must be the https URL of an ACME directory...good value is https://", letsencrypt_server=server)
bad_app(21, "acme.profile", "must be the name of a profile...good value is tlsserver", acme={"profile": "short lived"})
bad_order(22, "", "leave it out with letsencrypt_server", {}, letsencrypt_staging=True,
    letsencrypt_server="https://ca.flask-shop.com/dir")
CASES[-1] = CASES[-1]._replace(place="letsencrypt_staging")
bad_app(23, "certificate.privkey", "is missing...good value is /", certificate={"fullchain": "/etc/ssl/shop.pem"})
bad_variable(25, "is not one of", nginx_proxy_tls="TLSv1")
bad_app(26, "hsts.include_subdomains", "must be true", hsts={"preload": True})
bad_app(26, "hsts.max_age", "good value is 63072000",
    hsts={"preload": True, "include_subdomains": True, "max_age": 3600})

# --- gunicorn -----------------------------------------------------------------------------------------------------------
for workers in (0, -1, 10000):
    bad_app(27, "workers", "must be from 1 to 256...good value is 4", workers=workers)
for wrong_number in (2.5, True, "auto"):
    bad_app(27, "workers", "must be a whole number, not...good value is 4", workers=wrong_number)
bad_app(28, "threads", "goes with worker_class gthread", threads=4, worker_class="sync")
for worker_class in ("eventlet", "uvicorn.workers.UvicornWorker"):
    bad_app(29, "worker_class", "is not one of...gthread", worker_class=worker_class)
bad_app(30, "timeout", "must be from 1 to 3600 seconds...good value is 30", timeout=0, worker_class="sync")
bad_app(30, "graceful_timeout", "must be from 1 to 3600 seconds...good value is 30", graceful_timeout=0)
bad_app(31, "max_requests", "is not a known option", max_requests=10)
for wsgi in ("app.py", "app", "a:b:c", "$(id):app", "a:b;c", "a:b\n"):
    bad_app(32, "wsgi", "must be 'module:callable'...good value is shop:create_app()", wsgi=wsgi)
bad_app(33, "woker_class", "is not a known option; did you mean 'worker_class'?", woker_class="sync")
bad_app(34, "preload", "does not go with worker_class gevent", preload=True, worker_class="gevent")
bad_app(34, "reload", "is not a known option", reload="hup")

# --- sources ------------------------------------------------------------------------------------------------------------
GIT = SHOP["source"]["git"]
bad_app(36, "source.version", "is needed with git; a good value is v1.4.2", source={"git": GIT})
for version in ("-v1", "--upload-pack=id", "a..b", "v1\n", "v 1"):
    bad_app(37, "source.version", "must be a branch, a tag or a full commit id...good value is v1.4.2",
        source={"git": GIT, "version": version})
for git in (f"https://me:{CANARY}@git.example.com/shop.git", f"https://{CANARY}@git.example.com/shop.git",
    "ext::sh -c id", "git@-oProxyCommand=id:x", "--upload-pack=id", "file:///srv/shop.git"):
    bad_app(38, "source.git", "without a password in it...good value is https://", source={"git": git, "version": "v1"})
bad_app(38, "source.deploy_key", "with all of its lines...good value is",
    source=SHOP["source"] | {"deploy_key": PEM_CANARY})
bad_app(39, "source.known_hosts[0]", "must be a line of a known_hosts file...ssh-ed25519",
    source=SHOP["source"] | {"known_hosts": ["git.example.com"]})
for directory in ("..", "a/../..", "/etc", "a b"):
    bad_app(40, "source.subdirectory", "below the top of the source...good value is services/shop",
        source=SHOP["source"] | {"subdirectory": directory})
bad_app(41, "requirements", "below the top of the source...good value is requirements.txt", requirements="/etc/passwd")
bad_app(42, "python", "must be the absolute path of an interpreter...good value is /usr/bin/python3", python="3.7")
bad_variable(43, "must be from 1 to 100...good value is 3", python_app_keep_releases=0)

# --- environment and secrets --------------------------------------------------------------------------------------------
for key in ("1A", "A-B", "", "PATH", "LD_PRELOAD", "PYTHONHOME"):
    bad_app(46, f"env: the name '{key}'", "must be letters, digits and underscores...good value is", env={key: "x"})
bad_app(46, "secrets: the name 'TOKEN'", "must be letters, digits and underscores", secrets={f"TOKEN={CANARY}": "x"})
bad_app(46, "secrets", "must be a dictionary", secrets=[f"TOKEN={CANARY}"])
bad_app(46, "env", "must be a dictionary", env=f"TOKEN={CANARY}")
for no_value in ("a\x1bTOKEN=b", "a\0b", [CANARY], {"a": CANARY}, None):
    bad_app(47, "secrets.A", "the value must be a text without control characters...good value is",
        secrets={"A": no_value})
bad_app(47, "secrets.A", "the value must be a text without control characters", secrets={"A": f"{CANARY}\x07"})
bad_app(50, "secrets.A", "is also in flask_apps[0].env; keep one of them", env={"A": "x"}, secrets={"A": CANARY})
for secret in ("", "changeme", "changeme" * 4, "short-secret"):
    bad_app(51, "secrets.FLASK_SECRET_KEY", "at least 22 characters...good value is",
        secrets={"FLASK_SECRET_KEY": secret})
bad_app(53, "env.FLASK_DEBUG", "shows the app's insides...good value is 0", env={"FLASK_DEBUG": "1"})
bad_app(53, "env.FLASK_ENV", "good value is production", env={"FLASK_ENV": "development"})

# --- nginx --------------------------------------------------------------------------------------------------------------
for size in ("10mb", "10 m", "10m;", ""):
    bad_app(54, "client_max_body_size", "as nginx takes it...good value is 10m", client_max_body_size=size)
for path in ("/a b", "/a{", "/a;", "/a\n", "ws/", "/"):
    bad_app(55, "locations[0].path", "must be a path that begins with '/'...good value is /ws/",
        locations=[{"path": path}])
bad_app(55, "locations[1].path", "'/a/' has a location already", locations=[{"path": "/a/"}, {"path": "/a/"}])
for path in ("/etc", "../static", "a b", "static;"):
    bad_app(56, "static.path", "below the top of the source...good value is shop/static", static={"path": path})
for rate in ("10/s", "10", "0r/s", "10r/s;"):
    bad_app(57, "request_limits.rate", "requests per second (r/s)...good value is 10r/s", request_limits={"rate": rate})
for value in ("a\r\nX: b", "$host", CANARY + "\n"):
    bad_app(58, "headers.X-A", "the value must be a text on one line...good value is", headers={"X-A": value})
bad_app(58, "headers: the name 'X'", "must be letters, digits and hyphens...good value is", headers={"X A": "b"})
bad_app(58, "csp", "must be one line without '$'...good value is default-src", csp="a\nb")
bad_app(59, "snippet", "without control characters...good value is", snippet="a\0b;")
for network in ("10.0.0.0/33", "10.0.0.1/8", "all", "10.0.0.0/8;"):
    bad_app(60, "allow[0]", "whose host bits are zero...good value is 192.0.2.0/24", allow=[network])
bad_variable(60, "whose host bits are zero", "nginx_proxy_trusted_proxies[0]",
    nginx_proxy_trusted_proxies=["10.0.0.1/8"])
bad_app(61, "basic_auth: the name 'a'", "without ':'...good value is alice", basic_auth={"a:b": CANARY})
bad_app(61, "basic_auth.alice", "or a password of 8 characters...good value is", basic_auth={"alice": "short"})
bad_app(61, "basic_auth.alice", "must be a hash that begins with", basic_auth={"alice": f"$1${CANARY}"})

# --- logs and metrics ---------------------------------------------------------------------------------------------------
bad_variable(62, "is not one of...daily", logrotate_frequency="dayly")
bad_variable(62, "must be from 1 to 1000...good value is 14", logrotate_keep=-1)
bad_variable(62, "as logrotate takes it...good value is 100M", logrotate_maxsize="10 megs")


def log(**changes: Any) -> list[dict[str, Any]]:
    return [{"name": "mine", "paths": ["/var/log/mine/*.log"]} | changes]


bad_variable(62, "and no file of the system's...good value is /var/log/", "logrotate_extra_files[0].paths[0]",
    logrotate_extra_files=log(paths=["/etc/passwd"]))
bad_variable(63, "is also covered by '/var/log/mine/*.log'", "logrotate_extra_files[1].paths[0]",
    logrotate_extra_files=[*log(), *log(name="other", paths=["/var/log/mine/a.log"])])
bad_variable(63, "'mine' is already logrotate_extra_files[0].name", "logrotate_extra_files[1].name",
    logrotate_extra_files=[*log(), *log(paths=["/srv/x/a.log"])])
bad_variable(64, "is open to the network...a good value is 127.0.0.1", node_exporter_address="0.0.0.0",
    node_exporter_passwords={})
bad_variable(64, "must be a text of 12 to 72 bytes", "node_exporter_passwords.prometheus",
    node_exporter_passwords={"prometheus": "canary"})
bad_variable(64, "must be a bcrypt hash", "node_exporter_users.reader", node_exporter_users={"reader": CANARY})
ARCHIVE = {"archive": "https://files.example.com/shop.tar.gz"}
bad_app(66, "source.checksum", "is needed with a URL; a good value is sha256:", source=ARCHIVE)
for checksum in ("0f" * 32, "sha256:" + "0f" * 31, "md5:" + "0f" * 16, "sha256:" + "zz" * 32):
    bad_app(66, "source.checksum", "64 hexadecimal digits...good value is sha256:",
        source=ARCHIVE | {"checksum": checksum})
bad_variable(66, "must be a SHA-256", "node_exporter_checksums.amd64", node_exporter_checksums={"amd64": "0f"})

# --- misspelt names -----------------------------------------------------------------------------------------------------
bad_app(67, "wokers", "is not a known option; did you mean 'workers'?", wokers=4)
bad_app(67, "health.deadine", "is not a known option; did you mean 'deadline'?", health={"deadine": 10})
for wrong, right in {
    "python_app_keep_relases": "python_app_keep_releases", "gunicorn_systemd_sharde_by": "gunicorn_systemd_shared_by",
    "app_processes_relases": "app_processes_releases", "nginx_proxy_htpps_port": "nginx_proxy_https_port",
    "letsencrypt_emial": "letsencrypt_email", "logrotate_kep": "logrotate_keep",
    "node_exporter_adress": "node_exporter_address", "flask_aps": "flask_apps", "flsk_apps": "flask_apps",
    "Flask_apps": "flask_apps", "flask_appps": "flask_apps", "letsencypt_email": "letsencrypt_email",
    "letencrypt_email": "letsencrypt_email", "ngnix_proxy_https_port": "nginx_proxy_https_port",
    "nginx_porxy_http3": "nginx_proxy_http3", "pyhton_app_python": "python_app_python",
    "log_rotate_keep": "logrotate_keep",
}.items():
    bad_variable(67, f"is not a variable of...did you mean '{right}'?", **{wrong: "x"})
# fmt: on

# --- other than bad values of options -----------------------------------------------------------------------------------
CASES += [
    Case(52, "flask_apps", "'nope' is undefined", [app(wsgi="{{ nope }}")], {}),
    Case(52, "nginx_proxy_http_port", "'nope' is undefined", [app()], {"nginx_proxy_http_port": "{{ nope }}"}),
    Case(1, "flask_apps", "must be a list of apps, not 'shop'", "shop", {}),
    Case(1, "flask_apps", "must be a list of apps, not a dictionary", {"shop": app()}, {}),
    Case(1, "flask_apps[0]", "must be a dictionary with a 'name', not a list", [["shop", CANARY]], {}),
]

ROWS = {
    1: "an option that is needed is missing or empty, or the list of apps is none",
    2: "a name that is a path, an option of a command, or no name of a user",
    3: "a name that is too long",
    4: "a name that a user or a service of the system has",
    5: "two apps of one name",
    6: "two apps, or one of them twice, with one domain",
    7: "two units, or two services of the server, of one name or on one port",
    8: "a port that is none",
    9: "a port that another program has",
    10: "a port for an app",
    11: "a domain that is none",
    12: "a domain in its own letters",
    13: "a wildcard without the challenge that it needs, or in first place",
    14: "a certificate of a CA for a name that no CA knows",
    15: "an address for a domain, or in a certificate that cannot have it",
    16: "more names than a certificate may have",
    17: "no email address",
    18: "an email address that is none, or of an example",
    19: "a CA's directory that is no URL with https, or has a password in it",
    20: "a CA that is down",
    21: "a profile that is none",
    22: "the CA's staging, and another CA",
    23: "a certificate without its key",
    24: "a key that others can read",
    25: "a version of TLS that is broken",
    26: "HSTS preload without what it needs",
    27: "a number of workers that is none, or out of range",
    28: "threads for workers that have none",
    29: "a worker class that is not supported",
    30: "a time limit that is none",
    31: "an option that would recycle workers",
    32: "a module and a callable that are none, or a command",
    33: "a misspelt option of the server",
    34: "options that exclude each other",
    35: "a gunicorn that is too old",
    36: "a git source without a version",
    37: "a version that is an option of a command, a range, or no name",
    38: "a git URL with a password, or of a kind that runs commands; a deploy key that is none",
    39: "a line of known_hosts that is none",
    40: "a subdirectory outside of the source",
    41: "a requirements file outside of the source",
    42: "a version of Python where its path belongs",
    43: "no releases to keep",
    45: "a mount that runs nothing",
    46: "a name of a variable that is none, or that would change what runs",
    47: "a value with line breaks, or that is no text",
    48: "a value with quotes, backslashes and other marks",
    49: "a value that is a number or a boolean",
    50: "a variable and a secret of one name",
    51: "a secret key that is short or known",
    52: "a template of a variable that is not there",
    53: "debug mode",
    54: "a size that nginx does not know",
    55: "a location that is none, or there twice",
    56: "static files outside of the source",
    57: "a rate that nginx does not know",
    58: "a header that would begin another one",
    59: "a snippet with control characters",
    60: "a network that is none",
    61: "a user or a password that a file of passwords cannot have",
    62: "a rotation that logrotate does not know, or of a file of the system's",
    63: "a file that is rotated twice",
    64: "metrics that are open to the network",
    65: "a variable that a role does not have",
    66: "a download without a checksum, or with one that is none",
    67: "a misspelt name",
    68: "a system that is not supported",
    69: "a host without systemd",
    70: "a clock that is wrong",
}
"""The list: kinds of input that must not get any further than the check, or have a test elsewhere."""

ELSEWHERE = {
    9: "molecule/nginx_proxy-changes/tests/test_runs.py::test_a_port_that_is_taken_is_named_and_nginx_starts_when_it_is_free",
    17: "tests/unit/plugins/checks/test_letsencrypt.py::test_an_account_that_is_bound_needs_an_address",
    20: "molecule/letsencrypt/tests/test_certificates.py::test_an_authority_that_is_down_takes_nothing_with_it",
    24: "tests/unit/plugins/test_own_certificates.py::test_a_key_that_everybody_can_read_is_refused",
    35: "tests/unit/plugins/test_switch.py::test_a_gunicorn_that_drops_requests_is_refused_before_anything_changes",
    48: "tests/unit/plugins/test_environment_value.py::test_any_text_that_the_rules_accept_arrives_as_it_is",
    49: "tests/unit/plugins/test_environment_value.py::test_a_number_or_a_boolean_arrives_as_json",
    65: "tests/unit/plugins/test_names.py::test_a_variable_of_another_collection_is_no_error_and_is_known_as_unread",
    68: "tests/unit/plugins/test_platform.py::test_a_host_that_is_not_supported_is_refused_by_name",
    69: "tests/unit/plugins/test_prepare_apps.py::test_a_host_without_systemd_is_refused",
    70: "tests/unit/plugins/test_prepare_apps.py::test_a_clock_that_is_an_hour_off_is_a_warning",
}
"""The rows that an inventory alone cannot show, with the test that shows each."""

NOT_TESTED = {45: "on a `noexec` mount"}
"""The rows that no test shows, with the words of docs/not-tested.md."""
