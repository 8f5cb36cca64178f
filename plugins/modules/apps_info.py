#!/usr/bin/python
# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: apps_info
short_description: Gather the deployment status and the health of apps
version_added: 0.1.0
description:
  - Gathers which slot and which release of each app are live, since when, and whether the app answers, on the slot's own
    socket and through nginx.
  - Looks for problems of each app and of the host, such as a maintenance page that was forgotten, workers that die, units
    that a drop-in changes, files that were edited, and file systems that are nearly full.
  - Reads the last deploys of each app, with who made them, from the log that M(flask_ops.production.app_slots) writes.
  - Changes nothing.
extends_documentation_fragment:
  - flask_ops.production.common
  - flask_ops.production.common.apps
  - flask_ops.production.common.reads
seealso:
  - module: flask_ops.production.app_slots
options:
  https_port:
    description: nginx's port for HTTPS on this host. V(0) where nginx does not serve the apps.
    type: int
    default: 443
  listed:
    description:
      - The names of all apps of the inventory. An app that is live on the host and not among them is reported.
      - By default, no such app is looked for.
    type: list
    elements: str
    default: []
  warn:
    description: Whether each problem is a warning of the task.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Gather the status of the apps
  flask_ops.production.apps_info:
    apps: "{{ prepared.apps | flask_ops.production.without_secrets }}"
  register: status

- name: Stop unless each app answers
  ansible.builtin.assert:
    that: status.apps.values() | rejectattr('reachable') | length == 0
"""

RETURN = r"""
apps:
  description: The status of each app, by its name.
  returned: success
  type: dict
  contains:
    name:
      description: The name of the app.
      type: str
    slot:
      description: The live slot; null where there is none.
      type: str
    release:
      description: The id of the live release; null where there is none.
      type: str
    version:
      description: The version of the release that people know, a branch, a tag or a package's version, and the revision.
      type: str
      sample: v1.5.0 (3f2c9a1b7d20)
    state:
      description: The state of the slot's service, as systemd names it.
      type: str
      sample: active
    since:
      description: When the slot's service was started, in seconds of the epoch.
      type: float
    health:
      description: The status of the answer on the slot's own socket, or the reason why there was none.
      type: str
    healthy:
      description: Whether that answer is the expected one.
      type: bool
    seconds:
      description: How long that answer took; only where a slot is live.
      type: float
    nginx:
      description: The status of the answer through nginx, or the reason why there was none; null without nginx.
      type: str
    reachable:
      description: Whether that answer is the expected one; null without nginx.
      type: bool
    maintenance:
      description: Since when visitors get the maintenance page, in seconds of the epoch; null where they do not.
      type: float
    restarts:
      description: How many times systemd has restarted the slot's service since it was deployed.
      type: int
    worker_deaths:
      description: How many workers of the slot died in the last hour; null where that is not known.
      type: int
    certificate:
      description:
        - The certificate that nginx serves for the app, with C(issuer), C(self_signed), C(expires) in seconds of the epoch, and C(days_left).
        - Null where there is none.
      type: dict
    deploys:
      description: The last deploys, the newest first, a line each.
      type: list
      elements: str
      sample: ["2026-11-23 18:36 UTC ok: 9be01c44f1aa-5e1c88aa to 3f2c9a1b7d20-5e1c88aa in 3.1 s, by me@laptop as ops"]
    problems:
      description: The problems of the app, a sentence each.
      type: list
      elements: str
    summary:
      description: One line that a person can read.
      type: str
      sample: "shop: green serves v1.5.0 (3f2c9a1b7d20), release 3f2c9a1b7d20-5e1c88aa, since 2026-11-23 18:36 UTC"
problems:
  description: The problems of the host, a sentence each.
  returned: success
  type: list
  elements: str
lines:
  description: All of it for the screen, a line each.
  returned: success
  type: list
  elements: str
"""


from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.host import DEPLOYS
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._metrics.deploys import deploys_by_app
from ansible_collections.flask_ops.production.plugins.module_utils._metrics.problems import host_problems, inspect
from ansible_collections.flask_ops.production.plugins.module_utils._metrics.report import in_words, lines_of, summary

SHOWN = 3
"""Deploys of each app."""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "apps": {"type": "list", "elements": "dict", "required": True},
            "https_port": {"type": "int", "default": 443},
            "listed": {"type": "list", "elements": "str", "default": []},
            "warn": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    apps, port = module.params["apps"], module.params["https_port"] or None
    try:
        deploys = deploys_by_app(DEPLOYS)
        found = {app["name"]: inspect(app, port) for app in apps}
        roots = [app["paths"][path] for path in ("root", "shared") for app in apps]
        problems = host_problems(roots, module.params["listed"], nginx=port is not None)
    except (CommandError, KeyError) as error:
        module.fail_json(msg=str(error))
    lines = []
    for app in apps:
        status = found[app["name"]]
        last = [deploy_in_words(deploy) for deploy in deploys.get(app["name"], [])[-SHOWN:][::-1]]
        status |= {"deploys": last, "summary": summary(status)}
        lines += lines_of(status, app, status["deploys"])
    lines += [f"PROBLEM of the host: {problem}" for problem in problems]
    if module.params["warn"]:
        for problem in problems:
            module.warn(problem)
        for name, status in found.items():
            for problem in status["problems"]:
                module.warn(f"{name}: {problem}")
    module.exit_json(changed=False, apps=found, problems=problems, lines=lines)


def deploy_in_words(deploy: dict) -> str:
    line = (
        f"{in_words(deploy['time'])} {deploy['result']}: "
        f"{deploy['from'] or 'nothing'} to {deploy['to']} in {deploy['seconds']:g} s, by {deploy['by']}"
    )
    return f"{line}. {deploy['reason']}" if deploy["reason"] else line


if __name__ == "__main__":
    main()
