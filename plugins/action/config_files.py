# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.flask_ops.production.plugins.plugin_utils._task.action import RenderingAction
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.files import described


class ActionModule(RenderingAction):
    """Renders the files on the controller; the module of the same name writes them."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        # The module validates the options. Here, that would make a copy of each app for each file.
        files, secrets = described(self._task.args.get("files") or [], self.renderer(task_vars))
        arguments = {**self._task.args, "files": files, "secrets": secrets}
        return self._execute_module("flask_ops.production.config_files", module_args=arguments, task_vars=task_vars)
