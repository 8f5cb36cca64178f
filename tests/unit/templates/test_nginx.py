"""What nginx is told."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.unit.templates.rendering import TEMPLATES, lines, render

NGINX = [template for template, role in TEMPLATES.items() if role == "nginx_proxy"]
SITE = "site.conf.j2"


def block(text: str, head: str) -> list[str]:
    """The lines of one block without blocks of its own."""
    found = re.findall(rf"{re.escape(head)} \{{\n(.*?)\n\s*\}}", text, re.DOTALL)
    assert len(found) == 1, f"{head} is {len(found)} times in\n{text}"
    return lines(found[0])


@pytest.mark.parametrize("template", NGINX)
@pytest.mark.parametrize("debian", ["12", "13"])
def test_every_directive_ends_and_every_block_is_closed(template: str, debian: str):
    for line in lines(render(template, debian, static={"path": "static"})):
        assert line.endswith((";", "{", "}")), line
    text = "\n".join(lines(render(template, debian, static={"path": "static"})))
    assert text.count("{") == text.count("}")


# --- TLS and HTTP/2, as the host's versions know them --------------------------------------------------------------------


def test_http2_is_a_directive_of_its_own_where_nginx_knows_it():
    site = lines(render(SITE, "13"))
    assert {"listen 443 ssl;", "listen [::]:443 ssl;", "http2 on;"} <= set(site)
    assert not [line for line in site if line.startswith("listen") and "http2" in line]


def test_http2_belongs_to_listen_where_nginx_is_older():
    site = lines(render(SITE, "12"))
    assert {"listen 443 ssl http2;", "listen [::]:443 ssl http2;"} <= set(site)
    assert "http2 on;" not in site


@pytest.mark.parametrize(
    ("debian", "groups"),
    [("12", "X25519:prime256v1:secp384r1"), ("13", "X25519MLKEM768:X25519:prime256v1:secp384r1")],
)
def test_a_group_that_openssl_does_not_know_is_not_asked_for(debian: str, groups: str):
    conf = render("nginx.conf.j2", debian)
    assert [line for line in lines(conf) if "curve" in line] == [f"ssl_ecdh_curve {groups};"]
    assert ("X25519MLKEM768" in conf) == (debian == "13")


@pytest.mark.parametrize(("debian", "off"), [("12", True), ("13", False)])
def test_session_tickets_are_off_where_their_key_never_changes(debian: str, off: bool):
    assert ("ssl_session_tickets off;" in lines(render("nginx.conf.j2", debian))) is off


def test_only_current_protocols_and_ciphers_are_offered():
    conf = lines(render("nginx.conf.j2"))
    assert "ssl_protocols TLSv1.2 TLSv1.3;" in conf
    (ciphers,) = [line for line in conf if line.startswith("ssl_ciphers")]
    assert all(re.match(r"ECDHE-(ECDSA|RSA)-(AES|CHACHA)", cipher) for cipher in ciphers.split()[1].split(":"))
    assert not [line for line in conf if line.startswith(("ssl_dhparam", "ssl_stapling"))]
    assert "server_tokens off;" in conf


# --- a site -----------------------------------------------------------------------------------------------------------------


def test_a_site_has_its_names_certificate_logs_and_upstream():
    text = render(SITE, domains=["shop.example.com", "www.example.com"])
    assert lines(text).count("server_name shop.example.com www.example.com;") == 2
    assert {
        "ssl_certificate /etc/nginx/certificates/shop/fullchain.pem;",
        "ssl_certificate_key /etc/nginx/certificates/shop/privkey.pem;",
        "access_log /var/log/nginx/shop.access.log;",
        "error_log /var/log/nginx/shop.error.log;",
        "client_max_body_size 10m;",
        "include /etc/nginx/snippets/flask-ops-headers.conf;",
    } <= set(lines(text))
    assert block(text, "upstream shop") == [
        "server unix:/run/shop/current.sock max_fails=0;",
        "keepalive 16;",
        "keepalive_timeout 2s;",
    ]
    assert "proxy_pass http://shop;" in block(text.rpartition("\nserver {")[2], "location /")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"client_max_body_size": "1g"}, "client_max_body_size 1g;"),
        ({"nginx_proxy_upstream": "unix:/tmp/{name}.sock"}, "server unix:/tmp/shop.sock max_fails=0;"),
        ({"timeout": 90}, "proxy_read_timeout 95s;"),
        ({"timeout": 90}, "proxy_send_timeout 95s;"),
        ({"nginx_proxy_https_port": 8443}, "listen 8443 ssl;"),
        ({"nginx_proxy_http_port": 8080}, "listen 8080;"),
        ({"nginx_proxy_http_port": 8080}, "listen [::]:8080;"),
    ],
)
def test_an_option_of_a_site_lands_where_it_should(variables: dict[str, Any], expected: str):
    assert expected in lines(render(SITE, **variables))
    assert expected not in lines(render(SITE))


@pytest.mark.parametrize(
    ("port", "target"), [(443, "https://$host$request_uri"), (8443, "https://$host:8443$request_uri")]
)
def test_http_is_redirected_to_the_port_of_https(port: int, target: str):
    assert f"return 301 {target};" in lines(render(SITE, nginx_proxy_https_port=port))


def test_answers_to_a_certificate_authority_are_not_redirected():
    answers = block(render(SITE, nginx_proxy_https_port=8443), "location ^~ /.well-known/acme-challenge/")
    assert answers == ["root /var/lib/flask-ops/challenges;", "default_type text/plain;"]


@pytest.mark.parametrize("template", [SITE, "00-unknown-names.conf.j2"])
def test_ipv6_is_left_out_where_the_kernel_lacks_it(template: str):
    assert "[::]" in render(template)
    assert "[::]" not in render(template, nginx_proxy_ipv6=False)


@pytest.mark.parametrize("static", [None, {"path": "app/static", "url": "/assets/"}])
def test_static_files_have_a_location_only_when_asked_for(static: dict[str, str] | None):
    https = render(SITE, static=static).rpartition("\nserver {")[2]
    locations = [line for line in lines(https) if line.startswith("location")]
    assert locations == (["location ^~ /assets/ {", "location / {"] if static else ["location / {"])


def test_static_files_come_from_the_published_directory():
    text = render(SITE, static={"path": "app/static"}, nginx_proxy_static_directory="/var/{name}/s")
    assert "alias /var/shop/s/;" in block(text, "location ^~ /static/")


def test_no_location_has_headers_of_its_own_and_loses_the_common_ones():
    text = render(SITE, static={"path": "static"})
    assert "add_header" not in text
    headers = lines(render("flask-ops-headers.conf.j2"))
    assert headers
    assert all(re.fullmatch(r"add_header [A-Za-z-]+ [A-Za-z-]+ always;", line) for line in headers)


# --- what the app may trust, and who is refused ---------------------------------------------------------------------------------


def test_no_header_that_the_app_could_trust_comes_from_the_client():
    set_by_us = dict(re.findall(r"proxy_set_header (\S+) (.+);", render("flask-ops-proxy.conf.j2")))
    assert set_by_us.keys() >= {
        "Host", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix",
        "X-Forwarded-Proto", "X-Forwarded-Protocol", "X-Forwarded-Ssl", "X-Real-IP", "Proxy",
    }  # fmt: skip
    assert not [value for value in set_by_us.values() if value.startswith(("$http_", "$proxy_add_", "$arg_"))]
    assert set_by_us["X-Forwarded-For"] == "$remote_addr"
    assert set_by_us["Connection"] == '""', "or no connection to the app is kept"


def test_names_that_no_site_has_are_refused():
    unknown = lines(render("00-unknown-names.conf.j2", nginx_proxy_http_port=8080, nginx_proxy_https_port=8443))
    assert {"listen 8080 default_server;", "return 444;"} <= set(unknown)
    assert {"listen 8443 ssl default_server;", "ssl_reject_handshake on;"} <= set(unknown)
    assert "default_server" not in render(SITE)
