"""A real gunicorn with the role's settings: a WebSocket that was closed costs no request when the worker stops."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.templates.rendering import render
from tests.waiting import eventually

APP = """
def app(environ, start_response):
    if environ["PATH_INFO"] == "/websocket":
        # As simple-websocket and flask-sock do: the library answers, closes the socket, and leaves nothing to gunicorn.
        environ["gunicorn.socket"].sendall(b"HTTP/1.1 101 Switching Protocols\\r\\n\\r\\n")
        environ["gunicorn.socket"].close()
        raise StopIteration
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    (tmp_path / "web.py").write_text(APP)
    settings = tmp_path / "gunicorn.conf.py"
    settings.write_text(render("server.conf.py.j2", wsgi="web:app", workers=1, threads=4))
    path = str(tmp_path / "web.sock")
    options = ["--config", str(settings), "--bind", f"unix:{path}", "--chdir", str(tmp_path)]
    with subprocess.Popen([sys.executable, "-m", "gunicorn", *options], stderr=subprocess.DEVNULL) as process:
        eventually(lambda: Path(path).exists() and ask(path, "/") == 200)
        yield process, path
        process.kill()


def ask(path: str, request: str) -> int:
    connection = http.client.HTTPConnection("shop.example.com", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(10)
    try:
        connection.sock.connect(path)
        connection.request("GET", request)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def test_a_stopping_worker_still_knows_the_connections_that_it_has(server: tuple[subprocess.Popen[bytes], str]):
    """nginx may be about to send a request over a connection that it has kept: gunicorn answers it for two seconds."""
    process, path = server
    for _ in range(5):
        assert ask(path, "/websocket") == 101
    kept = http.client.HTTPConnection("shop.example.com", timeout=10)
    kept.sock = socket.socket(socket.AF_UNIX)
    kept.sock.connect(path)
    kept.request("GET", "/")
    assert kept.getresponse().read() == b"ok"
    process.send_signal(signal.SIGTERM)
    time.sleep(0.7)
    kept.request("POST", "/", body=b"an order")
    assert kept.getresponse().read() == b"ok"
    kept.close()
