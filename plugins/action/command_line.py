# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.command_line import option_errors
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.action import templated


class ActionModule(ActionBase):
    """Checks on the controller, and never asks the host."""

    _VALID_ARGS = frozenset(("playbook", "required", "optional"))

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        arguments = self._task.args
        takes = dict.fromkeys(arguments["required"], True) | dict.fromkeys(arguments.get("optional", []), False)
        given, errors = templated(self._templar, load_extra_vars(self._loader), takes)
        if not errors:
            apps, errors = templated(self._templar, {"flask_apps": task_vars.get("flask_apps")})
            errors = errors or option_errors(arguments["playbook"], takes, given, apps["flask_apps"])
        if errors:
            result["failed"] = True
            result["msg"] = errors[0] if len(errors) == 1 else "\n".join(f"- {error}" for error in errors)
        return result
