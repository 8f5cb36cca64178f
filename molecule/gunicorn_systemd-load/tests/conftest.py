"""What the tests of this scenario share: an app's slot, its switches, and clients that keep asking for it."""

import os
from pathlib import Path

import pytest

from tests.load import Plan, background_load

SWITCH = str(Path(__file__).parents[1] / "switch.yml")


@pytest.fixture
def once(host):
    """Skip on all hosts but one what is the same code on both Debians, unless there is time."""
    if host.backend.host != "debian13" and "FLASK_OPS_SWITCHES" not in os.environ:
        pytest.skip("on Debian 13 only, unless FLASK_OPS_SWITCHES is set")


@pytest.fixture
def slot(host):
    """`slot("of-sync")`: the live slot."""

    def get(name):
        with host.sudo():
            return host.check_output(f"readlink /run/flask-ops/{name}/current")

    return get


@pytest.fixture
def service(slot):
    """`service("of-sync")`: the service of the live slot."""
    return lambda name: f"{name}-{slot(name)}.service"


@pytest.fixture
def switch(host, play):
    """`switch("of-sync", "r2", "r1", timeout=7)`: bring an app's traffic to each release, options of it changed."""

    def run(name, *releases, **options):
        apps = host.ansible.get_variables()["gunicorn_systemd_apps"]
        app = next(app for app in apps if app["name"] == name)
        return play(SWITCH, gunicorn_systemd_apps=[{**app, **options}], releases=releases)

    return run


@pytest.fixture
def web(site):
    """`web("of-sync").ask("/")`: an app, asked as clients ask."""
    return lambda name: site(name, f"{name}.test.example")


@pytest.fixture
def load(web, tmp_path):
    """`load("of-sync")`: clients that keep sending an app requests; not too many."""

    def start(name, **changes):
        asked = web(name)
        certificate = tmp_path / f"{name}.crt"
        certificate.write_text(asked.certificate)
        gentle = {"clients": 6, "requests": 100, "pause": 0.1, "max_seconds": 1800}
        plan = Plan(f"https://{asked.name}", f"{asked.address}:443", str(certificate), **gentle | changes)
        return background_load(plan)

    return start
