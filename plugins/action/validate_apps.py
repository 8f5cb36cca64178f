# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import time

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.flask_ops.production.plugins.plugin_utils._specs import ENTRIES, role_options
from ansible_collections.flask_ops.production.plugins.plugin_utils._validation import (
    account_errors,
    certificate_errors,
    entry_errors,
    fleet_errors,
    misspelt_names,
    platform_errors,
    variable_errors,
)

FACTS = ["!all", "!min", "date_time", "distribution", "hardware", "platform", "service_mgr"]


class ActionModule(ActionBase):
    """Checks on the controller; asks the host only for the facts that the roles need, and only once."""

    _VALID_ARGS = frozenset(("roles", "name"))

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        roles, name = self._task.args["roles"], self._task.args.get("name")
        prefixes = tuple(f"{role}_" for role in roles)
        ours = {key: task_vars[key] for key in task_vars if key.startswith(prefixes) and key != name}
        # Only what a spec describes is worth templating.
        known = {key for role in roles for key in role_options(role)}
        values, errors = self._templated({key: value for key, value in ours.items() if key in known})
        values |= {key: value for key, value in ours.items() if key not in known}
        entries = None
        if name:
            found, broken = self._templated({name: task_vars.get(name)})
            errors = broken or entry_errors(entries := found[name], name, roles) + errors
        errors += variable_errors(values, roles)
        # A playbook's list belongs to no role, and everybody has written its name by hand.
        lists = ["flask_apps"] if name and name not in ENTRIES.values() else []
        errors += misspelt_names(task_vars, roles, lists)
        if not errors and name:
            errors = fleet_errors(entries, name, task_vars["ansible_play_hosts_all"], task_vars["groups"]["all"])
        if not errors and "letsencrypt" in roles:
            errors = certificate_errors(entries, name, values)
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
                result["warnings"] = self._wrong_clock(facts)
            errors = platform_errors(facts, values)
        if not errors and "python_app" in roles:
            users = self._execute_module(
                "ansible.builtin.getent", module_args={"database": "passwd"}, task_vars=task_vars
            )
            if users.get("failed") or users.get("unreachable"):
                return users
            errors = account_errors(entries, name, users["ansible_facts"]["getent_passwd"])
        if errors:
            result["failed"] = True
            result["msg"] = "\n".join(
                [f"Nothing was changed. {len(errors)} to correct:", *(f"- {error}" for error in errors)]
            )
        return result

    def _templated(self, variables):
        """The values of variables, and an error for each that has none: Ansible would quote the lines around it."""
        values, errors = {}, []
        for key, value in variables.items():
            try:
                values[key] = self._templar.template(value)
            except AnsibleError as error:
                errors.append(f"{key}: {error.message}")
        return values, errors

    def _wrong_clock(self, facts):
        """A warning when the host's clock is an hour off: no certificate and no authority is trusted then."""
        off = int(facts.get("date_time", {}).get("epoch_int", time.time())) - time.time()
        if abs(off) < 3600:
            return []
        return [
            f"The clock of this host is {abs(off) / 3600:.1f} hours {'ahead of' if off > 0 else 'behind'} this one's."
        ]
