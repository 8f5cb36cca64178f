"""A name's web server may answer anything: that is this name's failure, and no other certificate's."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._certificates import (
    certbot,
    fetch,
    manage,
    model,
    precheck,
)
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.lineage import Lineage, renewal_options
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.manage import ensure, renew_all
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.model import (
    Certificate,
    CertificateError,
    Settings,
    SettingsError,
)
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.precheck import check_names, responses
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.serving import described
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.x509 import X509
from ansible_collections.flask_ops.production.plugins.module_utils._host import files
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError

NAME = "shop.example.com"
TEXT = "the right text"
RIGHT = b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nthe right text"
TOKEN_PATH = "/.well-known/acme-challenge/token"

Answer = bytes | Callable[[socket.socket, str], None]


class Server:
    """A web server on the loopback that answers as a test wants, byte by byte."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(4096) or b"\r\n\r\n"
                if head.startswith(b"\x16"):  # TLS
                    connection.sendall(RIGHT)
                    return
            words = head.decode("latin-1").split()
            if len(words) < 5:
                return
            path, host = words[1], words[words.index("Host:") + 1]
            self.asked.append(path)
            answer = self.answers.get(host, self.answers.get(path, self.answers.get("*", RIGHT)))
            if callable(answer):
                answer(connection, path)
            else:
                connection.sendall(answer)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    running = Server()
    monkeypatch.setattr(fetch, "HTTP_PORT", running.port)
    yield running
    running.listener.close()


def asked(server: Server, answer: Answer, path: str = TOKEN_PATH, seconds: float = 5) -> str:
    server.answers[path] = answer
    return fetch.fetch(NAME, "127.0.0.1", "token", TEXT, time.monotonic() + seconds)


def to(location: str, status: int = 301) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


def drip(connection: socket.socket, _path: str) -> None:
    """A byte now and then: never slow enough for the timeout of a socket."""
    for byte in RIGHT * 100:
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


def drip_body(connection: socket.socket, _path: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"1\r\nx\r\n")
        time.sleep(0.1)


def endless(start: bytes, rest: bytes) -> Callable[[socket.socket, str], None]:
    def send(connection: socket.socket, _path: str) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(rest)

    return send


def silent(connection: socket.socket, _path: str) -> None:
    connection.recv(1)


