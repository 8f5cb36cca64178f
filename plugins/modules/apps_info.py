#!/usr/bin/python
# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: apps_info
short_description: What serves each app of a host, and how it is
version_added: 0.1.0
description:
  - Reads which slot is in traffic, which release it serves, since when, and asks the slot for its health.
  - Reads the last switches of each app, with who made them, from the log that M(flask_ops.production.app_slots) writes.
  - Changes nothing.
author: [the flask_ops.production authors (@flask-ops)]
options:
  apps:
    description: The apps, as in the C(gunicorn_systemd) role, defaults filled in.
    type: list
    elements: dict
    required: true
  release_link:
    description: The link that names the release in traffic; C({name}) stands for the app's name.
    type: str
    required: true
attributes:
  check_mode:
    description: Reads as always.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Ask how the apps are
  flask_ops.production.apps_info:
    apps: "{{ gunicorn_systemd_apps | flask_ops.production.with_defaults('gunicorn_systemd') }}"
    release_link: /srv/{name}/current
"""

RETURN = r"""
apps:
  description: What was found, by app.
  returned: success
  type: dict
  contains:
    summary:
      description: One line that a person can read.
      type: str
      sample: "shop: green serves 3f2c9a1b7d20-5e1c88aa since Mon 2026-11-23 18:36:12 UTC; GET /healthz: 200"
    slot:
      description: The slot in traffic; null where there is none.
      type: str
    release:
      description: The release in traffic; null where there is none.
      type: str
    since:
      description: When the slot's service was started, as systemd tells it.
      type: str
    state:
      description: What systemd says of the slot's service.
      type: str
      sample: active
    health:
      description: The status of an answer on the slot's own socket, or why there was none.
      type: str
    healthy:
      description: Whether that is what the app should answer.
      type: bool
    seconds:
      description: How long the answer took; not there where nothing is in traffic.
      type: float
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flask_ops.production.plugins.module_utils._apps import look
from ansible_collections.flask_ops.production.plugins.module_utils._command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._switch import DEPLOYS

SHOWN = 5


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "apps": {"type": "list", "elements": "dict", "required": True},
            "release_link": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        deploys = last_deploys(DEPLOYS)
        found = {
            app["name"]: look(app, module.params["release_link"].format_map(app))
            | {"deploys": deploys.get(app["name"], [])[-SHOWN:][::-1]}
            for app in module.params["apps"]
        }
    except (CommandError, KeyError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, apps=found)


def last_deploys(path: str) -> dict[str, list[str]]:
    """What the log of the switches holds, by app, in words."""
    found: dict[str, list[str]] = {}
    if not os.path.exists(path):
        return found
    with open(path, encoding="utf-8") as stream:
        for line in stream:
            try:
                deploy = json.loads(line)
                found.setdefault(deploy["app"], []).append(in_words(deploy))
            except (KeyError, TypeError, ValueError):
                continue  # half a line, of a disk that was full
    return found


def in_words(deploy: dict) -> str:
    said = (
        f"{deploy['time']} {deploy['result']}: {deploy['from'] or 'nothing'} to {deploy['to']} "
        f"in {deploy['seconds']:g} s, by {deploy['by']}"
    )
    return f"{said}. {deploy['reason']}" if deploy["reason"] else said


if __name__ == "__main__":
    main()
