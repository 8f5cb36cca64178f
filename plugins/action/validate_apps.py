# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from ansible import constants
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.ownership import (
    claims,
    ownership_errors,
    question,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.passwords import hash_errors
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import ENTRIES, role_options
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.validation import (
    certificate_errors,
    entry_errors,
    fleet_errors,
    misspelt_names,
    overridden_errors,
    place_of,
    platform_errors,
    unread_names,
    variable_errors,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.action import templated
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.memory import Memory

NEEDED = {"architecture", "distribution", "distribution_major_version", "memtotal_mb", "processor_vcpus"}
"""Facts that are gathered unless somebody has done so before."""


class ActionModule(ActionBase):
    """Checks on the controller; asks the host only for the facts that the roles need, and only once."""

    _VALID_ARGS = frozenset(("roles", "name", "partial"))

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        roles, name = self._task.args["roles"], self._task.args.get("name")
        partial = boolean(self._task.args.get("partial", False))
        of_playbook = name is not None and name not in ENTRIES.values()
        prefixes = tuple(f"{role}_" for role in roles)
        ours = {key: task_vars[key] for key in task_vars if key.startswith(prefixes) and key != name}
        # Only what a spec describes is worth templating.
        known = {key for role in roles for key in role_options(role)}
        values, errors = templated(self._templar, {key: value for key, value in ours.items() if key in known})
        values |= {key: value for key, value in ours.items() if key not in known}
        entries = None
        if name:
            found, broken = templated(self._templar, {name: task_vars.get(name)})
            errors = broken or entry_errors(entries := found[name], name, roles, partial) + errors
        errors += variable_errors(values, roles)
        # A playbook's list belongs to no role, and users write its name by hand. No role is loaded yet.
        errors += misspelt_names(task_vars, roles, ["flask_apps"] if of_playbook else [], task_vars)
        if of_playbook:
            errors += overridden_errors(task_vars)
            if constants.DEFAULT_PRIVATE_ROLE_VARS:
                errors.append(
                    "private_role_vars: the roles of a playbook hand their results on; set it to false in ansible.cfg, and "
                    "unset ANSIBLE_PRIVATE_ROLE_VARS"
                )
        if not errors and name:
            errors = fleet_errors(entries, name, task_vars["ansible_play_hosts_all"], task_vars["groups"]["all"])
        if not errors:
            with_sites = entries if "nginx_proxy" in roles else []
            errors = hash_errors(with_sites, name, values)
        if not errors and "letsencrypt" in roles:
            errors = certificate_errors(entries, name, values)
        if not errors:
            errors = self._host_errors(entries, name, roles, values, task_vars, result)
            if of_playbook and (unread := unread_names(ours, roles)):
                warning = (
                    f"{', '.join(unread)}: not read by flask_ops.production, which has roles of these names; fine if "
                    "another collection reads them"
                )
                result["warnings"] = [*result.get("warnings", []), warning]
        if errors:
            if name == "chosen_apps":
                errors = self._in_the_users_list(errors, entries, task_vars)
            result["failed"] = True
            result["msg"] = "\n".join(
                [f"Nothing was changed. {len(errors)} to correct:", *(f"- {error}" for error in errors)]
            )
        return result

    def _in_the_users_list(self, errors, chosen, task_vars):
        """The errors of the apps that a playbook has chosen, each with its place in ``flask_apps``."""
        apps = templated(self._templar, {"flask_apps": task_vars.get("flask_apps")})[0]
        names = [entry.get("name") for entry in apps.get("flask_apps") or [] if isinstance(entry, Mapping)]

        def real(found):
            return f"flask_apps[{names.index(chosen[int(found.group(1))]['name'])}]"

        return [re.sub(r"\bchosen_apps\[(\d+)\]", real, error) for error in errors]

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
        missing, foreign, users = NEEDED - facts.keys(), {}, []
        if wanted or missing:
            answer = self._execute_module(
                "flask_ops.production.host_facts", module_args=question(wanted, values), task_vars=task_vars
            )
            if answer.get("failed") or answer.get("unreachable"):
                result.update(answer)
                return []
            foreign, users = answer["foreign"], answer["users"]
            if name == "flask_apps":
                result["warnings"] = left_over(answer["apps"], entries)
            if missing:
                result["ansible_facts"] = answer["ansible_facts"]
                result["warnings"] = [*result.get("warnings", []), *wrong_clock(answer["seconds"])]
                facts = {key.removeprefix("ansible_"): value for key, value in answer["ansible_facts"].items()}
        places = [place_of(entry, name, index) for index, entry in enumerate(entries or [])]
        errors = platform_errors(facts, values) or ownership_errors(wanted, foreign, entries or [], places)
        if name == "chosen_apps" and not errors:
            asked = {claim.what for claim in wanted if claim.kind == "accounts"}
            errors = [
                f"{place}.name: this host has no user for the app yet; run the playbook site first, which sets the app up"
                for place, entry in zip(places, entries, strict=True)
                if entry["name"] in asked - set(users)
            ]
        if wanted and not errors:
            for of_accounts, memory in memories.items():
                of_kind = {claim.what for claim in wanted if (claim.kind == "accounts") == of_accounts}
                memory.keep(sorted(checked[of_accounts] | of_kind))
        return errors


def left_over(deployed, entries):
    """A warning for each app that is on the host and in no list: it runs on, and nothing manages it."""
    names = {entry["name"] for entry in entries}
    return [
        f"{name} is deployed on this host and is not in flask_apps: add it with state: absent to remove it"
        for name in deployed
        if name not in names
    ]


def wrong_clock(seconds):
    """A warning when the host's clock is an hour off: no certificate and no CA is trusted then."""
    off = seconds - time.time()
    if abs(off) < 3600:
        return []
    return [f"The clock of this host is {abs(off) / 3600:.1f} hours {'ahead of' if off > 0 else 'behind'} this one's."]
