# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an action has found out about a host, for later tasks of the same play, so that none has to ask again.

This plugin util is private to the collection.
"""

from __future__ import annotations

import hashlib
import json
import typing as t
from pathlib import Path

from ansible import constants
from ansible.plugins.action import ActionBase


class PlayCache:
    """A file for each host, in the directory that Ansible makes for each run and removes at its end.

    :param whole_run: whether later plays remember as well.
    """

    def __init__(
        self, name: str, action: ActionBase, task_vars: t.Mapping[str, t.Any], whole_run: bool = False
    ) -> None:
        host = action._task.delegate_to or task_vars["inventory_hostname"]
        scope = "run" if whole_run else action._task.get_play()._uuid
        place = hashlib.sha256(f"{scope} {host}".encode()).hexdigest()
        self._path = Path(constants.DEFAULT_LOCAL_TMP, f"flask-ops-{name}-{place}.json")

    def get(self, otherwise: t.Any) -> t.Any:
        try:
            return json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return otherwise

    def set(self, value: t.Any) -> None:
        self._path.write_text(json.dumps(value), encoding="utf-8")
