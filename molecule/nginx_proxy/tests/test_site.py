"""What a client gets from nginx, and what the app behind it gets."""

import base64
import json
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.waiting import eventually


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


def test_challenges_of_a_ca_are_served_over_http(host, echo):
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
    with pytest.raises(ConnectionError):
        echo.ask("/", headers={"Host": "unknown.test.example"}, port=80)


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
        "X-Request-ID": "192.0.2.1",
        "Forwarded": "for=192.0.2.1",
        "Proxy": "http://192.0.2.1",
        "Upgrade": "h2c",
        "X-Own": "kept",
    }
    got = echo.ask("/", headers=lies).json["headers"]
    assert got.pop("x-forwarded-for") == got.pop("x-real-ip")
    assert got.pop("x-forwarded-proto") == "https"
    assert got.pop("x-forwarded-host") == got.pop("host") == "echo.test.example"
    assert got.pop("x-forwarded-port") == "443"
    assert got.pop("x-own") == "kept"
    assert len(got.pop("x-request-id")) == 32
    assert not {name for name in got if name.startswith(("x-", "x_", "forwarded", "proxy", "upgrade"))}
    assert "192.0.2.1" not in str(got)


def is_protected(answer):
    headers = answer.headers
    assert headers["Strict-Transport-Security"] == "max-age=63072000"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "SAMEORIGIN"
    assert headers["Referrer-Policy"] == "strict-origin-when-cross-origin"
    assert headers["Permissions-Policy"] == "camera=(), microphone=()"
    assert headers["Content-Security-Policy-Report-Only"] == "default-src 'self'"
    assert headers["Server"] == "nginx"
    assert not {"X-Powered-By", "Via", "Alt-Svc", "Content-Security-Policy"} & set(headers.keys())


ANSWERS = {
    "the app's": ("/", 200),
    "an error of the app's": ("/?status=500+Broken", 500),
    "of a static file": ("/assets/style.css", 200),
    "of a static file that is not there": ("/assets/missing.css", 404),
    "of a static file of an earlier release": ("/assets/app.0e2d9b84.js", 200),
    "where WebSockets may be": ("/ws/", 200),
    "of a location with a snippet": ("/raw", 200),
    "of a location that is closed": ("/inside/", 403),
    "of a location that streams": ("/events/", 200),
    "a redirect": ("/moved", 301),
    "a redirect of a directory": ("/moved-directory/a", 301),
    "an address of nginx's own": ("/.flask-ops/error.html", 404),
    "of a location in a snippet": ("/snippet", 204),
    "to a path that is refused": ("//a", 400),
    "to a path with dots": ("/a/%2e%2e/b", 400),
    "to a path that is too long": ("/" + "a" * 9000, 414),
    "of the app that is late": ("/?sleep=9", 504),
    "of a file that is handed over": ("/report", 200),
}
"""Of nginx and of the app, by what they are: the path that is asked for, and the status."""


@pytest.mark.parametrize("kind", ANSWERS)
def test_every_answer_carries_the_protective_headers_and_hides_what_serves(echo, kind):
    path, status = ANSWERS[kind]
    answer = echo.ask(path)
    assert answer.status == status
    is_protected(answer)


@pytest.mark.parametrize(
    ("method", "body", "headers", "status"),
    [
        ("POST", b"x" * 1_100_000, {}, 413),
        ("TRACE", None, {}, 405),
        ("GET", None, {"X-Long": "x" * 9000}, 400),
        ("GET", None, {"Content-Length": "-1"}, 400),
        ("GET", None, {"Transfer-Encoding": "other"}, 501),
    ],
)
def test_a_request_that_nginx_refuses_is_answered_with_the_protective_headers(echo, method, body, headers, status):
    answer = echo.ask("/", method, body, headers)
    assert answer.status == status
    is_protected(answer)
    if status in (400, 413):
        assert "This request cannot be answered" in answer.body


def test_answers_that_ask_for_a_password_or_refuse_too_many_have_the_headers_too(site):
    guarded = site("guarded", "guarded.test.example")
    refused = guarded.ask("/")
    assert (refused.status, refused.headers["X-Content-Type-Options"]) == (401, "nosniff")
    limited = site("limited", "limited.test.example")
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: limited.ask("/"), range(12)))
    (too_many, *_) = [answer for answer in answers if answer.status == 429]
    assert too_many.headers["Strict-Transport-Security"] == "max-age=63072000"
    assert "This request cannot be answered" in too_many.body


