"""What the tests of this scenario share."""

import pytest


@pytest.fixture
def echo(site):
    return site("echo", "echo.test.example")
