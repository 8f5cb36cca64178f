"""Kills the run that it is loaded into: KILL_TASK says in which task, KILL_DELAY how many seconds after its start."""

from __future__ import annotations

import os
import signal
import threading

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: killed
type: notification
short_description: Kill the run in the midst of a task
description: Takes KILL_TASK and KILL_DELAY from the environment.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "killed"
    CALLBACK_NEEDS_ENABLED = True

    tasks = 0

    def v2_playbook_on_task_start(self, task, is_conditional):
        self.tasks += 1
        if self.tasks == int(os.environ["KILL_TASK"]):
            print(f"KILLED in: {task.get_name()}", flush=True)
            threading.Timer(float(os.environ["KILL_DELAY"]), os.killpg, (os.getpgrp(), signal.SIGKILL)).start()