def test_a_header_that_the_app_sends_itself_is_not_doubled(echo):
    assert echo.ask("/own-headers").headers.get_all("X-Frame-Options") == ["DENY"]


def test_static_files_do_not_reach_the_app(echo):
    answer = echo.ask("/assets/style.css")
    assert (answer.status, answer.body) == (200, "body {}\n")
    assert echo.ask("/assets/missing.css").status == 404
    assert echo.ask("/assets/style.css", "POST").status == 405


def test_a_file_with_a_digest_in_its_name_is_never_asked_for_again(echo):
    assert echo.ask("/assets/app.3f2c9a1b.js").headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert echo.ask("/assets/app.ffffffff.js").headers["Cache-Control"] is None, "it is not there"


def test_any_other_file_is_validated_by_its_etag(echo):
    answer = echo.ask("/assets/style.css")
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Last-Modified"] is None
    assert echo.ask("/assets/style.css", headers={"If-None-Match": answer.headers["ETag"]}).status == 304
    assert echo.ask("/assets/style.css", headers={"If-None-Match": '"other"'}).status == 200


@pytest.mark.parametrize("encoding", ["br", "gzip"])
def test_files_are_sent_as_they_were_compressed_at_the_deploy(echo, encoding):
    answer = echo.ask("/assets/app.3f2c9a1b.js", headers={"Accept-Encoding": encoding})
    assert answer.headers["Content-Encoding"] == encoding
    assert answer.body == f"(compressed by {encoding.replace('br', 'brotli')})"
    assert echo.ask("/assets/app.3f2c9a1b.js").body == "new()\n"


def test_a_file_of_an_earlier_release_is_still_there_and_a_newer_one_goes_before_it(echo):
    old = echo.ask("/assets/app.0e2d9b84.js")
    assert (old.status, old.body) == (200, "old()\n")
    assert old.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert echo.ask("/assets/style.css").body == "body {}\n"


def test_a_body_that_is_too_large_is_refused(echo):
    assert echo.ask("/", "POST", b"x" * 1_000_000).json["length"] == 1_000_000
    assert echo.ask("/", "POST", b"x" * 1_100_000).status == 413


def test_the_key_of_the_certificate_is_for_root_only(host):
    with host.sudo():
        key = host.file("/etc/nginx/self-signed/echo/privkey.pem")
        assert (key.user, key.mode) == ("root", 0o600)


def test_a_location_has_a_limit_of_its_own(echo):
    assert echo.ask("/upload/", "POST", b"x" * 1_100_000).json["length"] == 1_100_000
    assert echo.ask("/upload/", "POST", b"x" * 2_200_000).status == 413


def arrivals(site, path):
    """When each server-sent event came, in seconds after the first."""
    times: list[float] = []
    began = None
    with site.connect() as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {site.name}\r\nAccept-Encoding: gzip\r\n\r\n".encode())
        while len(times) < 3:
            received = connection.recv(65536)
            began = began or time.monotonic()
            times += [time.monotonic() - began] * received.count(b"data: ")
    return times


@pytest.mark.parametrize(
    ("name", "path"),
    [("echo", "/events/"), ("echo", "/events-by-hand/"), ("streaming", "/events"), ("echo", "/events-by-header")],
)
def test_events_arrive_one_by_one(site, name, path):
    first, second, third = arrivals(site(name, f"{name}.test.example"), path)
    assert second - first > 0.2
    assert third - second > 0.2


@pytest.mark.parametrize(("name", "path"), [("echo", "/events-else"), ("streaming", "/events/buffered")])
def test_answers_are_buffered_elsewhere(site, name, path):
    times = arrivals(site(name, f"{name}.test.example"), path)
    assert max(times) < 0.2


def test_an_answer_may_have_large_headers(echo):
    assert len(echo.ask("/?cookies=25").headers.get_all("Set-Cookie")) == 25
    assert echo.ask("/?cookies=45").status == 502
    assert len(echo.ask("/large-headers/?cookies=45").headers.get_all("Set-Cookie")) == 45


