"""nginx's configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.templates.rendering import TEMPLATES, lines, published, render

NGINX = [
    template
    for template, role in TEMPLATES.items()
    if role == "nginx_proxy" and template not in ("nginx.service.conf.j2", "htpasswd.j2")
]
SITE = "site.conf.j2"
PAGES = ["= /.flask-ops/refused.html", "^~ /.flask-ops/"]


EVERYTHING: dict[str, Any] = {
    "domains": ["shop.example.com", "www.shop.example.com"],
    "static": {"path": "static", "url": "/assets/"},
    "nginx_proxy_http3": True,
    "nginx_proxy_trusted_proxies": ["10.0.0.0/8"],
    "canonical_domain": True,
    "allow": ["192.0.2.0/24"],
    "basic_auth": {"alice": "$6$saltsaltsalt$" + "a" * 86},
    "request_limits": {"rate": "10r/s", "connections": 5, "dry_run": True},
    "health": {"path": "/healthz?full=1"},
    "csp": "default-src 'self'",
    "headers": {"X-Frame-Options": "", "Permissions-Policy": 'geolocation=(self "https://a.example")'},
    "locations": [
        {
            "path": "/ws/",
            "websocket": True,
            "allow": ["192.0.2.1"],
            "client_max_body_size": "1g",
            "snippet": "expires 1h;",
        },
        {"path": "/slow/", "timeout": 90},
        {"path": "/old", "redirect": "/new"},
    ],
    "snippet": "merge_slashes on;",
}
"""A site with every option."""


def block(text: str, head: str) -> list[str]:
    """The lines of one block without blocks of its own."""
    found = re.findall(rf"{re.escape(head)} \{{\n(.*?)\n\s*\}}", text, re.DOTALL)
    assert len(found) == 1, f"{head} is {len(found)} times in\n{text}"
    return lines(found[0])


@pytest.mark.parametrize("template", NGINX)
@pytest.mark.parametrize("debian", ["12", "13"])
def test_every_directive_ends_and_every_block_is_closed(template: str, debian: str):
    for options in ({}, EVERYTHING):
        rendered = lines(render(template, debian, **options))
        for line in rendered:
            # A directive of several lines has texts in single quotes.
            assert line.endswith((";", "{", "}", "'")), line
        text = re.sub(r"'[^']*'|\{\d+,\d+\}", "", "\n".join(rendered))
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
    [("12", "X25519:prime256v1:secp384r1"), ("13", "?X25519MLKEM768:X25519:prime256v1:secp384r1")],
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
        "access_log /var/log/nginx/shop.access.log json buffer=64k flush=1s;",
        "error_log /var/log/nginx/shop.error.log;",
        "client_max_body_size 10m;",
        "include /etc/nginx/snippets/shop-headers.conf;",
    } <= set(lines(text))
    assert block(text, "upstream shop") == [
        "server unix:/run/flask-ops/shop/current/1.sock max_fails=0;", "keepalive 16;", "keepalive_timeout 2s;", "keepalive_time 5s;",
    ]  # fmt: skip
    assert "proxy_pass http://shop;" in lines(text)


def test_a_client_is_sent_to_the_same_instance_each_time():
    assert block(render(SITE, instances=2), "upstream shop")[:3] == [
        "hash $binary_remote_addr consistent;",
        "server unix:/run/flask-ops/shop/current/1.sock max_fails=0;",
        "server unix:/run/flask-ops/shop/current/2.sock max_fails=0;",
    ]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"client_max_body_size": "1g"}, "client_max_body_size 1g;"),
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


def test_challenges_of_a_ca_are_not_redirected():
    answers = block(render(SITE, nginx_proxy_https_port=8443), "location ^~ /.well-known/acme-challenge/")
    assert answers == ["root /var/lib/flask-ops/challenges;", "default_type text/plain;"]


@pytest.mark.parametrize("template", [SITE, "00-unknown-names.conf.j2"])
def test_ipv6_is_left_out_where_the_kernel_lacks_it(template: str):
    assert "[::]" in render(template)
    assert "[::]" not in render(template, nginx_proxy_ipv6=False)


@pytest.mark.parametrize(("options", "expected"), [({}, [*PAGES, "/"]), (EVERYTHING, [
    *PAGES, "@old_static", "^~ /assets/", "/ws/", "/slow/", "= /old", "/",
])])  # fmt: skip
def test_a_site_has_the_locations_that_are_asked_for(options: dict[str, Any], expected: list[str]):
    *_, server = render(SITE, **options).split("\nserver {")
    assert re.findall(r"location (.+) \{", server) == expected


def test_static_files_come_from_the_published_directory():
    text = render(SITE, static={"path": "app/static"})
    assert "alias /srv/shop/current/static/;" in lines(text)
    assert "root /srv/shop/old-static;" in block(text, "location @old_static")
    assert "static" not in "".join(line for line in lines(render(SITE)) if "headers" not in line)


def test_a_location_with_headers_of_its_own_has_the_common_ones_too():
    for options in ({}, EVERYTHING):
        for location in re.findall(r"location [^{]+\{\n(.*?)\n    \}", render(SITE, **options), re.DOTALL):
            assert ("add_header" in location) == ("include /etc/nginx/snippets/shop-headers.conf;" in location)


def test_a_static_file_has_the_same_headers_and_its_own():
    site, static = render(SITE, **EVERYTHING), lines(render("static.conf.j2", **EVERYTHING))
    assert site.count("include /etc/nginx/snippets/shop-static.conf;") == 2
    for variable, value in re.findall(r'map \$upstream_http_\w+ \$(\w+) \{\s+"" (".*");', site):
        name = re.search(rf"add_header (\S+) \${variable} always;", render("headers.conf.j2", **EVERYTHING))
        assert name
        assert f"add_header {name[1]} {value} always;" in static
    assert {
        "add_header Cache-Control $static_cache_control;",
        'add_header Last-Modified "";',
        "gzip_static on;",
    } <= set(static)
    assert [line for line in static if "geolocation" in line] == [
        r'add_header Permissions-Policy "geolocation=(self \"https://a.example\")" always;'
    ]


def test_each_header_is_sent_unless_the_app_sends_it_itself():
    site, headers = render(SITE, **EVERYTHING), render("headers.conf.j2", **EVERYTHING)
    sent = re.findall(r"add_header (\S+) \$(\w+) always;", headers)
    assert [name for name, _ in sent] == [
        "Strict-Transport-Security", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Content-Security-Policy",
        "Permissions-Policy",
    ]  # fmt: skip
    for name, variable in sent:
        assert f"map $upstream_http_{name.lower().replace('-', '_')} ${variable} {{" in lines(site)
    assert '"" "geolocation=(self \\"https://a.example\\")";' in lines(site)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"hsts": {"max_age": 60}}, '"" "max-age=60";'),
        ({"hsts": {"include_subdomains": True, "preload": True}}, '"" "max-age=63072000; includeSubDomains; preload";'),
        ({"csp": "x", "csp_report_only": True}, "map $upstream_http_content_security_policy_report_only $shop_content_security_policy_report_only {"),
        ({"request_limits": {"rate": "5r/m"}}, "limit_req_zone $shop_limited zone=shop_requests:10m rate=5r/m;"),
        ({"request_limits": {"rate": "5r/m", "burst": 7}}, "limit_req zone=shop_requests burst=7 nodelay;"),
        ({"request_limits": {"connections": 3}}, "limit_conn shop_connections 3;"),
        ({"request_limits": {"connections": 3, "dry_run": True}}, "limit_conn_dry_run on;"),
        ({"request_limits": {"rate": "5r/m"}, "health": {"path": "/healthz?x=1"}}, '"~^/healthz$" "";'),
        ({"request_limits": {"rate": "5r/m"}, "health": {"path": "/caf%C3%A9.x"}}, '"~^/café\\.x$" "";'),
        ({"streaming": True}, "proxy_buffering off;"),
        ({"streaming": True}, "proxy_read_timeout 3605s;"),
        ({"locations": [{"path": "/a", "streaming": True}]}, "proxy_buffering off;"),
        ({"locations": [{"path": "/a", "streaming": True}]}, "gzip off;"),
        ({"locations": [{"path": "/a", "timeout": 90}]}, "proxy_read_timeout 95s;"),
        ({"locations": [{"path": "/a", "websocket": True}]}, "proxy_read_timeout 3605s;"),
        ({"locations": [{"path": "/a", "snippet": "expires 1h;"}]}, "expires 1h;"),
        ({"basic_auth": {"alice": "long password"}}, 'proxy_set_header Authorization "";'),
        ({"nginx_proxy_log_format": "text"}, "access_log /var/log/nginx/shop.access.log text buffer=64k flush=1s;"),
        ({"nginx_proxy_http3": True}, "listen [::]:443 quic;"),
    ],
)  # fmt: skip
def test_an_option_becomes_a_directive(options: dict[str, Any], expected: str):
    assert expected in lines(render(SITE, **options))
    assert expected not in lines(render(SITE))


@pytest.mark.parametrize(
    ("options", "at_server", "in_location"),
    [
        ({}, "35s", []),
        ({"locations": [{"path": "/a", "timeout": 90}]}, "35s", ["95s"]),
        ({"locations": [{"path": "/a", "snippet": "proxy_read_timeout 7s;"}]}, "35s", ["7s"]),
        ({"locations": [{"path": "/a", "streaming": True, "snippet": "proxy_read_timeout 7s;"}]}, "35s", ["7s"]),
        ({"snippet": "proxy_read_timeout 7s;"}, "7s", []),
        ({"snippet": "location /x { proxy_read_timeout 7s; }"}, "35s", []),
        ({"streaming": True, "locations": [{"path": "/a", "streaming": False}]}, "3605s", ["35s"]),
    ],
)
def test_a_snippet_may_have_another_timeout(options: dict[str, Any], at_server: str, in_location: list[str]):
    *_, server = render(SITE, **options).split("\nserver {")
    found = re.findall(r"(?m)^( +)proxy_read_timeout (\w+);", server)
    assert [value for indent, value in found if len(indent) == 4] == [at_server]
    assert [value for indent, value in found if len(indent) == 8] == in_location


ADD_UP = {
    *("access_log", "alias", "allow", "deny", "error_log", "error_page", "if", "include", "limit_conn", "limit_req", "listen"),
    *("proxy_hide_header", "server_name", "set", "ssl_certificate", "ssl_certificate_key", "}"),
}  # fmt: skip
"""Directives that nginx takes more than once on a level."""


def taken_once(text: str, indentation: int) -> set[str]:
    found = re.findall(rf"(?m)^ {{{indentation}}}(proxy_set_header \S+|[a-z0-9_}}]+)", text)
    return {name for name in found if name.split()[0] not in ADD_UP | {"location"}}


@pytest.mark.parametrize("debian", ["12", "13"])
def test_a_snippet_replaces_every_directive_of_ours_that_nginx_takes_once(debian: str):
    location = {"path": "/a", "streaming": True, "timeout": 90, "client_max_body_size": "1g"}
    options = EVERYTHING | {"locations": [location]}
    *_, server = render(SITE, debian, **options).split("\nserver {")
    shared = re.sub("(?m)^", " " * 8, render("flask-ops-proxy.conf.j2", debian, **options))
    in_location = taken_once(server.split("location /a {")[1].split("    location / {")[0] + shared, 8)
    assert in_location >= {"gzip", "proxy_buffering", "proxy_pass", "proxy_set_header Host", "proxy_read_timeout"}
    for directive in in_location:
        text = render(SITE, debian, **options | {"locations": [location | {"snippet": f"{directive} theirs;"}]})
        block = text.split("location /a {")[1].split("    location / {")[0]
        assert re.findall(rf"(?m)^ +{directive} .*", block) == [f"        {directive} theirs;"]
    at_server = taken_once(server, 4)
    assert at_server >= {"auth_basic", "client_max_body_size", "limit_req_dry_run", "proxy_read_timeout"}
    for directive in at_server:
        *_, server = render(SITE, debian, **options | {"snippet": f"{directive} theirs;"}).split("\nserver {")
        assert re.findall(rf"(?m)^    {directive} .*", server) == [f"    {directive} theirs;"]


def test_a_directive_in_a_block_or_a_comment_of_a_snippet_replaces_nothing():
    snippet = "# gzip on;\nif ($a) { gzip on; }\ninclude /etc/x;"
    text = render(SITE, locations=[{"path": "/a", "streaming": True, "snippet": snippet}])
    found = lines(text.split("location /a {")[1].split("    location / {")[0])
    assert {"gzip off;", "include /etc/nginx/snippets/flask-ops-proxy.conf;", "include /etc/x;"} <= set(found)


def test_a_template_of_the_user_overrides_blocks_of_a_site(tmp_path: Path):
    mine = tmp_path / "mine.conf.j2"
    mine.write_text(
        "{% extends 'site.conf.j2' %}\n{% block tls %}\n{{ super() }}    ssl_trusted_certificate /etc/ca.pem;\n{% endblock %}\n"
        "{% block locations %}\n    location /{{ app.name }}/ {\n        return 204;\n    }\n{% endblock %}\n"
    )
    ours, theirs = render(SITE, **EVERYTHING), render(SITE, extended_by=str(mine), **EVERYTHING)
    assert theirs.startswith("# Managed by Ansible (flask_ops.production)")
    before, _, after = ours.partition("    location ^~ /assets/ {")
    _, _, end = after.partition("    merge_slashes on;")
    added = "    ssl_certificate_key /etc/nginx/certificates/shop/privkey.pem;\n"
    *first, last = before.rsplit(added, 1)
    assert theirs == (
        f"{first[0]}{added}    ssl_trusted_certificate /etc/ca.pem;\n{last}"
        "    location /shop/ {\n        return 204;\n    }\n"
        f"\n    merge_slashes on;{end}"
    )


@pytest.mark.parametrize("block", ["upstream", "server", "tls", "headers", "locations"])
def test_a_site_has_the_documented_blocks(block: str, tmp_path: Path):
    mine = tmp_path / "mine.conf.j2"
    mine.write_text(f"{{% extends 'site.conf.j2' %}}{{% block {block} %}}# mine\n{{% endblock %}}\n")
    assert render(SITE, extended_by=str(mine)).count("# mine\n") == 1


def test_settings_of_the_proxy_are_where_a_site_or_a_location_may_override_them():
    settings = [
        "proxy_http_version",
        "proxy_request_buffering",
        "proxy_buffering",
        "proxy_buffer_size",
        "proxy_buffers",
    ]
    of_all = [line.split()[0] for line in lines(render("nginx.conf.j2")) if line.startswith("proxy_")]
    assert set(settings) <= set(of_all)
    directives = {line.split()[0] for line in lines(render("flask-ops-proxy.conf.j2"))}
    assert directives == {"proxy_set_header", "proxy_hide_header"}
    assert "proxy_buffer" not in render(SITE)


def test_gunicorn_takes_what_nginx_lets_in():
    nginx, gunicorn = render("nginx.conf.j2"), render("server.conf.py.j2")
    (size,) = re.findall(r"large_client_header_buffers \d+ (\d+)k;", nginx)
    assert "limit_request_line = 0" in lines(gunicorn), "no limit"
    (most,) = re.findall(r"limit_request_field_size = (\d+)", gunicorn)
    assert int(most) >= int(size) * 1024


@pytest.mark.parametrize(
    ("path", "target", "head", "directive"),
    [
        ("/old", "/new", "= /old", "return 301 /new$is_args$args;"),
        ("/old", "/new?a=b", "= /old", "return 301 /new?a=b$further_args;"),
        ("/old", "https://a.example/x#y", "= /old", "return 301 https://a.example/x$is_args$args#y;"),
        ("/old/", "/new", "/old/", "return 301 /new$is_args$args;"),
    ],
)
def test_a_redirect_keeps_the_query(path: str, target: str, head: str, directive: str):
    text = render(SITE, locations=[{"path": path, "redirect": target}])
    assert block(text, f"    location {head}") == [directive]


def test_a_redirect_of_a_directory_keeps_what_is_below_it():
    text = render(SITE, locations=[{"path": "/v1.0/", "redirect": "/v1.1/"}])
    assert r"if ($request_uri ~ ^/v1\.0/(?<below>.*)$) {" in lines(text)
    assert {"return 301 /v1.1/$below;", "return 301 /v1.1/$is_args$args;"} <= set(lines(text))


def test_headers_of_a_snippet_replace_ours():
    location = {"path": "/a", "snippet": "add_header X-Frame-Options ALLOWALL always;"}
    assert [line.split()[1] for line in block_with(location) if line.startswith("add_header")] == [
        "Strict-Transport-Security", "X-Content-Type-Options", "Referrer-Policy", "X-Frame-Options",
    ]  # fmt: skip
    site = lines(render(SITE, snippet="add_header Referrer-Policy no-referrer always;"))
    assert len([line for line in site if line.startswith("add_header Referrer-Policy")]) == 1
    within = lines(render(SITE, snippet="location /x { add_header Referrer-Policy no-referrer always; }"))
    assert "add_header Strict-Transport-Security $shop_strict_transport_security always;" not in within


def block_with(location: dict[str, Any]) -> list[str]:
    text = render(SITE, locations=[location])
    return lines(text.split(f"location {location['path']} {{")[1].split("    location / {")[0])


def test_the_start_page_is_no_health_path_by_default():
    limited = render(SITE, request_limits={"rate": "5r/m"})
    assert block(limited, "map $uri $shop_limited") == ["default $binary_remote_addr;"]


def test_a_password_has_the_same_hash_in_each_run_and_a_hash_stays():
    users = {"bob": "$6$saltsaltsalt$" + "a" * 86, "alice": "a plain password"}
    first, second = (lines(render("htpasswd.j2", basic_auth=users)) for _ in range(2))
    assert first == second
    alice, bob = first
    assert re.fullmatch(r"alice:\$6\$[0-9a-f]{16}\$[A-Za-z0-9./]{86}", alice), "5000 rounds are implied"
    assert bob == "bob:" + users["bob"]
    (other,) = lines(render("htpasswd.j2", basic_auth={"carol": "a plain password"}))
    assert other.partition(":")[2] != alice.partition(":")[2]


# --- what the app may trust, and who is refused ---------------------------------------------------------------------------------


def test_no_header_that_the_app_could_trust_comes_from_the_client():
    set_by_us = dict(re.findall(r"proxy_set_header (\S+) (.+);", render("flask-ops-proxy.conf.j2")))
    assert set_by_us.keys() >= {
        "Host", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix",
        "X-Forwarded-Proto", "X-Forwarded-Protocol", "X-Forwarded-Ssl", "X-Real-IP", "Proxy",
    }  # fmt: skip
    assert not [value for value in set_by_us.values() if value.startswith(("$http_", "$proxy_add_", "$arg_"))]
    assert set_by_us["X-Forwarded-For"] == "$forwarded_for"
    assert 'proxy_set_header Connection "";' in lines(render(SITE)), "or no connection to the app is kept"


def test_loopback_is_no_way_past_an_access_rule():
    for template in NGINX:
        text = render(template, **EVERYTHING).replace("listen 127.0.0.1:9112;", "").replace("    allow 127.0.0.1;", "")
        assert not re.search(r"127\.0\.0\.0|::1|(allow|geo).*127\.0\.0\.1", text), template


def probe_server(**options: Any) -> str:
    (found,) = re.findall(r"server \{\n    listen unix:.*?\n\}\n", render(SITE, **options), re.DOTALL)
    return found


def test_a_switch_asks_the_new_slot_over_a_new_connection_whatever_visitors_may():
    for options in ({}, EVERYTHING):
        server = lines(probe_server(**options))
        assert server[1] == "listen unix:/run/flask-ops/nginx/shop.sock;"
        assert {"proxy_pass http://probe.shop;", "proxy_set_header Connection close;"} <= set(server)
        assert not re.search("allow|deny|auth|closed|limit_|merge_slashes", "".join(server))
        assert block(render(SITE, **options), "upstream probe.shop") == [
            "server unix:/run/flask-ops/shop/current/1.sock max_fails=0;"
        ]


def test_all_instances_are_there_for_a_switch_too():
    assert len(block(render(SITE, instances=3), "upstream probe.shop")) == 3


@pytest.mark.parametrize(("port", "host"), [(443, "$host"), (8443, "$forwarded_host")])
def test_the_app_gets_the_port_that_the_client_used(port: int, host: str):
    proxied = lines(render("flask-ops-proxy.conf.j2", nginx_proxy_https_port=port))
    assert {f"proxy_set_header Host {host};", f"proxy_set_header X-Forwarded-Host {host};"} <= set(proxied)
    conf = render("nginx.conf.j2", nginx_proxy_https_port=port)
    if port == 443:
        assert "$forwarded_host" not in conf
        return
    kept, by = block(conf, 'map "$server_port $http_host" $forwarded_host')[1].rstrip(";").rsplit(" ", 1)
    assert by == "$host:8443"
    pattern = kept.strip('"').removeprefix("~")
    for given in ("8443 shop.example.com:8443", "8443 ", " shop.example.com"):
        assert re.search(pattern, given)
    for given in ("8443 shop.example.com", "8443 shop.example.com:443", "8443 shop.example.com:18443", "443 "):
        assert not re.search(pattern, given)


def test_names_that_no_site_has_are_refused():
    unknown = lines(render("00-unknown-names.conf.j2", nginx_proxy_http_port=8080, nginx_proxy_https_port=8443))
    assert {"listen 8080 default_server;", "return 444;"} <= set(unknown)
    assert {"listen 8443 ssl default_server;", "ssl_reject_handshake on;"} <= set(unknown)
    assert "default_server" not in render(SITE)


def test_a_site_may_answer_clients_without_a_name():
    site = lines(render(SITE, default_site=True, canonical_domain=True, domains=["shop.example.com", "b.example.com"]))
    for listen in (
        "listen 80 default_server;",
        "listen 443 ssl default_server;",
        "listen [::]:443 ssl default_server;",
    ):
        assert site.count(listen) == 1
    unknown = render("00-unknown-names.conf.j2", default_site=True)
    assert "default_server" not in unknown
    assert lines(unknown).count('server_name "~^(?!\\[).*[a-z]";') == 2
    assert block(render("nginx.conf.j2", default_site=True), "map $host $site_name") == [
        "default shop.example.com;", '"~^(?!\\[).*[a-z]" $host;',
    ]  # fmt: skip
    assert "proxy_set_header Host $site_name;" in lines(render("flask-ops-proxy.conf.j2", default_site=True))


def test_a_name_below_a_star_has_no_odd_characters():
    refused = "if ($host !~ ^[a-z0-9._-]+$) {"
    assert lines(render(SITE, domains=["shop.example.com", "*.shop.example.com"])).count(refused) == 2
    assert refused not in lines(render(SITE))


@pytest.mark.parametrize(
    ("changed", "reloaded", "expected"),
    [
        ([], False, []),
        ([], True, ["shop", "blog"]),
        (["/etc/nginx/sites-enabled/blog.conf", "/etc/nginx/sites-enabled/gone.conf"], True, ["blog"]),
        (["/etc/nginx/htpasswd/blog"], True, []),
        (["/etc/nginx/nginx.conf"], True, ["shop", "blog"]),
        (["/etc/nginx/nginx.conf"], False, []),
    ],
)
def test_it_is_published_which_sites_are_served_in_another_way(changed: list[str], reloaded: bool, expected: list[str]):
    sites = [{"name": name, "domains": [f"{name}.example.com"]} for name in ("shop", "blog")]
    files = {"changed_files": changed, "reloaded": reloaded}
    known = published("nginx_proxy", "nginx_proxy_changed_apps", *sites, __nginx_proxy_written=files)
    assert sorted(known) == sorted(expected)


# --- two apps on one domain -----------------------------------------------------------------------------------------------------

PATH = "path.conf.j2"
ROOT: dict[str, Any] = {"name": "root", "domains": ["shop.example.com"]}
"""The app at the root of the domain; the app that a template is rendered for has a path."""
AT_A_PATH: dict[str, Any] = {
    **{name: value for name, value in EVERYTHING.items() if name not in ("canonical_domain", "snippet")},
    "domains": ROOT["domains"],
    "path": "/admin",
}
"""All that such an app can have."""


def test_a_site_includes_the_apps_at_its_paths_and_only_those():
    admin = {"name": "admin", "path": "/admin", "domains": ["shop.example.com"]}
    foreign = {"name": "blog-admin", "path": "/admin", "domains": ["blog.example.com"]}
    gone = {"name": "gone", "path": "/gone", "domains": ["shop.example.com"], "state": "absent"}
    site = lines(render(SITE, others=(admin, foreign, gone)))
    # A pattern that fits one name: nginx passes over it where the file is missing.
    assert [line for line in site if "-path" in line] == ["include /etc/nginx/snippets/admin-path.con[f];"]
    assert "if ($unusual_path) {" in site
    assert "if ($unusual_path) {" not in lines(render(SITE))


def test_an_app_at_a_path_has_no_site_of_its_own_but_a_socket_for_its_switch():
    text = render(SITE, others=(ROOT,), path="/admin", request_limits={"rate": "1r/s"}, health={"path": "/healthz"})
    found = lines(text)
    assert [line for line in found if line.startswith("listen")] == ["listen unix:/run/flask-ops/nginx/shop.sock;"]
    assert not [line for line in found if line.startswith("server_name")]
    assert {"upstream shop {", "upstream probe.shop {", '"~^/admin/healthz$" "";'} <= set(found)


def test_an_app_at_a_path_has_its_own_locations_below_it():
    text = render(PATH, others=(ROOT,), **AT_A_PATH)
    assert re.findall(r"location (.+) \{", text) == [
        "= /admin", "^~ /admin/", "^~ /admin/assets/", "/admin/ws/", "/admin/slow/", "= /admin/old", "/admin/", "@old_static_shop",
    ]  # fmt: skip
    found = lines(text)
    assert {
        "access_log /var/log/nginx/shop.access.log json buffer=64k flush=1s;",
        "return 301 /admin/$is_args$args;",
        "return 301 /admin/new$is_args$args;",
        "include /etc/nginx/snippets/shop-headers.conf;",
        "auth_basic_user_file /etc/nginx/htpasswd/shop;",
        "client_max_body_size 10m;",
        "limit_req zone=shop_requests burst=20 nodelay;",
        "proxy_pass http://shop;",
        "rewrite ^/admin/assets/(?<old_file>.+)$ /$old_file break;",
        "try_files $uri @old_static_shop;",
    } <= set(found)
    # One for each location that answers for the app, and none that asks whether the site is closed.
    assert found.count("if (-f /var/lib/flask-ops/maintenance/shop) {") == 4
    assert "if ($closed) {" not in found
    assert found.count("if ($request_uri !~ ^/admin/) {") == 3


def test_an_app_at_a_path_does_not_inherit_the_access_rules_of_the_site():
    closed = ROOT | {"allow": ["192.0.2.0/24"], "basic_auth": {"alice": "$6$saltsaltsalt$" + "a" * 86}}
    open_ = lines(render(PATH, others=(closed,), path="/admin"))
    own = lines(render(PATH, others=(closed,), **AT_A_PATH))
    assert {"allow all;", "auth_basic off;", "proxy_set_header Authorization $other_authorization;"} <= set(open_)
    assert not {"allow all;", "auth_basic off;"} & set(own)
    assert {"allow 192.0.2.0/24;", "deny all;", "auth_basic Restricted;"} <= set(own)
    assert not {"allow all;", "auth_basic off;"} & set(lines(render(PATH, others=(ROOT,), path="/admin")))


def test_visitors_of_an_app_at_a_path_see_the_error_pages_of_a_site_that_is_closed_to_them():
    admin = {"name": "admin", "path": "/admin", "domains": ["shop.example.com"]}
    rules: dict[str, Any] = {"allow": ["192.0.2.0/24"], "basic_auth": {"alice": "$6$saltsaltsalt$" + "a" * 86}}
    for page in PAGES:
        assert {"allow all;", "auth_basic off;"} <= set(
            block(render(SITE, others=(admin,), **rules), f"location {page}")
        )
        assert not {"allow all;", "auth_basic off;"} & set(block(render(SITE, **rules), f"location {page}"))


def test_hsts_belongs_to_the_site():
    site = render(SITE, others=(ROOT | {"hsts": {"max_age": 77}},), path="/admin", headers={"X-Own": "1"})
    assert '"" "max-age=77";' in lines(site)
    assert '"" "1";' in lines(site)


def test_the_certificate_of_an_app_is_deleted_when_it_moves_to_a_path_of_another():
    apps = [ROOT, {"name": "admin", "path": "/admin", "domains": ["shop.example.com"]}]
    assert published("letsencrypt", "letsencrypt_unwanted_names", *apps) == ["admin"]


def test_the_timer_for_certificates_may_replace_the_link_that_nginx_reads():
    assert "ReadWritePaths=/etc/letsencrypt -/etc/nginx/certificates" in lines(render("letsencrypt.service.j2"))
