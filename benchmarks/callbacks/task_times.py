"""Writes how long each task of a run took, in order, as JSON: BENCHMARK_TASKS says where to."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: task_times
type: notification
short_description: Write how long each task took
description: Takes BENCHMARK_TASKS from the environment.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "task_times"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.began: list[tuple[str, float]] = []

    def v2_playbook_on_task_start(self, task, is_conditional):
        self.began.append((task.get_name(), time.monotonic()))

    def v2_playbook_on_handler_task_start(self, task):
        self.began.append((task.get_name(), time.monotonic()))

    def v2_playbook_on_stats(self, stats):
        ends = [start for _, start in self.began[1:]] + [time.monotonic()]
        took = [(name, round(end - start, 3)) for (name, start), end in zip(self.began, ends, strict=True)]
        Path(os.environ["BENCHMARK_TASKS"]).write_text(json.dumps(took))
