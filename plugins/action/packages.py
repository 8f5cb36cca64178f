# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from ansible.plugins.action import ActionBase

APT = {"state": "present", "install_recommends": False, "cache_valid_time": 3600, "lock_timeout": 120}


class ActionModule(ActionBase):
    """Asks dpkg what is missing, and calls ansible.builtin.apt only for that."""

    _VALID_ARGS = frozenset(("names",))

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        found = self._execute_module(
            "flask_ops.production.packages", module_args={"names": self._task.args["names"]}, task_vars=task_vars
        )
        if found.get("failed") or not found["missing"] or self._task.check_mode:
            return found
        result = self._execute_module(
            "ansible.builtin.apt", module_args={**APT, "name": found["missing"]}, task_vars=task_vars
        )
        return {**result, "missing": found["missing"]}
