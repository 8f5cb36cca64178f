"""What nginx makes of requests that no browser sends. The app behind it is a real gunicorn 27.0.1."""

import http.client
import json
import posixpath
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

ME = b"Host: echo.test.example\r\n"
GET = b"GET / HTTP/1.1\r\n" + ME
POST = b"POST / HTTP/1.1\r\n" + ME
CHUNK = b"\r\n0\r\n\r\n"

PROBES = {
    "content-length and chunked": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + CHUNK, 400),
    "an unknown transfer encoding": (POST + b"Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n" + CHUNK, 501),
    "two transfer encodings": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n" + CHUNK, 400),
    "transfer encoding identity": (POST + b"Transfer-Encoding: identity\r\n\r\n", 501),
    "a chunk size that is none": (POST + b"Transfer-Encoding: chunked\r\n\r\nx\r\n\r\n", 400),
    "content-length with a sign": (POST + b"Content-Length: +3\r\n\r\nabc", 400),
    "a negative content-length": (POST + b"Content-Length: -3\r\n\r\nabc", 400),
    "two content-lengths": (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "a zero byte in a header": (GET + b"X-A: a\0b\r\n\r\n", 400),
    "a zero byte in the path": (GET.replace(b"/ ", b"/%00 ") + b"\r\n", 400),
    "two hosts": (GET + ME + b"\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "a space before the colon": (GET + b"X-Forwarded-For : 192.0.2.1\r\n\r\n", 400),
    "trace": (GET.replace(b"GET", b"TRACE") + b"\r\n", 405),
    "connect": (b"CONNECT evil.example:443 HTTP/1.1\r\n" + ME + b"\r\n", (400, 405)),
    "an unknown host": (GET.replace(b"echo.", b"evil.") + b"\r\n", 421),
    "another host's address": (b"GET https://evil.example/ HTTP/1.1\r\n" + ME + b"\r\n", 421),
    "out of the static files": (b"GET /assets/../../etc/passwd HTTP/1.1\r\n" + ME + b"\r\n", 400),
    "out of them, encoded": (b"GET /assets/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" + ME + b"\r\n", 400),
    "two slashes": (b"GET //evil.example/x HTTP/1.1\r\n" + ME + b"\r\n", 400),
    "two slashes, one encoded": (b"GET /%2fevil.example/x HTTP/1.1\r\n" + ME + b"\r\n", 400),
    "a backslash for a slash": (b"GET /\\evil.example/x HTTP/1.1\r\n" + ME + b"\r\n", 400),
    "an encoded backslash": (b"GET /%5Cevil.example/x HTTP/1.1\r\n" + ME + b"\r\n", 400),
    "a fragment": (b"GET /a#/../b HTTP/1.1\r\n" + ME + b"\r\n", 400),
    "a header of 9 KB": (GET + b"X-A: " + b"a" * 9000 + b"\r\n\r\n", 400),
    "headers of 40 KB": (GET + b"X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 1300 + b"\r\n", 400),
    "a path of 9 KB": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + ME + b"\r\n", 414),
    "http 0.9": (b"GET /\r\n", (None, 400)),
    "noise": (b"\x16\x03\x01\x00\xa5\x01\r\n\r\n", 400),
}
"""By what is sent: the bytes, and the status that comes (one of several; None: closed without an answer)."""

PASSED_ON = {
    "line ends without a carriage return": GET.replace(b"\r", b"") + b"\n",
    "an underscore for a hyphen": GET + b"X_Forwarded_For: 192.0.2.1\r\nScript_Name: /evil\r\n\r\n",
    "forwarded headers": GET
    + b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nForwarded: for=192.0.2.1\r\n\r\n",
    "x-forwarded-ssl": GET + b"X-Forwarded-Ssl: off\r\n\r\n",
    "http/2 by upgrade": GET
    + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    "a websocket where none is allowed": GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
}
"""What reaches the app, but without what it pretends."""


def answer(echo, request):
    """The status of the answer and its body; None when the connection is closed without one."""
    with echo.connect() as connection:
        connection.sendall(request)
        got = http.client.HTTPResponse(connection)
        try:
            got.begin()
            return got.status, got.read().decode()
        except (http.client.BadStatusLine, ConnectionError):
            return None, ""


@pytest.mark.parametrize("probe", PROBES)
def test_what_is_ambiguous_or_too_large_never_reaches_the_app(echo, probe):
    request, expected = PROBES[probe]
    status, body = answer(echo, request)
    assert status in (expected if isinstance(expected, tuple) else (expected,))
    assert '"headers"' not in body


@pytest.mark.parametrize("probe", PASSED_ON)
def test_the_app_gets_no_header_that_a_client_forged(echo, probe):
    status, body = answer(echo, PASSED_ON[probe])
    assert status == 200
    seen = json.loads(body)
    assert seen["scheme"] == "https"
    assert seen["headers"]["x-forwarded-proto"] == "https"
    assert seen["headers"]["x-forwarded-host"] == seen["headers"]["host"] == "echo.test.example"
    assert seen["headers"]["x-forwarded-for"] == seen["headers"]["x-real-ip"]
    assert not seen["headers"].keys() & {"forwarded", "x-forwarded-ssl", "script-name", "upgrade"}
    assert "192.0.2.1" not in body
    assert "/evil" not in body


SEPARATORS = """
    / // /// %2f %2F /%2f %2f%2f %252f \\ %5c /\\ /./ /%2e/ /.%2f /../ /x/../ /x/%2e%2e/ /x/.%2E/ /x/..%2f /x%2f..%2f /x%2f%2e%2e%2f
    /x/%252e%252e/ /x/%25252e./ /x/..;/ /x/..;a=b/ /x/..\\ /x\\..\\ /x/..%5c /x;/../ /x/.../ /x/..%00/ /x#/../ /x?/../ /;/ /.;/
    """.split()
"""Ways to write one step of a path."""


def is_guarded(path):
    """Whether an app could take a path for one below /inside/, also one that tidies up."""
    return posixpath.normpath(re.sub(r"[/\\]+", "/", path)).startswith("/inside/")


def test_no_spelling_of_a_path_bypasses_the_rules_of_a_location(echo):
    """Networks may reach /inside/ that this machine is not in."""
    spellings = {f"{one}inside{two}secret" for one in SEPARATORS for two in SEPARATORS if one.startswith("/")}
    spellings |= {f"/inside{one}a{two}b" for one in SEPARATORS for two in SEPARATORS}
    spellings |= {f"/a{one}..{two}inside/b" for one in SEPARATORS for two in SEPARATORS}
    spellings |= {
        "/%69nside/a",
        "/inside%2Fa",
        "/inside/..",
        "/inside/.",
        "/inside/%2e%2e",
        "/inside/a?/../b",
        "/./inside/a",
    }
    with ThreadPoolExecutor(16) as pool:
        answers = dict(zip(spellings, pool.map(lambda path: spelled(echo, path), spellings), strict=True))
    assert {status for status, _body in answers.values()} <= {200, 301, 400, 403, None}
    reached = [
        path for path, (status, body) in answers.items() if status == 200 and is_guarded(json.loads(body)["decoded"])
    ]
    assert reached == []
    assert [answers[path][0] for path in ("/inside/secret", "/%69nside/a", "/inside%2Fa")] == [403, 403, 403]


def spelled(echo, path):
    return answer(echo, f"GET {path} HTTP/1.1\r\nConnection: close\r\n".encode() + ME + b"\r\n")


@pytest.mark.parametrize(
    "path",
    [
        "/caf%C3%A9",
        "/a%20b",
        "/a/b%2Fc",
        "/a%252Fb",
        "/.well-known/x",
        "/a..b",
        "/...",
        "/a/.b",
        "/a;b=c",
        "/~me",
        "/a?x=/../y",
        "/a?//",
        "/%E2%82%AC.",
        "/A/",
    ],
)
def test_ordinary_paths_reach_the_app_as_they_are(echo, path):
    status, body = spelled(echo, path)
    assert (status, json.loads(body)["path"]) == (200, path)


def test_empty_segments_are_refused_where_a_location_may_have_rules_of_its_own(echo, site):
    assert spelled(echo, "/proxy/https://example.com/")[0] == 400
    streaming = site("counted", "counted.test.example")
    assert streaming.ask("/proxy/https://example.com/").json["decoded"] == "/proxy/https://example.com/"


def test_no_spelling_bypasses_a_password(site):
    guarded = site("guarded", "guarded.test.example")
    paths = ["/a/../b", "/%2e%2e/", "//a", "/a//b", "/a%2fb", "/.flask-ops/error.html", "/.well-known/acme-challenge/x"]
    assert {guarded.ask(path).status for path in paths} <= {400, 401, 404}


def test_http_2_without_tls_is_not_spoken(echo):
    with echo.connect(port=80) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        connection.settimeout(20)
        assert not connection.recv(1024).startswith(b"\0")