@pytest.mark.parametrize("length", [3000, 4100, 8000])
def test_a_request_line_of_8_kib_reaches_the_app(echo, length):
    path = "/?q=" + "x" * length
    assert echo.ask(path).json["path"] == path


def test_a_longer_request_line_or_header_is_answered_by_nginx(echo):
    assert echo.ask("/?q=" + "x" * 9000).status == 414
    answer = echo.ask("/", headers={"X-Long": "x" * 9000})
    assert answer.status == 400
    assert len(echo.ask("/", headers={"X-Long": "x" * 8100}).json["headers"]["x-long"]) == 8100


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("style.css", "text/css"),
        ("module.mjs", "text/javascript"),
        ("app.webmanifest", "application/manifest+json"),
        ("main.css.map", "application/json"),
        ("font.ttf", "font/ttf"),
        ("program.wasm", "application/wasm"),
        ("picture.avif", "image/avif"),
        ("readme.txt", "text/plain"),
        ("unknown.xyz", "application/octet-stream"),
    ],
)
def test_a_static_file_has_the_type_of_its_suffix(echo, file, expected):
    headers = echo.ask(f"/assets/{file}").headers
    assert headers.get_content_type() == expected
    assert headers.get_content_charset() == ("utf-8" if expected.startswith("text/") else None)


def test_names_and_paths_may_be_as_long_as_the_rules_allow(host):
    *_, longest = host.ansible.get_variables()["nginx_proxy_apps"]
    (domain,) = longest["domains"]
    assert (len(domain), len(longest["name"])) == (253, 30)
    asked = "curl --silent --insecure --include --resolve {name}:443:127.0.0.1 https://{name}{path}"
    for _ in range(4):  # more than the limit takes of any other path
        answer = host.check_output(asked.format(name=domain, path=longest["health"]["path"]))
        assert "200 OK" in answer or answer.startswith("HTTP/2 200")
        assert f"x-{'a' * 62}: long" in answer.lower()


def test_a_location_may_be_closed_moved_or_written_by_hand(echo):
    assert echo.ask("/inside/").status == 403
    assert echo.ask("/raw").json["headers"]["x-raw"] == "yes"
    assert echo.ask("/snippet").status == 204


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/moved", "https://echo.test.example/assets/style.css"),
        ("/moved?a=b&c=%2F", "https://echo.test.example/assets/style.css?a=b&c=%2F"),
        ("/moved-with-query", "https://echo.test.example/new?from=old#top"),
        ("/moved-with-query?a=b", "https://echo.test.example/new?from=old&a=b#top"),
        ("/moved-directory/", "https://echo.test.example/new/"),
        ("/moved-directory/a/b?c=d", "https://echo.test.example/new/a/b?c=d"),
        ("/moved-directory/caf%C3%A9%20%3F%23x", "https://echo.test.example/new/caf%C3%A9%20%3F%23x"),
        ("/moved-into-one/a?b=c", "https://elsewhere.example/page?b=c"),
    ],
)
def test_a_redirect_keeps_the_query_and_below_a_directory_the_path(echo, path, location):
    answer = echo.ask(path)
    assert (answer.status, answer.headers["Location"]) == (301, location)


@pytest.mark.parametrize("path", ["/moved/", "/movedx", "/moved/x", "/moved-with-query/x"])
def test_a_redirect_of_one_path_is_for_this_path_alone(echo, path):
    assert echo.ask(path).json["decoded"] == path


def test_no_line_break_gets_into_a_redirect(echo):
    answer = echo.ask("/moved-directory/a%0d%0aSet-Cookie:%20a=b")
    assert "Set-Cookie" not in answer.headers
    assert answer.status in (301, 404)


def test_a_snippet_adds_headers_and_replaces_ours_but_loses_none(echo):
    headers = echo.ask("/framed/").headers
    assert headers.get_all("X-Frame-Options") == ["ALLOWALL"]
    assert headers["X-Added"] == "yes"
    assert headers["Strict-Transport-Security"] == "max-age=63072000"
    assert headers["Permissions-Policy"] == "camera=(), microphone=()"


