# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.memory import Memory


class ActionModule(ActionBase):
    """Remembers what a host has until the play ends: each role installs what it needs, and none has to ask again."""

    _VALID_ARGS = frozenset(("names", "apps", "masked"))

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        names, apps = self._task.args["names"], self._task.args.get("apps") or {}
        # What the host has, what a check-mode run has announced, and why the packages of some apps cannot be installed.
        memory = Memory("packages", self, task_vars)
        *known, failures = memory.recall(((), (), {}))
        installed, announced = map(set, known)
        if isinstance(names, list):
            wanted = {*names, *(name for app, packages in apps.items() if app not in failures for name in packages)}
            if wanted <= installed | announced:
                failed = {app: failures[app] for app in apps if app in failures}
                return {"changed": False, "missing": sorted(announced & wanted), "failures": failed}
        found = self._execute_module("flask_ops.production.packages", module_args=self._task.args, task_vars=task_vars)
        installed = set(found.pop("installed", []))
        if found.get("failed") or found.get("unreachable"):
            return found
        if self._task.check_mode:
            # What one role has announced is nothing new when another one needs it as well.
            announced |= set(found["missing"])
        memory.keep((sorted(installed), sorted(announced), {**failures, **found.get("failures", {})}))
        return found
