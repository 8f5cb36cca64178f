# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The failure of one app: kept for the end of the run, while the other apps go on."""

from __future__ import annotations

import traceback
import types

FRAMES = 3
"""How many frames of a traceback are quoted for an exception that nobody expected."""


class FailureOf:
    """Keep an exception in ``failures``, under the name of the app, instead of raising it.

    :param expected: exceptions whose text is meant for the user. Any other is a defect of the collection, which is no
        reason to hold up the other apps either.
    """

    def __init__(self, app: str, failures: dict[str, str], *expected: type[Exception]) -> None:
        self._app, self._failures, self._expected = app, failures, expected

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> bool:
        if isinstance(error, self._expected):
            self._failures[self._app] = named(self._app, str(error))
        elif isinstance(error, Exception):
            frames = "".join(traceback.format_tb(trace)[-FRAMES:])
            defect = f"unexpected {type(error).__name__}, a defect of flask_ops.production"
            self._failures[self._app] = f"{self._app}: {defect}: {error}\n{frames}"
        return isinstance(error, Exception)


def named(app: str, text: str) -> str:
    """The text of an error, which begins with the name of its app."""
    return text if text.startswith(f"{app}: ") else f"{app}: {text}"
