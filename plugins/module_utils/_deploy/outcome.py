# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deploy reports: what it did, why it failed, and which steps of its rollback failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError


class DeployError(Exception):
    """A slot or a process does not run as it should. The message gives the step, the reason, and what runs now."""


EXPECTED = (DeployError, CommandError, OSError)
"""The errors after which a deploy is rolled back."""


@dataclass
class Outcome:
    """What a deploy did, in words that a person can read."""

    changed: bool = False
    slot: str | None = None
    checked: bool = True
    """Whether the release has been checked through nginx."""
    summary: str = ""
    steps: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)


class Rollback:
    """The steps of a rollback. A failure of one is reported after the reason, and the other steps follow."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def step(self, action: Callable[..., object], *arguments: str | None) -> None:
        try:
            action(*arguments)
        except EXPECTED as error:
            self.failures.append(f"Rollback: {error}")

    def report(self, reason: Exception, state: str) -> str:
        """The text of the error: the reason, the failures of the rollback, and what runs now."""
        return "\n".join([str(reason), *self.failures, state])
