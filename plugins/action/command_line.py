# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.command_line import option_errors
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.action import templated

OPTIONS = {
    "playbook": {"type": "str", "required": True},
    "required": {"type": "list", "elements": "str", "required": True},
    "optional": {"type": "list", "elements": "str", "default": []},
}


class ActionModule(ActionBase):
    """Checks on the controller, and never asks the host."""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _checked, args = self.validate_argument_spec(OPTIONS)
        takes = dict.fromkeys(args["required"], True) | dict.fromkeys(args["optional"], False)
        given, errors = templated(self._templar, load_extra_vars(self._loader), takes)
        if not errors:
            apps, errors = templated(self._templar, {"flask_apps": task_vars.get("flask_apps")})
            errors = errors or option_errors(args["playbook"], takes, given, apps["flask_apps"])
        if errors:
            result["failed"] = True
            result["msg"] = errors[0] if len(errors) == 1 else "\n".join(f"- {error}" for error in errors)
        return result
