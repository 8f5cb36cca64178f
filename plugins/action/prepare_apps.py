# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
from collections.abc import Mapping

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.apps import (
    Placed,
    ask,
    prepare,
    variable_errors,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.names import (
    misspelt_names,
    overridden_errors,
    unread_names,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.ownership import (
    host_claims,
    ownership_errors,
    question,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.platform import platform_errors
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import app_roles, role_options
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.values import dictionary
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.versions import with_version
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.action import templated
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.cache import PlayCache

LIST_OF_PLAYBOOKS = "flask_apps"

NEEDED = {"architecture", "distribution", "distribution_major_version", "memtotal_mb", "processor_vcpus"}
"""Facts that are gathered unless somebody has done so before."""

OPTIONS = {
    "name": {"type": "str"},
    "roles": {"type": "list", "elements": "str"},
    "app": {"type": "str"},
    "version": {"type": "str"},
    "check_host": {"type": "bool", "default": True},
}


class ActionModule(ActionBase):
    """Works on the controller; asks the host only for the facts that the roles need, and only once."""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _checked, args = self.validate_argument_spec(OPTIONS)
        roles, name = args["roles"] or app_roles(), args["name"]
        result["warnings"] = []
        given, apps, present, errors, variables = self._prepared(name, roles, args["app"], args["version"], task_vars)
        if not errors:
            hosts, inventory = list(task_vars["ansible_play_hosts_all"]), list(task_vars["groups"]["all"])
            for place, app in given:
                errors += ask("fleet_errors", roles, app, place, hosts, inventory)
        if not errors:
            errors = ask("final_errors", roles, [] if args["app"] else given, variables, name)
        if not errors and args["check_host"]:
            errors = self._host_errors(apps, args, roles, variables, task_vars, result)
        if result.get("failed") or result.get("unreachable"):
            return result
        if errors:
            return {
                **result,
                "failed": True,
                "msg": "\n".join(
                    [f"Nothing was changed. {len(errors)} to correct:", *(f"- {error}" for error in errors)]
                ),
            }
        # The apps hold their secrets: no callback may print them, or write them down.
        for warning in result.pop("warnings"):
            Display().warning(warning)
        return {
            **result,
            "apps": [app for _place, app in apps],
            "present": present,
            "_ansible_no_log": bool(apps),
        }

    def _prepared(self, name, roles, only, version, task_vars):
        """The apps as given and as prepared, each with its place; how many are present in the whole list; all errors; and the
        variables of the roles."""
        of_playbook = name == LIST_OF_PLAYBOOKS
        prefixes = tuple(f"{role}_" for role in roles)
        ours = {key: task_vars[key] for key in task_vars if key.startswith(prefixes) and key != name}
        # Only what a spec describes is worth templating.
        known = {key for role in roles for key in role_options(role)}
        values, errors = templated(self._templar, {key: value for key, value in ours.items() if key in known})
        values |= {key: value for key, value in ours.items() if key not in known}
        given: Placed = []
        apps: Placed = []
        present = 0
        if name:
            found, broken = templated(self._templar, {name: task_vars.get(name)})
            entries = found.get(name)
            if version and isinstance(entries, (list, tuple)):
                entries = list(entries)
                for index, entry in enumerate(entries):
                    if isinstance(entry, Mapping) and entry.get("name") == only:
                        entries[index], wrong = with_version(entry, version)
                        errors += wrong
            if not broken:
                given_apps = entries if isinstance(entries, (list, tuple)) else []
                present = sum(dictionary(app).get("state", "present") == "present" for app in given_apps)
                given, apps, broken = prepare(entries, name, roles, only)
            errors = broken + errors
        errors += variable_errors(values, roles)
        # Users write the name of a playbook's list by hand. No role is loaded yet.
        errors += misspelt_names(task_vars, roles, [LIST_OF_PLAYBOOKS] if of_playbook else [], task_vars)
        if of_playbook:
            errors += overridden_errors(task_vars)
            if constants.DEFAULT_PRIVATE_ROLE_VARS:
                errors.append(
                    "private_role_vars: the roles of a playbook hand their results on; set it to false in ansible.cfg, and "
                    "unset ANSIBLE_PRIVATE_ROLE_VARS"
                )
            if unread := unread_names(ours, roles):
                Display().warning(
                    f"{', '.join(unread)}: not read by flask_ops.production, which has roles of these names; fine if "
                    "another collection reads them"
                )
        return given, apps, present, errors, values

    def _host_errors(self, apps, args, roles, variables, task_vars, result):
        """The errors of the host, and of the apps on it. The facts that were missing go into the result."""
        facts = task_vars.get("ansible_facts", {})
        # Packages that are installed before the roles may bring users of their own.
        caches = {
            of_accounts: PlayCache(f"claims-{of_accounts}", self, task_vars, whole_run=not of_accounts)
            for of_accounts in (True, False)
        }
        checked = {scope: set(cache.get(())) for scope, cache in caches.items()}
        wanted = [
            claim
            for claim in host_claims(apps, roles, task_vars["inventory_hostname"])
            if claim.name not in checked[claim.kind == "accounts"]
        ]
        missing, foreign, users = NEEDED - facts.keys(), {}, []
        if wanted or missing:
            answer = self._execute_module(
                "flask_ops.production.host_facts", module_args=question(wanted), task_vars=task_vars
            )
            if answer.get("failed") or answer.get("unreachable"):
                result.update(answer)
                return []
            foreign, users = answer["foreign"], answer["users"]
            if args["name"] == LIST_OF_PLAYBOOKS and not args["app"]:
                result["warnings"] += left_over(answer["apps"], apps)
            if missing:
                result["ansible_facts"] = answer["ansible_facts"]
                result["warnings"] += wrong_clock(answer["seconds"])
                facts = {key.removeprefix("ansible_"): value for key, value in answer["ansible_facts"].items()}
        errors = platform_errors(facts, variables, roles) or ownership_errors(wanted, foreign)
        if args["app"] and not errors:
            asked = {claim.name for claim in wanted if claim.kind == "accounts"}
            errors = [
                f"{place}.name: this host has no user for the app yet; run the playbook site first, which sets the app up"
                for place, app in apps
                if app["name"] in asked - set(users)
            ]
        if wanted and not errors:
            for of_accounts, cache in caches.items():
                of_kind = {claim.name for claim in wanted if (claim.kind == "accounts") == of_accounts}
                cache.set(sorted(checked[of_accounts] | of_kind))
        return errors


def left_over(deployed, apps):
    """A warning for each app that is on the host and in no list: it runs on, and nothing manages it."""
    names = {app["name"] for _place, app in apps}
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
