"""`make demo`, as a newcomer types it."""

import re

from tests.system.conftest import run


def test_the_demonstration_answers_and_a_second_one_changes_nothing():
    was_up = re.search(r"^demo ", run("python3", "tests/hosts", "list"), re.MULTILINE)
    try:
        run("make", "demo")
        again = run("make", "demo")
    finally:
        if not was_up:
            run("make", "demo-stop")
    assert re.search(r"^demo .* changed=0 ", again, re.MULTILINE)
    assert '"scheme":"https"' in again
    assert "WARNING" not in again
    for words in ("https://demo.flask-ops.test/ answers", "demo-blue.service", ":443", "/srv/demo/current", "curl "):
        assert words in again
    if not was_up:
        assert not re.search(r"^demo ", run("python3", "tests/hosts", "list"), re.MULTILINE)
