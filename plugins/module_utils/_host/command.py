# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run programs on the host, and quote from their output and from logs what explains an error."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import typing as t

FIRST_LINES, LAST_LINES = 5, 20
"""How many lines of a program's output or of a journal an error message quotes, from its beginning and its end."""

LONGEST_LINE = 500
"""Characters of a line that are quoted."""

CONSEQUENCE = "gunicorn.errors.HaltServer"
"""What gunicorn's master raises because a worker could not import the app."""


class CommandError(Exception):
    """A program ended with a status other than 0, or did not end in time."""


def run(
    argv: t.Sequence[str],
    *,
    env: t.Mapping[str, str] | None = None,
    cwd: str | None = None,
    user: str | None = None,
    group: str | None = None,
    timeout: float = 600,
    stdin: t.IO[bytes] | None = None,
    warnings: bool = False,
    shown: str = "",
) -> str:
    """Run a program and return its standard output.

    :param user: run as this user, in its group and no other.
    :param group: run in this group instead of the user's.
    :param timeout: seconds after which the program is killed.
    :param warnings: return its standard error, too.
    :param shown: the command as the user wrote it, for errors; by default the beginning of ``argv``.
    :raises CommandError: with the first and last lines that the program printed.
    """
    command = shown or command_prefix(argv)
    as_user: dict[str, t.Any] = {"user": user, "group": group or user, "extra_groups": []} if user else {}
    try:
        done = subprocess.run(
            list(argv),
            stdin=stdin or subprocess.DEVNULL,
            capture_output=True,
            env=None if env is None else dict(env),
            cwd=cwd,
            timeout=timeout,
            check=False,
            umask=0o022,
            **as_user,
        )
    except FileNotFoundError as error:
        raise CommandError(f"{argv[0]} is not installed on this host") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"'{command}' timed out after {timeout:g} s") from error
    if done.returncode:
        raise CommandError(error_text(command, done.returncode, decoded(done.stdout), decoded(done.stderr)))
    return (done.stdout + (done.stderr if warnings else b"")).decode("utf-8", "replace")


def last_occurrences(text: str) -> str:
    """Each line once, in its last place. Lines that differ in numbers, such as a time, only, are the same.

    >>> last_occurrences("[10:00:01] no\\n[10:00:02] no\\nbut why")
    '[10:00:02] no\\nbut why'
    """
    last: dict[str, str] = {}
    for line in text.splitlines():
        # The numbers of a traceback's frames matter.
        key = line if line.startswith(" ") else re.sub(r"\d+", "0", line)
        last.pop(key, None)
        last[key] = line
    return "\n".join(last.values())


def error_text(command: str, status: int, stdout: str, stderr: str) -> str:
    """The error of a command, with both ends of what it printed."""
    # Each by itself: a reason on standard error must not be lost behind a long output.
    quoted = "\n".join(filter(None, (head_and_tail(stdout), head_and_tail(stderr))))
    return f"'{command}' {exit_text(status)}{':' if quoted else ''}\n{quoted}".rstrip()


def decoded(output: bytes) -> str:
    return output.decode("utf-8", "replace")


def exit_text(status: int) -> str:
    """How a program ended.

    >>> exit_text(3), exit_text(-11)
    ('exited with status 3', 'died by signal SIGSEGV')
    """
    if status >= 0:
        return f"exited with status {status}"
    with contextlib.suppress(ValueError):
        return f"died by signal {signal.Signals(-status).name}"
    return f"died by signal {-status}"


def readable_lines(text: str) -> list[str]:
    """The lines of an output as a person reads them: no colours, no blank lines, and what is repeated only once.

    >>> readable_lines("\\x1b[31mred\\x1b[0m\\n\\nno\\nno\\nno\\n50 %\\r99 %\\n")
    ['red', 'no', '(3 times)', '99 %']
    """
    text = re.sub(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\-_])", "", text)
    text = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", "", text)
    lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]
    lines = [shortened(line) for line in lines if line.strip()]
    return _without_repetitions(lines)


def shortened(line: str) -> str:
    half = LONGEST_LINE // 2
    return line if len(line) <= LONGEST_LINE else f"{line[:half]} ... {line[-half:]}"


def _without_repetitions(lines: list[str], longest: int = 30) -> list[str]:
    """Each run of equal lines, or of equal blocks of lines, once; times and process numbers do not make a difference."""
    alike = [re.sub(r"\d+", "0", line) for line in lines]
    kept: list[str] = []
    start = 0
    while start < len(lines):
        for size in range(1, longest + 1):
            block, times = alike[start : start + size], 1
            while alike[start + times * size : start + (times + 1) * size] == block and len(block) == size:
                times += 1
            if times > 2 or (times == 2 and size > 1):
                kept += [*lines[start : start + size], f"({times} times)"]
                start += times * size
                break
        else:
            kept.append(lines[start])
            start += 1
    return kept


def head_and_tail(text: str, first: int = FIRST_LINES, last: int = LAST_LINES) -> str:
    """The first and the last lines of an output: a reason may stand at either end.

    >>> head_and_tail("a\\nb\\nc\\nd\\ne", 1, 2)
    'a\\n... 2 lines left out ...\\nd\\ne'
    """
    lines = readable_lines(text)
    if len(lines) <= first + last + 1:
        return "\n".join(lines)
    return "\n".join([*lines[:first], f"... {len(lines) - first - last} lines left out ...", *lines[-last:]])


def last_exception(text: str, count: int = FIRST_LINES + LAST_LINES) -> str:
    """The lines of a log up to the last exception that is a reason, if there is one; else its last lines.

    A gunicorn whose app cannot be imported logs an exception for each of its workers, and is started again: the
    reason is soon far from the end.

    >>> last_exception("Traceback (most recent call last):\\n  File x\\nKeyError: 1\\nShutting down", 2)
    '  File x\\nKeyError: 1'
    >>> last_exception('{"exception": "KeyError: 1"}\\n{"message": "Shutting down"}', 1)
    '{"exception": "KeyError: 1"}'
    """
    lines = readable_lines(text)
    lines = _without_consequences(lines) or lines
    for end in range(len(lines) - 1, -1, -1):
        in_json = '"exception": "' in lines[end] and CONSEQUENCE not in lines[end]
        if in_json or (end and lines[end - 1].startswith("  ") and not lines[end].startswith((" ", CONSEQUENCE))):
            return "\n".join(lines[max(0, end + 1 - count) : end + 1])
    return "\n".join(lines[-count:])


def _without_consequences(lines: list[str]) -> list[str]:
    """A log without the tracebacks by which gunicorn's master reports that a worker has failed."""
    kept: list[str] = []
    for line in lines:
        if not line.startswith(CONSEQUENCE):
            kept.append(line)
            continue
        starts = [number for number, earlier in enumerate(kept) if earlier.startswith("Traceback (most recent")]
        if starts:
            del kept[starts[-1] :]
    return kept


def command_prefix(argv: t.Sequence[str]) -> str:
    """Enough of a command to recognise it; never all of it, since arguments may be long."""
    return " ".join(argv[:4]) + (" ..." if len(argv) > 4 else "")
