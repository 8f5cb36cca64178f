"""What a client gets from the front door, and what the app behind it gets. Later tests build on earlier ones."""

import socket
import ssl
from pathlib import Path

import pytest

CONVERGE = Path(__file__).parents[2] / "shared" / "converge.yml"


@pytest.fixture
def echo(site):
    return site("echo", "echo.test.example")


def test_nginx_runs_and_accepts_its_files(host, unit):
    assert unit("nginx.service").is_running
    assert unit("nginx.service").is_enabled
    with host.sudo():
        checked = host.run("nginx -t")
    assert checked.rc == 0
    assert "[warn]" not in checked.stderr


def test_every_name_answers_over_https(site):
    for name in ("echo.test.example", "other.test.example"):
        assert site("echo", name).ask("/").status == 200


def shake_hands(echo, context):
    with socket.create_connection((echo.address, 443), timeout=10) as plain:
        return context.wrap_socket(plain, server_hostname=echo.name)


def test_http_2_is_offered(echo):
    context = ssl.create_default_context(cadata=echo.certificate)
    context.set_alpn_protocols(["h2"])
    assert shake_hands(echo, context).selected_alpn_protocol() == "h2"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_tls_is_refused(echo):
    context = ssl.create_default_context(cadata=echo.certificate)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        shake_hands(echo, context)


def test_http_is_redirected_to_the_same_page(echo):
    answer = echo.ask("/a?b=c", port=80)
    assert (answer.status, answer.headers["Location"]) == (301, "https://echo.test.example/a?b=c")


def test_answers_for_a_certificate_authority_are_served_over_http(host, echo):
    answers = "/var/lib/flask-ops/challenges/.well-known/acme-challenge"
    with host.sudo():
        host.check_output(f"mkdir -p {answers}")
        host.check_output(f"sh -c 'echo here > {answers}/token'")
    answer = echo.ask("/.well-known/acme-challenge/token", port=80)
    assert (answer.status, answer.body) == (200, "here\n")
    assert echo.ask("/.well-known/acme-challenge/other", port=80).status == 404


def test_unknown_names_are_refused(echo):
    with pytest.raises(ssl.SSLError):
        echo.connect(server_name="unknown.test.example")
    assert echo.ask("/", headers={"Host": "unknown.test.example"}).status == 421


def test_the_app_gets_headers_that_it_can_trust(echo):
    lies = {
        "X-Forwarded-For": "192.0.2.1",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Port": "1",
        "X-Forwarded-Prefix": "/evil",
        "X-Forwarded-Protocol": "http",
        "X-Forwarded-Ssl": "off",
        "X_Forwarded_For": "192.0.2.1",
        "Forwarded": "for=192.0.2.1",
        "Proxy": "http://192.0.2.1",
        "Upgrade": "h2c",
        "X-Own": "kept",
    }
    got = {name.lower(): value for name, value in echo.ask("/", headers=lies).json["headers"]}
    assert got.pop("x-forwarded-for") == got.pop("x-real-ip")
    assert got.pop("x-forwarded-proto") == "https"
    assert got.pop("x-forwarded-host") == got.pop("host") == "echo.test.example"
    assert got.pop("x-forwarded-port") == "443"
    assert got.pop("x-own") == "kept"
    assert len(got.pop("x-request-id")) == 32
    assert not {name for name in got if name.startswith(("x-", "x_", "forwarded", "proxy", "upgrade"))}
    assert "192.0.2.1" not in str(got)


def test_answers_carry_the_protective_headers_and_hide_what_serves(echo):
    for path in ("/", "/assets/style.css", "/assets/missing.css"):
        headers = echo.ask(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "SAMEORIGIN"
        assert headers["Referrer-Policy"] == "strict-origin-when-cross-origin"
        assert headers["Server"] == "nginx"
        assert headers["X-Powered-By"] is None


def test_static_files_do_not_reach_the_app(echo):
    answer = echo.ask("/assets/style.css")
    assert (answer.status, answer.body) == (200, "body {}\n")
    assert echo.ask("/assets/../../etc/passwd").status == 400
    assert echo.ask("/assets/missing.css").status == 404


def test_a_body_that_is_too_large_is_refused(echo):
    assert echo.ask("/", "POST", b"x" * 1_000_000).json["length"] == 1_000_000
    assert echo.ask("/", "POST", b"x" * 1_100_000).status == 413


def test_the_key_of_the_certificate_is_for_root_only(host):
    with host.sudo():
        key = host.file("/etc/nginx/self-signed/echo/privkey.pem")
        assert (key.user, key.mode) == ("root", 0o600)


@pytest.fixture
def apply(host, play):
    """Apply the role with some options of the site changed."""

    def run(**options):
        site = {**host.ansible.get_variables()["nginx_proxy_sites"][0], **options}
        return play(str(CONVERGE), nginx_proxy_sites=[site])

    return run


def test_a_broken_file_of_somebody_else_stops_the_run_and_takes_our_change_back(host, apply, echo):
    with host.sudo():
        host.check_output("sh -c 'echo nonsense > /etc/nginx/sites-enabled/foreign'")
        before = host.file("/etc/nginx/sites-enabled/echo.conf").content_string
        refused = apply(client_max_body_size="2m")
        after = host.file("/etc/nginx/sites-enabled/echo.conf").content_string
        host.check_output("rm /etc/nginx/sites-enabled/foreign")
    assert refused.status != 0
    assert "/etc/nginx/sites-enabled/foreign" in refused.output
    assert before == after
    assert echo.ask("/").status == 200


def test_another_list_of_names_gets_another_certificate_at_once(apply, site):
    changed = apply(domains=["echo.test.example", "new.test.example"])
    assert changed.status == 0, changed.output
    assert site("echo", "new.test.example").ask("/").status == 200
    assert not apply(domains=["echo.test.example", "new.test.example"]).changed


def test_a_certificate_that_somebody_else_provides_is_left_alone_until_it_is_gone(host, apply, echo):
    domains = ["echo.test.example", "new.test.example"]
    with host.sudo():
        host.check_output("cp -a /etc/nginx/self-signed/echo /etc/nginx/better")
        host.check_output("ln -sfn /etc/nginx/better /etc/nginx/certificates/echo")
        assert not apply(domains=domains).changed
        host.check_output("rm -r /etc/nginx/better")
        assert apply(domains=domains).changed
        assert host.file("/etc/nginx/certificates/echo").linked_to == "/etc/nginx/self-signed/echo"
    assert echo.ask("/").status == 200


def test_a_reload_that_was_missed_is_made_up_for(host, apply):
    with host.sudo():
        host.check_output("mkdir -p /run/flask-ops")
        host.check_output("touch /run/flask-ops/nginx.service.pending")
    domains = ["echo.test.example", "new.test.example"]
    assert apply(domains=domains).changed
    assert not apply(domains=domains).changed


def test_an_absent_site_is_gone(host, apply, echo):
    assert apply(state="absent").status == 0
    assert not host.file("/etc/nginx/sites-enabled/echo.conf").exists
    assert not host.file("/etc/nginx/self-signed/echo").exists
    assert not host.file("/etc/nginx/certificates/echo").exists
    with pytest.raises(ssl.SSLError):
        echo.connect()
