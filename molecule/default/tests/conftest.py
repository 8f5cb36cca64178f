"""What the tests of the whole stack share: the demo app, versions of it, and clients that keep asking."""

import contextlib
import http.client
import shutil
import socket
import ssl
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.load import demo_load


@pytest.fixture
def apps(host):
    """`apps(demo={...})`: the scenario's apps, with some options of some of them changed."""

    def changed(**changes):
        given = host.ansible.get_variables()["flask_apps"]
        return [{**app, **changes.get(app["name"], {})} for app in given]

    return changed


@pytest.fixture
def source(tmp_path):
    """A copy of the demo app that a test may change."""
    copy = tmp_path / "demo_app"
    shutil.copytree(Path(__file__).parents[3] / "examples" / "demo_app", copy)
    return copy


@pytest.fixture
def demo(site):
    return site("demo", "demo.test.example")


@pytest.fixture
def httpbin(site):
    return site("httpbin", "httpbin.test.example")


@pytest.fixture
def load(demo, tmp_path):
    """Clients that keep asking for the demo app: GET and POST on kept connections, and a request of three seconds."""
    certificate = tmp_path / "demo.crt"
    certificate.write_text(demo.certificate)

    return lambda requests: demo_load(demo.name, demo.address, certificate, requests, max_seconds=240)


@pytest.fixture
def visitors(address):
    """`with visitors("demo.test.example") as seen:` visitors of these names, and how often each got which status.

    Half of them keep their connection, the others open one for each request. Whose site and certificate it is, they do not
    care. A reload of nginx closes idle connections, also one that is about to be used: a browser tries again, and so do they.
    """

    def visit(name, keep, seen, done):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        kept = None
        while not done.is_set():
            connection = kept or http.client.HTTPConnection(name, timeout=20)
            try:
                if not kept:
                    plain = socket.create_connection((address, 443), timeout=20)
                    connection.sock = context.wrap_socket(plain, server_hostname=name)
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                seen[name, answer.status] += 1
            except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLError) as error:
                if not kept:
                    seen[name, type(error).__name__] += 1
                connection.close()
            kept = connection if keep and connection.sock else None
            if not kept:
                connection.close()
            time.sleep(0.05)

    @contextlib.contextmanager
    def until_left(*names):
        seen: Counter[tuple[str, object]] = Counter()
        done = threading.Event()
        with ThreadPoolExecutor() as pool:
            visits = [pool.submit(visit, name, keep, seen, done) for name in names for keep in (True, True, False)]
            try:
                yield seen
            finally:
                done.set()
        for ended in visits:
            ended.result()

    return until_left
