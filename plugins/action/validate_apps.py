# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.flask_ops.production.plugins.plugin_utils._specs import role_options
from ansible_collections.flask_ops.production.plugins.plugin_utils._validation import (
    certificate_errors,
    entry_errors,
    fleet_errors,
    platform_errors,
    variable_errors,
)

FACTS = ["!all", "!min", "distribution", "hardware", "platform"]


class ActionModule(ActionBase):
    """Checks on the controller; asks the host only for the facts that the roles need, and only once."""

    _VALID_ARGS = frozenset(("roles", "entries", "name"))

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        roles, name = self._task.args["roles"], self._task.args.get("name")
        ours = {key: task_vars[key] for key in task_vars if key.startswith(tuple(f"{role}_" for role in roles))}
        # The entries come templated as an argument; of the rest, only what a spec describes is worth templating.
        known = {key for role in roles for key in role_options(role)}
        values = {
            key: self._templar.template(value) if key in known else value for key, value in ours.items() if key != name
        }
        errors = entry_errors(self._task.args.get("entries"), name, roles) if name else []
        errors += variable_errors(values, roles)
        if not errors and name:
            errors = fleet_errors(
                self._task.args["entries"], name, task_vars["ansible_play_hosts_all"], task_vars["groups"]["all"]
            )
        if not errors and "letsencrypt" in roles:
            errors = certificate_errors(self._task.args.get("entries"), name, values)
        if not errors:
            facts = task_vars.get("ansible_facts", {})
            if not {"distribution", "memtotal_mb", "architecture"} <= facts.keys():
                gathered = self._execute_module(
                    "ansible.builtin.setup", module_args={"gather_subset": FACTS}, task_vars=task_vars
                )
                if gathered.get("failed") or gathered.get("unreachable"):
                    return gathered
                result["ansible_facts"] = gathered["ansible_facts"]
                facts = {key.removeprefix("ansible_"): value for key, value in gathered["ansible_facts"].items()}
            errors = platform_errors(facts, values)
        if errors:
            result["failed"] = True
            result["msg"] = "\n".join(
                [f"Nothing was changed. {len(errors)} to correct:", *(f"- {error}" for error in errors)]
            )
        return result
