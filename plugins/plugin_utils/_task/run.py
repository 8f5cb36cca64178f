# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules on a host learn about the run of ``ansible-playbook`` that calls them.

This plugin util is private to the collection.
"""

from __future__ import annotations

import getpass
import os
import socket
import typing as t

from ansible import constants

SEVERAL_ROLES = "flask_ops_several_roles"
"""The variable of a play that takes apps through several roles, from the build to the last process."""

IDLE, IDLE_WITH_OTHERS = 30, 240
"""Seconds without a step after which a run counts as dead: on one host; and where it waits for builds on others, too."""


def this_run(task_vars: t.Mapping[str, t.Any], last: bool = False) -> dict[str, t.Any]:
    """The run, the same for all its tasks.

    :param last: whether a deploy ends with this step, also where it goes through several roles.
    """
    return {
        # Ansible makes this folder for each run, with a name that is unique on the controller.
        "id": f"{who()} {os.path.basename(constants.DEFAULT_LOCAL_TMP)}",
        "by": who(),
        # Each task runs in a child of ansible-playbook.
        "process": os.getppid(),
        "idle": IDLE if len(task_vars["ansible_play_hosts"]) == 1 else IDLE_WITH_OTHERS,
        "last": last or not task_vars.get(SEVERAL_ROLES),
    }


def who() -> str:
    """The user of the controller."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
