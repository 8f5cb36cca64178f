"""Wait until something is true, and not longer than it may take."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(true: Callable[[], object], seconds: float = 60) -> float:
    """Return the seconds that it took. Not true in time is an AssertionError."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, f"not true within {seconds} s"
        time.sleep(0.1)
    return time.monotonic() - began


def settled(true: Callable[[], object], seconds: float, timeout: float = 60) -> None:
    """Wait until something has been true without a break. Never so in time is an AssertionError.

    :param seconds: how long it must have been true.
    """
    began = since = time.monotonic()
    while time.monotonic() - since < seconds:
        assert time.monotonic() - began < timeout, f"not true for {seconds} s within {timeout} s"
        if not true():
            since = time.monotonic()
        time.sleep(0.1)
