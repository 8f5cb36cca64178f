# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app's background processes in systemd: their units, their commands, and the hosts that run them."""

from __future__ import annotations

import re
import shlex
import typing as t
from collections.abc import Mapping

Options = Mapping[str, t.Any]

OTHER_UNITS = ("blue", "green", "migrate", "preflight")
"""Other units of an app, C(<app>-blue) and so on: its slots, and commands that are run once from a release."""


def unit_name(app: Options, process: Options) -> str:
    """The name of a process's unit without its type; that of a worker is a template."""
    return f"{app['name']}-{process['name']}{'@' if process['kind'] == 'worker' else ''}"


def units(app: Options, process: Options) -> list[str]:
    """What has to run for a process: each instance of a worker, the service of a scheduler, the timer of a timer."""
    name = unit_name(app, process)
    if process["kind"] == "worker":
        return [f"{name}{number}.service" for number in range(1, process["instances"] + 1)]
    return [f"{name}.{'timer' if process['kind'] == 'timer' else 'service'}"]


def on_host(app: Options, host: str) -> list[Options]:
    """The processes of an app that a host should run, by the host's name in the inventory."""
    if app["state"] == "absent":
        return []
    return [process for process in app["processes"] if process["only_on"] in (None, host)]


def command_line(process: Options) -> str:
    """A command as systemd's ``ExecStart`` takes it: word by word as a shell would split it, and nothing expanded.

    systemd looks for a program in places of its own; ``env`` looks in the ``PATH`` of the unit, where the release's
    virtual environment comes first. ``{instance}`` of a worker becomes the number of the instance.

    >>> command_line({"command": "celery -A shop worker -n 'w{instance}@%h'", "kind": "worker"})
    '/usr/bin/env celery -A shop worker -n w%i@%%h'
    >>> command_line({"command": "flask say '50 $ \\"now\\"'", "kind": "timer"})
    '/usr/bin/env flask say "50 $$ \\\\"now\\\\""'
    """
    words = [_quoted(word) for word in shlex.split(process["command"])]
    line = " ".join(["/usr/bin/env", *words])
    return line.replace("{instance}", "%i") if process["kind"] == "worker" else line


def _quoted(word: str) -> str:
    escaped = re.sub(r'(["\\])', r"\\\1", word).replace("%", "%%").replace("$", "$$")
    return escaped if re.fullmatch(r"[\w./:=,@+{}%$-]+", escaped) else f'"{escaped}"'
