# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ansible import constants
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Remembers what a host has until the play ends: each role installs what it needs, and none has to ask again."""

    _VALID_ARGS = frozenset(("names", "masked"))

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        names = self._task.args["names"]
        installed, announced = self._remembered(task_vars)
        if isinstance(names, list) and set(names) <= installed | announced:
            return {"changed": False, "missing": sorted(announced.intersection(names))}
        found = self._execute_module("flask_ops.production.packages", module_args=self._task.args, task_vars=task_vars)
        installed = set(found.pop("installed", []))
        if found.get("failed") or found.get("unreachable"):
            return found
        if self._task.check_mode:
            # What one role has announced is nothing new when another one needs it as well.
            announced |= set(found["missing"])
        self._memory(task_vars).write_text(json.dumps([sorted(installed), sorted(announced)]), encoding="utf-8")
        return found

    def _remembered(self, task_vars) -> tuple[set[str], set[str]]:
        """What the host has, and what a dry run said that it would get."""
        try:
            installed, announced = json.loads(self._memory(task_vars).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return set(), set()
        return set(installed), set(announced)

    def _memory(self, task_vars) -> Path:
        """A file in the folder that Ansible makes for each run and removes at its end."""
        host = self._task.delegate_to or task_vars["inventory_hostname"]
        place = hashlib.sha256(f"{self._task.get_play()._uuid} {host}".encode()).hexdigest()
        return Path(constants.DEFAULT_LOCAL_TMP, f"flask-ops-packages-{place}.json")
