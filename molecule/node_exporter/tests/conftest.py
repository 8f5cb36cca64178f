"""What the tests of this scenario share."""

import base64
import http.client
import socket
import ssl
from pathlib import Path

import pytest

CONVERGE = Path(__file__).parents[2] / "shared" / "converge.yml"
PROMETHEUS = "prometheus:canary-9d1f7c20"


@pytest.fixture
def scrape(host, address):
    """`scrape(user)`: status and text of the metrics, asked as a Prometheus elsewhere asks."""

    def ask(user=PROMETHEUS):
        with host.sudo():
            certificate = host.file("/etc/node-exporter/tls.crt").content_string
        context = ssl.create_default_context(cadata=certificate)
        connection = http.client.HTTPConnection(address, 9100)
        plain = socket.create_connection((address, 9100), timeout=30)
        connection.sock = context.wrap_socket(plain, server_hostname=f"node-exporter-{host.backend.host}")
        headers = {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"} if user else {}
        connection.request("GET", "/metrics", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    return ask


@pytest.fixture
def metrics(host, scrape):
    """`metrics()`: the samples, by name and labels, after the collector has run once more."""

    def ask(collect=True):
        if collect:
            with host.sudo():
                host.check_output("systemctl start flask-ops-metrics.service")
        status, text = scrape()
        assert status == 200
        samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    return ask


@pytest.fixture
def apply(host, play):
    """Apply the role with some variables changed."""
    return lambda **variables: play(str(CONVERGE), **variables)
