# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.flask_ops.production.plugins.plugin_utils._task.action import RenderingAction
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.files import described

PASSED_ON = ("validate", "refuse", "isolate", "reload", "reload_log", "stop")


class ActionModule(RenderingAction):
    """Renders the files on the controller; the module of the same name brings them to their state."""

    _VALID_ARGS = frozenset(("files", *PASSED_ON))

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        shown, secret = described(self._task.args["files"], self.renderer(task_vars))
        arguments = {"files": shown, "secret_files": secret}
        arguments.update({key: self._task.args[key] for key in PASSED_ON if key in self._task.args})
        return self._execute_module("flask_ops.production.config_files", module_args=arguments, task_vars=task_vars)