def test_a_snippet_replaces_directives_of_its_location(echo):
    answer = echo.ask("/overridden/", "POST", b"x" * 1_100_000).json
    assert (answer["length"], answer["headers"]["x-real-ip"]) == (1_100_000, "192.0.2.9")


def test_a_template_of_the_user_overrides_a_block_of_each_site(echo, site):
    for name, served in (("echo", echo), ("limited", site("limited", "limited.test.example"))):
        assert (served.ask("/block").status, served.ask("/block").body) == (200, name)
    assert echo.ask("/").json["path"] == "/"


def test_a_location_may_answer_preflight_requests_of_cors_itself(echo):
    answer = echo.ask(
        "/cors/", "OPTIONS", headers={"Origin": "https://front.example", "Access-Control-Request-Method": "PUT"}
    )
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, "https://front.example")
    assert echo.ask("/cors/").json["path"] == "/cors/"


def test_an_app_may_hand_a_file_over_to_nginx(echo):
    assert echo.ask("/report").body == "for members\n"
    assert echo.ask("/handed-over/report.txt").status == 404


def test_a_body_that_comes_slowly_counts_as_a_request_under_way(site):
    counted = site("counted", "counted.test.example")
    slow = [counted.connect() for _ in range(2)]
    for connection in slow:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: counted.test.example\r\nContent-Length: 100\r\n\r\na")
    try:
        eventually(lambda: counted.ask("/").status == 429, seconds=5)
    finally:
        for connection in slow:
            connection.close()
    eventually(lambda: counted.ask("/").status == 200, seconds=5)


def websocket(echo, path, upgrade=b"websocket"):
    connection = echo.connect()
    connection.sendall(
        b"GET "
        + path
        + b" HTTP/1.1\r\nHost: echo.test.example\r\nConnection: Upgrade\r\nUpgrade: "
        + upgrade
        + b"\r\n\r\n"
    )
    return connection, connection.recv(65536)


def test_websockets_are_opened_where_they_are_allowed(echo):
    connection, answer = websocket(echo, b"/ws/chat")
    with connection:
        assert answer.startswith(b"HTTP/1.1 101 ")
        connection.sendall(b"hello")
        assert connection.recv(1024) == b"hello"


@pytest.mark.parametrize(("path", "upgrade"), [(b"/", b"websocket"), (b"/ws/chat", b"h2c")])
def test_nothing_else_is_switched_to(echo, path, upgrade):
    connection, answer = websocket(echo, path, upgrade)
    with connection:
        assert answer.startswith(b"HTTP/1.1 200 ")


def test_an_answer_that_takes_too_long_ends_with_a_page_that_is_not_nginx_s(echo):
    assert echo.ask("/?sleep=3").status == 200, "longer than the timeout of 2, but within the 5 that nginx adds"
    late = echo.ask("/?sleep=9")
    assert late.status == 504
    is_protected(late)
    assert "does not answer at the moment" in late.body
    assert "nginx" not in late.body
    assert (late.headers["Retry-After"], late.headers["Cache-Control"]) == ("60", "no-store")


def test_the_app_s_own_errors_go_out_as_they_are(echo):
    answer = echo.ask("/?status=503+Busy")
    assert (answer.status, answer.json["path"]) == (503, "/?status=503+Busy")


LOGGED = """
    time request_id client user host method uri protocol tls status bytes request_bytes seconds upstream_status
    upstream_connect_seconds upstream_header_seconds upstream_seconds referer agent
    """.split()
"""The keys that docs/nginx.md promises."""


def test_every_request_is_a_line_of_json(host, echo):
    answer = echo.ask("/logged?a=%22b", headers={"User-Agent": 'a "quoted" \\ agent'})
    with host.sudo():
        eventually(lambda: host.run("grep /logged /var/log/nginx/echo.access.log").succeeded, seconds=5)
        lines = host.check_output("tail -n 20 /var/log/nginx/echo.access.log").splitlines()
    (line,) = [entry for entry in map(json.loads, lines) if entry["uri"] == "/logged?a=%22b"]
    assert list(line) == LOGGED
    assert line["request_id"] == answer.json["headers"]["x-request-id"]
    assert (line["status"], line["upstream_status"], line["method"]) == (200, "200", "GET")
    assert 0 <= float(line["upstream_seconds"]) <= line["seconds"] + 0.01
    assert line["agent"] == 'a "quoted" \\ agent'


