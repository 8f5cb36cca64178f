"""Fixtures for the tests of the whole stack: the demo app, versions of it, and load."""

import shutil
from pathlib import Path

import pytest

from tests.load import Plan, background_load, demo_load


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
    """Load for the demo app: GET and POST on kept connections, and a request of three seconds."""
    certificate = tmp_path / "demo.crt"
    certificate.write_text(demo.certificate)

    return lambda requests: demo_load(demo.name, demo.address, certificate, requests=requests, max_seconds=240)


@pytest.fixture
def visitors(address):
    """`with visitors("demo.test.example") as clients:` visitors who do not care whose app and certificate they get.

    A reload of nginx closes idle connections, also one that is about to be used: they send the request again, as browsers
    do.
    """
    return lambda name: background_load(
        Plan(
            f"https://{name}",
            f"{address}:443",
            clients=3,
            requests=20,
            post_path="",
            long_path="",
            max_seconds=600,
            pause=0.05,
            retry=True,
        )
    )
