"""What is quoted of a program's output."""

from __future__ import annotations

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._command import (
    CommandError,
    last_lines,
    run,
    telling_lines,
)

TRACEBACK = """\
Traceback (most recent call last):
  File "arbiter.py", line 1, in spawn_worker
    worker.init_process()
  File "hello.py", line 1, in <module>
RuntimeError: this release is broken"""

AFTERMATH = "\n".join(f"Worker ({pid}) exiting" for pid in range(60))


def test_the_reason_is_quoted_however_much_follows_it() -> None:
    quoted = telling_lines(f"Starting gunicorn\n{TRACEBACK}\n{AFTERMATH}", 3)
    assert quoted.splitlines() == TRACEBACK.splitlines()[-3:]


def test_what_gunicorn_makes_of_the_reason_is_not_taken_for_it() -> None:
    consequence = (
        "Traceback (most recent call last):\n  File x\ngunicorn.errors.HaltServer: <HaltServer 'Worker failed'>"
    )
    assert telling_lines(f"{TRACEBACK}\n{AFTERMATH}\n{consequence}").endswith("this release is broken")
    assert telling_lines(consequence).endswith("<HaltServer 'Worker failed'>")


def test_the_last_of_several_reasons_is_quoted() -> None:
    assert telling_lines(f"{TRACEBACK}\n{AFTERMATH}\n{TRACEBACK.replace('broken', 'late')}\n{AFTERMATH}").endswith(
        "late"
    )


def test_without_a_reason_the_last_lines_are_quoted() -> None:
    assert telling_lines("a\nb\n\nc\n", 2) == last_lines("a\nb\n\nc\n", 2) == "b\nc"
    assert telling_lines("") == ""


def test_a_failed_command_says_what_it_said() -> None:
    with pytest.raises(CommandError, match=r"'sh -c echo why >&2; exit 3' ended with status 3:\nwhy"):
        run(["sh", "-c", "echo why >&2; exit 3"])


def test_a_command_that_is_missing_or_does_not_end_is_named() -> None:
    with pytest.raises(CommandError, match="no-such-program is not installed on this host"):
        run(["no-such-program"])
    with pytest.raises(CommandError, match=r"'sleep 5' did not end within 0\.1 s"):
        run(["sleep", "5"], timeout=0.1)
