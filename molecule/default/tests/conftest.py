"""What the tests of the whole stack share: the demo app, versions of it, and clients that keep asking."""

import shutil
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
def load(demo, tmp_path):
    """Clients that keep asking for the demo app: GET and POST on kept connections, and a request of three seconds."""
    certificate = tmp_path / "demo.crt"
    certificate.write_text(demo.certificate)

    return lambda requests: demo_load(demo.name, demo.address, certificate, requests, max_seconds=240)
