# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.flask_ops.production.plugins.module_utils._host.failures import named
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.cache import PlayCache
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.run import SEVERAL_ROLES

OPTIONS = {
    "failures": {"type": "list", "elements": "dict", "required": True},
    "at_end": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    """Prints each failure once: Ansible prints the message of a failed task twice, and its line breaks as a backslash and an n."""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _checked, args = self.validate_argument_spec(OPTIONS)
        cache = PlayCache("failures", self, task_vars)
        failures = [tuple(known) for known in cache.get(())]
        failures += [(app, text) for role in args["failures"] for app, text in role.items()]
        failures = list(dict.fromkeys(failures))
        if task_vars.get(SEVERAL_ROLES) and not args["at_end"]:
            cache.set(failures)
            return result
        if not failures:
            return result
        host, display = task_vars["inventory_hostname"], Display()
        for app, text in failures:
            display.display(f"\n[{host}] {named(app, text)}", color=constants.COLOR_ERROR)
        apps = list(dict.fromkeys(app for app, _text in failures))
        counted = "1 app failed" if len(apps) == 1 else f"{len(apps)} apps failed"
        reason = "The reason is" if len(failures) == 1 else "The reasons are"
        return {**result, "failed": True, "msg": f"{counted}: {', '.join(apps)}. {reason} printed above."}
