# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import time

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.flask_ops.production.plugins.plugin_utils._memory import Memory
from ansible_collections.flask_ops.production.plugins.plugin_utils._ownership import (
    claims,
    ownership_errors,
    question,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._specs import ENTRIES, role_options
from ansible_collections.flask_ops.production.plugins.plugin_utils._validation import (
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
        """The errors of the host, and of the apps on it. The facts that were missing go into the result."""
        facts = task_vars.get("ansible_facts", {})
        # Packages that are installed before the roles may bring users of their own.
        memories = {
            of_accounts: Memory(f"claims-{of_accounts}", self, task_vars, whole_run=not of_accounts)
            for of_accounts in (True, False)
        }
        checked = {scope: set(memory.recall(())) for scope, memory in memories.items()}
        wanted = [
            claim
            for claim in claims(entries or [], roles, values, task_vars["inventory_hostname"])
            if claim.what not in checked[claim.kind == "accounts"]
        ]
        missing, foreign = NEEDED - facts.keys(), {}
        if wanted or missing:
            answer = self._execute_module(
                "flask_ops.production.host_facts", module_args=question(wanted, values), task_vars=task_vars
            )
            if answer.get("failed") or answer.get("unreachable"):
                result.update(answer)
                return []
            foreign = answer["foreign"]
            if missing:
                result["ansible_facts"] = answer["ansible_facts"]
                result["warnings"] = wrong_clock(answer["seconds"])
                facts = {key.removeprefix("ansible_"): value for key, value in answer["ansible_facts"].items()}
        places = [f"{name}[{index}]" for index in range(len(entries or []))]
        errors = platform_errors(facts, values) or ownership_errors(wanted, foreign, entries or [], places)
        if wanted and not errors:
            for of_accounts, memory in memories.items():
                of_kind = {claim.what for claim in wanted if (claim.kind == "accounts") == of_accounts}
                memory.keep(sorted(checked[of_accounts] | of_kind))
        return errors


def wrong_clock(seconds):
    """A warning when the host's clock is an hour off: no certificate and no authority is trusted then."""
    off = seconds - time.time()
    if abs(off) < 3600:
        return []
    return [f"The clock of this host is {abs(off) / 3600:.1f} hours {'ahead of' if off > 0 else 'behind'} this one's."]