# --- answers that are right -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "location",
    [
        "/elsewhere",
        "elsewhere",
        "../../elsewhere",
        TOKEN_PATH + "/",
        "//shop.example.com:{port}/elsewhere",
        "http://shop.example.com:{port}/elsewhere",
        "http://SHOP.example.com:{port}/elsewhere?a=b%20c#part",
        "http://shop.example.com/elsewhere",
        "  /elsewhere ",
        "?answer=1",
        "/schön/ü",
        "http://127.0.0.1:{port}/elsewhere",
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_http_is_followed_as_a_ca_does(server: Server, location: str, status: int):
    assert asked(server, to(location.format(port=server.port), status)) == ""
    assert len(server.asked) == 2


def test_the_right_answer_needs_no_length_and_no_end(server: Server):
    assert asked(server, b"HTTP/1.0 200 OK\r\n\r\n" + TEXT.encode() + b"\n") == ""
    assert asked(server, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ne\r\nthe right text\r\n0\r\n\r\n") == ""

    def keep_open(connection: socket.socket, path: str) -> None:
        connection.sendall(RIGHT)
        silent(connection, path)

    assert asked(server, keep_open) == ""


def test_a_proxy_of_the_environment_is_not_asked(server: Server, monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert asked(server, to("/elsewhere")) == ""


# --- answers that are wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("file:///etc/hostname", "neither HTTP nor HTTPS"),
        ("file://localhost/etc/shadow", "neither HTTP nor HTTPS"),
        ("ftp://127.0.0.1/x", "neither HTTP nor HTTPS"),
        ("data:text/plain,the%20right%20text", "neither HTTP nor HTTPS"),
        ("gopher://127.0.0.1:80/x", "neither HTTP nor HTTPS"),
        ("javascript:alert(1)", "neither HTTP nor HTTPS"),
        ("unix:/run/docker.sock", "neither HTTP nor HTTPS"),
        ("http://[bad", "no URL"),
        ("http://[bad]/", "no URL"),
        ("http://shop.example.com:port/", "no URL"),
        ("http://shop.example.com:99999/", "no URL"),
        ("http://127.0.0.1:1/", "only the ports"),
        ("https://127.0.0.1:6379/", "only the ports"),
        ("http://shop.example.com:0/", "only the ports"),
        ("http://169.254.169.254/latest/meta-data", "link-local address 169.254.169.254"),
        ("http://[fe80::1]/", "link-local"),
        ("http://no-such-host.invalid/", "gives no answer"),
        ("http://" + "a" * 300 + ".example/", "gives an answer that is not HTTP"),
        ("http://ü.invalid/", "gives no answer"),
    ],
)
def test_a_redirect_to_anything_else_is_not_followed(server: Server, location: str, expected: str):
    said = asked(server, to(location))
    assert said.startswith("a redirect to ")
    assert expected in said
    assert len(server.asked) == 1


def test_a_redirect_opens_no_file(server: Server, tmp_path: Path):
    """Opening a FIFO would wait for ever, with the lock of all certificates."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_text(TEXT)
    for name in ("fifo", "file"):
        assert "neither HTTP nor HTTPS" in asked(server, to((tmp_path / name).as_uri()))


def test_redirects_are_counted(server: Server):
    assert asked(server, to(TOKEN_PATH)) == "more than 10 redirects"
    assert len(server.asked) == 11
    server.asked.clear()
    for number in range(9):
        server.answers[f"/{number}"] = to(f"/{number + 1}")
    assert asked(server, to("/0")) == "", "ten are followed"
    assert len(server.asked) == 11


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", "no answer (Remote end closed connection without response)"),
        (b"\r\n\r\n", "not HTTP"),
        (b"nonsense\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 abc OK\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 -1 OK\r\n\r\n", "not HTTP"),
        (b"HTTP/9.9 200 OK\r\n\r\nthe wrong text", "not HTTP"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "not HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "not HTTP"),
        (b"\x00\xff" * 40_000 + b"\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nx", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nother", "a different file"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort", "a different file"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n\xff\xfe", "a different file"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "status 204"),
        (b"HTTP/1.1 301 Moved\r\n\r\n", "status 301"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "status 404"),
        (b"HTTP/1.1 999 Odd\r\n\r\n", "status 999"),
    ],
)
def test_an_answer_of_any_bytes_is_a_reason(server: Server, answer: bytes, expected: str):
    assert expected in asked(server, answer)
    server.answers["/next"] = answer
    assert expected in asked(server, to("/next")), "also behind a redirect"


@pytest.mark.parametrize(
    "answer",
    [
        drip,
        drip_body,
        silent,
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["drip", "drip_body", "silent", "endless 100"],
)
def test_a_slow_or_endless_answer_is_not_waited_for(server: Server, answer: Any):
    began = time.monotonic()
    assert asked(server, answer, seconds=0.5) == "no answer in time"
    assert time.monotonic() - began < 2


def test_of_an_endless_body_only_the_beginning_is_read(server: Server):
    started = b"HTTP/1.1 200 OK\r\n\r\n"
    assert "a different file" in asked(server, endless(started, b"x" * 65536))
    assert "not HTTP" in asked(server, endless(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 65536))


def test_https_on_a_port_that_speaks_none_is_a_reason(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fetch, "HTTPS_PORT", server.port)
    said = asked(server, to(f"https://shop.example.com:{server.port}/"))
    assert "which gives no answer (" in said


# --- through all addresses of all names -----------------------------------------------------------------------------------


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The addresses of names."""
    known = {NAME: ["127.0.0.1"], "www.example.com": ["127.0.0.1"]}
    real = socket.getaddrinfo

    def resolve(host: str, *more: Any, **options: Any) -> list:
        return [entry for address in known.get(host, [host]) for entry in real(address, *more, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(files, "own", lambda *_: None)
    return Settings(server="https://ca.example.com/dir", webroot=str(tmp_path / "webroot"))


def serve_webroot(settings: Settings) -> Callable[[socket.socket, str], None]:
    def send(connection: socket.socket, path: str) -> None:
        body = Path(settings.webroot + path).read_bytes()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    return send


def test_each_address_of_a_name_is_asked_once(server: Server, here: dict[str, list[str]]):
    here[NAME] = ["127.0.0.1", "127.0.0.1", "127.0.0.2"]
    assert responses(NAME, "token", TEXT) == {"127.0.0.1": "", "127.0.0.2": "no answer (Connection refused)"}
    assert "not known" in str(responses("no-such-host.invalid", "token", TEXT))
    assert isinstance(responses("a" * 300, "token", TEXT), str)


def test_a_name_with_many_slow_addresses_has_one_deadline(
    server: Server, here: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(precheck, "NAME_TIMEOUT", 0.5)
    here[NAME] = [f"127.0.0.{number}" for number in range(1, 6)]
    server.answers["*"] = silent
    began = time.monotonic()
    assert set(responses(NAME, "token", TEXT)) == set(here[NAME])
    assert time.monotonic() - began < 2


def test_the_names_that_lead_here_are_not_in_the_error(server: Server, here: dict[str, list[str]], settings: Settings):
    server.answers["*"] = serve_webroot(settings)
    wanted = Certificate("shop", (NAME, "www.example.com"))
    check_names(wanted, settings)
    server.answers["*"] = to("http://[bad")
    with pytest.raises(CertificateError, match="failed for 2 of 2 names; no certificate was requested") as told:
        check_names(wanted, settings)
    assert "127.0.0.1 gives a redirect to 'http://[bad', which is no URL" in str(told.value)
    assert not list(Path(settings.webroot).rglob("flask-ops-*")), "the file is removed"


# --- the timer ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def timer(
    server: Server, here: dict, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Run what the timer runs for three certificates, of which the second has a bad day."""
    (tmp_path / "metrics").mkdir()
    wanted = tmp_path / "wanted.json"
    monkeypatch.setattr(manage, "LOCK", str(tmp_path / "run" / "lock"))
    monkeypatch.setattr(model, "CERTBOT_DIRECTORY", str(tmp_path / "letsencrypt"))
    monkeypatch.setattr(certbot, "check_ca", lambda *_: None)
    monkeypatch.setattr(model, "SETTINGS_FILE", str(wanted))
    names = {"first": NAME, "second": "bad.example.com", "third": "www.example.com"}
    certificates = tuple(Certificate(name, (domain,)) for name, domain in names.items())
    complete = dataclasses.replace(settings, certificates=certificates, textfile_directory=str(tmp_path / "metrics"))
    wanted.write_text(json.dumps(dataclasses.asdict(complete)))
    here["bad.example.com"] = ["127.0.0.1"]
    there: dict[str, Lineage] = {}

    def run(arguments: list[str], _: Settings) -> None:
        name = arguments[arguments.index("--cert-name") + 1]
        options = renewal_options(certificates[0], settings)
        there[name] = Lineage(frozenset({names[name]}), 4e9, "0A", options)

    monkeypatch.setattr(certbot, "certbot", run)
    for module in (certbot, manage):
        monkeypatch.setattr(module, "read_lineage", there.get)
    return renew_all


def metrics_of(tmp_path: Path) -> dict[str, str]:
    lines = (tmp_path / "metrics" / "letsencrypt.prom").read_text().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


@pytest.mark.parametrize(
    "answer",
    [
        to(TOKEN_PATH + "/"),
        to("/elsewhere/"),
        to("http://[bad"),
        to("file:///etc/hostname"),
        to("https://ü[/"),
        b"nonsense\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    ],
)
def test_whatever_one_name_answers_the_others_are_renewed(
    timer: Callable[..., int], server: Server, settings: Settings, tmp_path: Path, capsys: Any, answer: bytes
):
    server.answers |= {"*": serve_webroot(settings), "bad.example.com": answer}
    assert timer() == 1
    told = capsys.readouterr().out
    assert "first: issued" in told
    assert "third: issued" in told
    assert "second: FAILED" in told
    seen = metrics_of(tmp_path)
    success = [seen[f'letsencrypt_last_run_success{{name="{name}"}}'] for name in ("first", "second", "third")]
    assert success == ["1", "0", "1"]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("unknown url type"), TypeError("x"), AttributeError("x"), KeyError("x"), AssertionError(),
        UnicodeDecodeError("utf-8", b"", 0, 1, "x"), RecursionError(), MemoryError(), CommandError("no openssl"),
        OSError("read-only"), CertificateError("refused"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("module", "step"),
    [(manage, "read_lineage"), (manage, "reissue_reasons"), (certbot, "obtain"), (manage, "install")],
)
def test_no_error_in_any_step_is_an_error_of_another_certificate(
    timer: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    module: Any,
    step: str,
    error: Exception,
):
    monkeypatch.setattr(certbot, "check_names", lambda *_: None)
    real = getattr(module, step)

    def fail(*args: Any) -> Any:
        name = args[0] if isinstance(args[0], str) else args[0].name
        if name == "second":
            raise error
        return real(*args)

    monkeypatch.setattr(module, step, fail)
    assert timer() == 1
    told = capsys.readouterr().out
    assert (told.count(": issued"), told.count("FAILED")) in ((2, 1), (3, 0)) or step == "install"
    assert metrics_of(tmp_path)['letsencrypt_last_run_success{name="second"}'] == "0"
    assert metrics_of(tmp_path)['letsencrypt_last_run_success{name="third"}'] == "1"


def test_an_error_in_check_mode_changes_nothing(monkeypatch: pytest.MonkeyPatch, settings: Settings):
    def fail(_: str) -> None:
        raise CertificateError("openssl did not describe it")

    monkeypatch.setattr(manage, "read_lineage", fail)
    monkeypatch.setattr(manage, "install", None)
    outcome = ensure(Certificate("shop", (NAME,)), settings, check_mode=True)
    assert (outcome.changed, outcome.problem) == (False, "openssl did not describe it")


def test_only_root_can_hold_the_lock(timer: Callable[..., int], tmp_path: Path):
    timer()
    assert (tmp_path / "run" / "lock").stat().st_mode & 0o777 == 0o600


# --- settings and descriptions that are damaged ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "3", '"text"', "{}", '{"server": "x"}', '{"certificates": 3}', '{"certificates": [3]}',
     '{"certificates": [{}]}', '{"certificates": [{"name": "a"}], "server": 3}', '{"server": "x", "certificates": null}'],
)  # fmt: skip
def test_damaged_settings_are_named_and_end_the_timer(
    timer: Callable[..., int], tmp_path: Path, capsys: Any, text: str
):
    (tmp_path / "wanted.json").write_text(text)
    with pytest.raises(SettingsError, match=r"wanted\.json is damaged\. The next run of the playbook"):
        Settings.load()
    assert timer() == 1
    assert "is damaged" in capsys.readouterr().out


def test_settings_of_another_version_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    values = {"server": "https://ca/dir", "new": [1], "certificates": [{"name": "a", "domains": ["a.b"], "odd": {}}]}
    monkeypatch.setattr(model, "SETTINGS_FILE", str(tmp_path / "wanted.json"))
    (tmp_path / "wanted.json").write_text(json.dumps(values))
    read = Settings.load()
    assert read == Settings(server="https://ca/dir", certificates=(Certificate("a", ("a.b",)),))


@pytest.mark.parametrize(
    "text",
    ["", "garbage", "notAfter=never\nserial=0A", "serial=0A\nnotAfter=Feb 23 22:02:11 2027 GMT", "  x", "issuer=\n x"],
)
def test_a_description_without_the_facts_is_an_error(text: str):
    with pytest.raises(ValueError):  # noqa: PT011
        X509.parse(text)


def test_whatever_is_served_is_described():
    assert described(b"") == "no certificate that openssl reads"
    assert described(b"nonsense") == "no certificate that openssl reads"
