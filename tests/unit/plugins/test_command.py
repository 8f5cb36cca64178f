"""What is quoted of a program's output."""

from __future__ import annotations

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import (
    CommandError,
    head_and_tail,
    last_exception,
    run,
)

TRACEBACK = """\
Traceback (most recent call last):
  File "arbiter.py", line 1, in spawn_worker
    worker.init_process()
  File "hello.py", line 1, in <module>
RuntimeError: this release is broken"""

AFTERMATH = "\n".join(f"Worker ({pid}) exiting" for pid in range(60))


def test_the_reason_is_quoted_however_much_follows_it() -> None:
    quoted = last_exception(f"Starting gunicorn\n{TRACEBACK}\n{AFTERMATH}", 3)
    assert quoted.splitlines() == TRACEBACK.splitlines()[-3:]


def test_what_gunicorn_makes_of_the_reason_is_not_taken_for_it() -> None:
    consequence = (
        "Traceback (most recent call last):\n  File x\ngunicorn.errors.HaltServer: <HaltServer 'Worker failed'>"
    )
    assert last_exception(f"{TRACEBACK}\n{AFTERMATH}\n{consequence}").endswith("this release is broken")
    assert last_exception(consequence).endswith("<HaltServer 'Worker failed'>")


def test_the_last_of_several_reasons_is_quoted() -> None:
    assert last_exception(f"{TRACEBACK}\n{AFTERMATH}\n{TRACEBACK.replace('broken', 'late')}\n{AFTERMATH}").endswith(
        "late"
    )


def test_without_a_reason_the_last_lines_are_quoted() -> None:
    assert last_exception("a\nb\n\nc\n", 2) == "b\nc"
    assert last_exception("") == ""


def test_a_failed_command_says_what_it_said() -> None:
    with pytest.raises(CommandError, match=r"'sh -c echo why >&2; exit 3' exited with status 3:\nwhy"):
        run(["sh", "-c", "echo why >&2; exit 3"])


def test_a_command_that_is_missing_or_does_not_end_is_named() -> None:
    with pytest.raises(CommandError, match="no-such-program is not installed on this host"):
        run(["no-such-program"])
    with pytest.raises(CommandError, match=r"'sleep 5' timed out after 0\.1 s"):
        run(["sleep", "5"], timeout=0.1)


def test_a_reason_that_is_no_exception_is_found_among_what_gunicorn_makes_of_it() -> None:
    failed = "[5] [ERROR] Failed to find attribute 'app' in 'flaskr'."
    consequence = "Traceback (most recent call last):\n  File x\n  File y\ngunicorn.errors.HaltServer: <HaltServer 'App failed to load.' 4>"
    assert failed in last_exception("\n".join([failed, consequence] * 20))


def test_a_reason_on_standard_error_is_not_lost_behind_a_long_output() -> None:
    script = "for i in $(seq 900); do echo migrating row $i of $((i * i))x; echo and more; done; echo relation is missing >&2; exit 1"
    with pytest.raises(CommandError) as error:
        run(["sh", "-c", script], shown="flask db upgrade")
    text = str(error.value)
    assert text.startswith("'flask db upgrade' exited with status 1:\n")
    assert text.endswith("relation is missing")
    assert len(text.splitlines()) < 40


def test_both_ends_of_an_output_are_quoted() -> None:
    words = [chr(97 + i % 26) * (i % 7 + 1) + chr(97 + i // 26) for i in range(100)]
    quoted = head_and_tail("\n".join(["first", *words, "last"])).splitlines()
    assert (quoted[0], quoted[-1], len(quoted)) == ("first", "last", 26)
    assert "lines left out" in quoted[5]


def test_what_is_repeated_is_quoted_once() -> None:
    assert head_and_tail("\n".join(f"[{second}] GET /healthz gave 404" for second in range(60))) == (
        "[0] GET /healthz gave 404\n(60 times)"
    )
    block = "Traceback (most recent call last):\n  File x\nKeyError: 1"
    assert head_and_tail("\n".join(f"[{pid}] worker\n{block}" for pid in range(9))) == f"[0] worker\n{block}\n(9 times)"


def test_colours_and_garbage_are_left_out() -> None:
    assert (
        head_and_tail("\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x07\x00\x07\n10 %\r99 %\r\n")
        == "red link\n99 %"
    )
    assert len(head_and_tail("x" * 9_000_000)) < 600


def test_a_signal_is_named() -> None:
    with pytest.raises(CommandError, match="died by signal SIGSEGV"):
        run(["sh", "-c", "kill -SEGV $$"])
