# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transient unit of systemd's in which a release is built.

Whatever reads or runs code of others runs in it: git, tar, uv, pip, build backends, compilers. It may write only
where the release is made, sees no other process, and none of its processes outlives it. It is started once per build.

Its group is not the app's: processes of the app that run meanwhile can neither look into those of the build, although
both belong to the same user, nor enter the directories that are open to this group only.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import typing as t

from ansible_collections.flask_ops.production.plugins.module_utils._host.command import (
    CommandError,
    command_prefix,
    error_text,
    head_and_tail,
)
from ansible_collections.flask_ops.production.plugins.module_utils._host.sandbox import BUILD
from ansible_collections.flask_ops.production.plugins.module_utils._host.secrets import without_passwords
from ansible_collections.flask_ops.production.plugins.module_utils._host.systemd import systemctl, transient_unit
from ansible_collections.flask_ops.production.plugins.module_utils._release import agent as _agent
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import App, ReleaseError
from ansible_collections.flask_ops.production.plugins.module_utils._release.program import program
from ansible_collections.flask_ops.production.plugins.module_utils._release.uv import proxies

GROUP = "nogroup"


class Build:
    """One build. The unit starts with the first command, and :meth:`end` ends all that runs in it."""

    def __init__(self, app: App, *writable: str) -> None:
        self.app = app
        self.writable = (app.build_directory, *writable)
        self.unit = f"flask-ops-build-{app.name}.service"
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: t.IO[bytes] | None = None

    def run(
        self,
        argv: t.Sequence[str],
        *,
        env: t.Mapping[str, str],
        cwd: str = "/",
        timeout: float = 600,
        stdin: t.IO[bytes] | None = None,
        name: str = "",
    ) -> str:
        """Run a program and return its standard output.

        :param name: what an error calls the command, where it is the user's own.
        :raises CommandError: with the first and last lines that the program printed.
        """
        request = {"argv": list(argv), "env": dict(env), "cwd": cwd, "timeout": timeout}
        answer = self._ask(request, timeout + 60, stdin)
        name = name or command_prefix(argv)
        if answer.get("missing"):
            raise CommandError(f"{argv[0]} is not installed on this host")
        if answer["status"] is None:
            raise CommandError(f"'{name}' timed out after {timeout:g} s")
        if answer["status"]:
            reason = error_text(name, answer["status"], answer["stdout"], answer["stderr"])
            raise CommandError(self.without_secrets(reason))
        return str(answer["stdout"])

    def read(self, path: str, option: str) -> str | None:
        """The text of a file of the source; None where there is none.

        :param option: what an error names as its place.
        """
        answer = self._ask({"read": path}, 60)
        if "problem" in answer:
            raise ReleaseError(f"{option}: {path} cannot be read: {answer['problem']}")
        text = answer["text"]
        return None if text is None else str(text)

    def without_secrets(self, text: str) -> str:
        return without_passwords(text, self.app.extra_index, *proxies().values())

    def end(self) -> None:
        """End every process of the build. Afterwards nothing can change what it made but root."""
        if self._process is None:
            return
        if self._channel is not None:
            self._channel.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            systemctl("stop", self.unit)
            self._process.wait(60)
        self._process = self._channel = None

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.end()

    def _ask(self, request: dict[str, t.Any], timeout: float, stdin: t.IO[bytes] | None = None) -> dict[str, t.Any]:
        channel = self._channel or self._start()
        channel.settimeout(timeout)
        try:
            _agent.send(channel, request, stdin.fileno() if stdin else None)
            answer, _descriptor = _agent.receive(channel)
        except (EOFError, OSError, ValueError) as error:
            self.end()
            raise CommandError(f"{self.unit} ended early. {self._last_lines()}".rstrip()) from error
        if not isinstance(answer, dict):
            raise CommandError(f"{self.unit} gave no answer")
        return answer

    def _start(self) -> socket.socket:
        # An interrupted run may have left it.
        with contextlib.suppress(CommandError):
            systemctl("stop", self.unit)
        self._channel, other_end = socket.socketpair()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - read when the unit has ended
        with other_end:
            self._process = subprocess.Popen(
                self.command(), stdin=other_end.fileno(), stdout=subprocess.DEVNULL, stderr=self._stderr, cwd="/"
            )
        return self._channel

    def command(self) -> list[str]:
        """The command that starts the agent in a unit of its own."""
        # Environments of earlier releases are for the app's group to read.
        properties = [*BUILD, ("SupplementaryGroups", self.app.user), ("ReadWritePaths", " ".join(self.writable))]
        argv = ["/usr/bin/python3", "-I", "-c", program(_agent)]
        return transient_unit(argv, self.unit, f"{self.app.name}: build", self.app.user, GROUP, properties)

    def _last_lines(self) -> str:
        if self._stderr is None:
            return ""
        self._stderr.seek(0)
        return head_and_tail(self._stderr.read(1 << 16).decode("utf-8", "replace"))
