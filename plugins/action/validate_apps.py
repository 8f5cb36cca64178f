# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import time

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.flask_ops.production.plugins.plugin_utils._memory import Memory
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

NEEDED = {"architecture", "distribution", "distribution_major_version", "memtotal_mb", "processor_vcpus"}
"""Facts that are gathered unless somebody has done so before."""


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
            errors = self._host_errors(entries, name, roles, values, task_vars, result)
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

    def _host_errors(self, entries, name, roles, values, task_vars, result):
        """What is wrong with the host, or with the apps on it. The facts that were missing go into the result."""
        facts = task_vars.get("ansible_facts", {})
        names = {entry["name"] for entry in entries or []} if "python_app" in roles else set()
        # The playbook's check and the role's come one after the other: whose the users are does not change in between.
        memory = Memory("accounts", self, task_vars)
        judged = set(memory.recall(()))
        names -= judged
        missing, users = NEEDED - facts.keys(), {}
        if names or missing:
            told = self._execute_module(
                "flask_ops.production.host_facts", module_args={"users": sorted(names)}, task_vars=task_vars
            )
            if told.get("failed") or told.get("unreachable"):
                result.update(told)
                return []
            users = told["users"]
            if missing:
                result["ansible_facts"] = told["ansible_facts"]
                result["warnings"] = wrong_clock(told["seconds"])
                facts = {key.removeprefix("ansible_"): value for key, value in told["ansible_facts"].items()}
        errors = platform_errors(facts, values) or account_errors(entries or [], name, users)
        if names and not errors:
            memory.keep(sorted(judged | names))
        return errors


def wrong_clock(seconds):
    """A warning when the host's clock is an hour off: no certificate and no authority is trusted then."""
    off = seconds - time.time()
    if abs(off) < 3600:
        return []
    return [f"The clock of this host is {abs(off) / 3600:.1f} hours {'ahead of' if off > 0 else 'behind'} this one's."]
