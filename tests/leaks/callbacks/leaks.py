"""Looks through all that a run says, or would say with -vvv and --diff, for secrets in the form of a canary.

FLASK_OPS_LEAKS names the file that gets a line for each run, and one for each text with a secret in it.
"""

from __future__ import annotations

import json
import os
import re
import typing as t
from pathlib import Path

from ansible.plugins.callback import CallbackBase
from ansible.utils.display import Display

DOCUMENTATION = """
name: leaks
type: aggregate
short_description: Find secrets in what a run says
description: Takes FLASK_OPS_LEAKS, the path of a file, from the environment.
"""

CANARY = re.compile(r"canary[-+][0-9a-f]{6,}")  # base64 has plus signs


def report(text: str) -> None:
    """Append a line to the file. What is in it is no secret: the canary is cut short."""
    with Path(os.environ["FLASK_OPS_LEAKS"]).open("a", encoding="utf-8") as leaks:
        leaks.write(text.replace("\n", " ") + "\n")


def look(text: str, where: str) -> None:
    for found in CANARY.finditer(text):
        around = text[max(0, found.start() - 60) : found.start()]
        report(f"{where}: ...{around}{found[0][:9]}...")


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "leaks"

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        # Also the details that only -vvv shows. Processes for the hosts are forked later, and inherit this.
        show, detail = Display.display, Display.verbose

        def display(display: Display, msg: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
            look(str(msg), "output")
            return show(display, msg, *args, **kwargs)

        def verbose(display: Display, msg: t.Any, host: t.Any = None, caplevel: int = 2) -> t.Any:
            if caplevel < 3:
                look(str(msg), "details")
            return detail(display, msg, host=host, caplevel=caplevel)

        Display.display, Display.verbose = display, verbose

    def v2_playbook_on_start(self, playbook: t.Any) -> None:
        report(f"watched {Path(playbook._file_name).name}")

    def v2_runner_on_ok(self, result: t.Any, **_: t.Any) -> None:
        task = result._task.get_name().strip()
        look(json.dumps(result._result, default=str, ensure_ascii=False), f"result of '{task}'")

    v2_runner_on_failed = v2_runner_on_unreachable = v2_runner_on_skipped = v2_runner_retry = v2_runner_on_ok
    v2_runner_item_on_ok = v2_runner_item_on_failed = v2_runner_item_on_skipped = v2_on_file_diff = v2_runner_on_ok
