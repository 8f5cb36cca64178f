"""What the tests of this scenario share."""

from pathlib import Path

import pytest

CONVERGE = Path(__file__).parents[2] / "shared" / "converge.yml"


@pytest.fixture
def echo(site):
    return site("echo", "echo.test.example")


@pytest.fixture
def apply(host, play):
    """Apply the role with some options of the site echo, and some variables of the role, changed."""

    def run(options=None, **variables):
        first, *others = host.ansible.get_variables()["nginx_proxy_sites"]
        return play(str(CONVERGE), nginx_proxy_sites=[{**first, **(options or {})}, *others], **variables)

    return run
