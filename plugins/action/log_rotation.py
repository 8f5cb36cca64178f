# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.flask_ops.production.plugins.module_utils._logs.rotation import filled
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.action import RenderingAction
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.files import described


class ActionModule(RenderingAction):
    """Renders one file for each entry; the module of the same name puts them before logrotate, and in place."""

    _VALID_ARGS = frozenset(("logs", "src"))

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        logs = [filled(log) for log in self._task.args["logs"]]
        file = {"dest": "/etc/logrotate.d/{name}", "src": self._task.args["src"], "each": logs, "as": "log"}
        shown, _secret = described([file], self.renderer(task_vars))
        files = [{**entry, "paths": log["paths"] or []} for entry, log in zip(shown, logs, strict=True)]
        return self._execute_module(
            "flask_ops.production.log_rotation", module_args={"files": files}, task_vars=task_vars
        )