def test_nginx_shows_its_counters_to_this_host_alone(host, echo):
    assert "Active connections" in host.check_output("curl --silent --fail http://127.0.9.1:9112/nginx_status")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((echo.address, 9112), timeout=10)


def test_more_requests_than_the_limit_are_refused_but_not_those_for_health(site):
    limited = site("limited", "limited.test.example")
    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(lambda _: limited.ask("/").status, range(12)))
    assert set(statuses) == {200, 429}
    assert {limited.ask("/healthz").status for _ in range(6)} == {200}


def test_more_requests_at_once_than_the_limit_are_refused(site):
    counted = site("counted", "counted.test.example")
    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(lambda _: counted.ask("/?sleep=3").status, range(6)))
    assert set(statuses) == {200, 429}
    assert counted.ask("/").status == 200


def test_a_dry_run_of_a_limit_refuses_nothing_and_logs_what_it_would_refuse(host, site):
    watched = site("watched", "watched.test.example")
    assert {watched.ask("/").status for _ in range(4)} == {200}
    with host.sudo():
        assert "limiting requests, dry run" in host.file("/var/log/nginx/watched.error.log").content_string


def test_users_get_in_by_password_and_the_app_does_not_see_it(host, site):
    guarded = site("guarded", "guarded.test.example")
    assert guarded.ask("/").status == 401
    for user, password in (("alice", "canary-71c0de55"), ("bob", "a hashed password")):
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        answer = guarded.ask("/", headers={"Authorization": f"Basic {basic}"})
        assert answer.status == 200
        assert "authorization" not in answer.json["headers"]
        wrong = base64.b64encode(f"{user}:wrong password".encode()).decode()
        assert guarded.ask("/", headers={"Authorization": f"Basic {wrong}"}).status == 401
    with host.sudo():
        file = host.file("/etc/nginx/htpasswd/guarded")
        assert (file.user, file.group, file.mode) == ("root", "www-data", 0o640)
        assert "canary-71c0de55" not in file.content_string


@pytest.mark.parametrize(("name", "path", "status"), [("guarded", "/", "401"), ("echo", "/inside/", "403")])
@pytest.mark.parametrize("loopback", ["127.0.0.1", "127.1.2.3", "[::1]"])
def test_loopback_is_no_way_past_a_password_or_an_access_rule(host, name, path, status, loopback):
    asked = f"curl --silent --insecure --output /dev/null --write-out %{{http_code}} --resolve {name}.test.example:443:{loopback}"
    assert host.check_output(f"{asked} https://{name}.test.example{path}") == status


@pytest.mark.parametrize("path", ["/", "/inside/"])
@pytest.mark.parametrize("name", ["echo", "guarded"])
def test_root_asks_an_app_as_if_by_https_past_every_condition(host, name, path):
    ask = f"curl --silent --fail --unix-socket /run/flask-ops/nginx/{name}.sock http://{name}.test.example{path}"
    with host.sudo():
        got = json.loads(host.check_output(ask))["headers"]
    with host.sudo("www-data"):
        assert host.run(ask).failed, "only root may"
    assert (got["host"], got["x-forwarded-host"]) == (f"{name}.test.example", f"{name}.test.example")
    assert (got["x-forwarded-proto"], got["x-forwarded-port"]) == ("https", "443")
    assert got["x-forwarded-for"] == got["x-real-ip"] == "127.0.0.1"


@pytest.mark.parametrize(("name", "port"), [("www.guarded", 443), ("old", 443), ("old", 80), ("guarded", 80)])
def test_other_names_are_redirected_to_the_canonical_one(site, name, port):
    answer = site("guarded", f"{name}.test.example").ask("/a?b=c", port=port)
    assert (answer.status, answer.headers["Location"]) == (301, "https://guarded.test.example/a?b=c")
    if port == 443:
        assert answer.headers["Strict-Transport-Security"] == "max-age=63072000; includeSubDomains; preload"
