#!/usr/bin/python
# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: app_slots
short_description: Switch an app's traffic to a slot that runs its release
version_added: 0.1.0
description:
  - Each app has two slots, C(blue) and C(green), each with its own socket and service. One is live.
  - If no file of the live slot differs, the module only ensures that it runs.
  - Otherwise the new files are written to the idle slot, which is started and checked on its own socket until it is
    healthy. Then the link C(/run/flask-ops/<app>/current) is replaced atomically, the app is checked through nginx, and
    the old slot finishes its requests and is stopped. No request fails, and nginx is not reloaded.
  - After any failure the old slot is live, and the error quotes the last lines of the failed slot's journal. The module
    does not fail then, but completes the other apps, and returns the error in RV(failures).
  - Each switch, including a failed one, is logged as a line of C(/var/log/flask-ops/deploys.jsonl).
author: [the flask_ops.production authors (@flask-ops)]
options:
  apps:
    description: The apps, as in the C(gunicorn_systemd) role.
    type: list
    elements: dict
    required: true
  releases:
    description: Where each app's release is, by the app's name, as M(flask_ops.production.python_release) returns it.
    type: dict
    required: true
  files:
    description:
      - The files of a slot, as in M(flask_ops.production.config_files). C({name}) and C({slot}) stand for the app's
        and the slot's name. The templates see C(app), C(slot) and C(release), and the sandbox as C(sandbox).
      - A secret file must be a copy of one on the host.
    type: list
    elements: dict
    required: true
  boot:
    description: The file, as in O(files), that restores the link to the live slot after a reboot.
    type: dict
    required: true
  release_link:
    description: A link that points to the live release; C({name}) as above. Empty for none.
    type: str
    default: ""
  probe_socket:
    description:
      - A socket at which nginx passes requests to the app, by a new connection each time; C({name}) as above. The app
        is checked there after the flip, if nginx listens. Empty for none.
    type: str
    default: ""
attributes:
  check_mode:
    description: Reports whether a switch would happen.
    support: full
  diff_mode:
    description: Shows the differences between the files of the old and the new slot.
    support: full
"""

EXAMPLES = r"""
- name: Deploy each app's release
  flask_ops.production.app_slots:
    apps: "{{ gunicorn_systemd_apps }}"
    releases: "{{ python_app_releases }}"
    files:
      - src: slot.socket.j2
        dest: /etc/systemd/system/{name}-{slot}.socket
      - src: slot.service.j2
        dest: /etc/systemd/system/{name}-{slot}.service
    boot:
      src: tmpfiles.conf.j2
      dest: /etc/tmpfiles.d/flask-ops-{name}.conf
"""

RETURN = r"""
apps:
  description: What happened to each app, by its name.
  returned: success
  type: dict
  contains:
    summary:
      description: One line that a person can read.
      type: str
      sample: "shop: traffic went from blue to green, which serves 3f2c9a1b7d20-5e1c88aa, in 3.1 s"
    slot:
      description: The slot that is live now.
      type: str
      sample: green
    steps:
      description: The steps that were taken.
      type: list
      elements: str
    checked:
      description: Whether the release has been checked through nginx. V(true) as well where O(probe_socket) is empty.
      type: bool
failures:
  description: An error message for each app that failed, by its name. Its slots are as they were.
  returned: success
  type: dict
  sample: {}
"""

import dataclasses

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.health import Health
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.host import Host
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.outcome import DeployError
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.slots import SLOTS, SlotApp
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.switch import Switch
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._host.failures import FailureOf
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import set_umask
from ansible_collections.flask_ops.production.plugins.module_utils._host.lock import RUN, LockedError, Run
from ansible_collections.flask_ops.production.plugins.module_utils._host.transaction import FILE_OPTIONS, Entry

FILE = {**FILE_OPTIONS, "secret": {"type": "bool", "default": False}}

# What the action plugin of the same name makes of the documented options: one entry an app, rendered.
APP = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "host": {"type": "str", "default": "localhost"},
    "release": {"type": "str", "default": ""},
    "venv": {"type": "str", "default": ""},
    "release_link": {"type": "str", "default": ""},
    "server": {"type": "str", "default": "gunicorn"},
    "path": {"type": "str", "default": "/"},
    "health": {
        "type": "dict",
        "required": True,
        "options": {
            "path": {"type": "str", "required": True},
            "status": {"type": "int"},
            "timeout": {"type": "float", "required": True},
            "interval": {"type": "float", "required": True},
            "deadline": {"type": "float", "required": True},
        },
    },
    "probe_socket": {"type": "str", "default": ""},
    "instances": {"type": "int", "default": 1},
    **{
        slot: {
            "type": "dict",
            "required": True,
            "options": {
                "files": {"type": "list", "elements": "dict", "options": FILE, "required": True},
                "boot": {"type": "dict", "options": FILE, "required": True},
            },
        }
        for slot in SLOTS
    },
}


def main() -> None:
    set_umask()
    module = AnsibleModule(
        argument_spec={"apps": {"type": "list", "elements": "dict", "options": APP, "required": True}, "run": RUN},
        supports_check_mode=True,
    )
    done: dict = {"changed": False, "apps": {}, "failures": {}, "diff": []}
    run = Run(**module.params["run"])
    for params in module.params["apps"]:
        with FailureOf(params["name"], done["failures"], DeployError, LockedError, CommandError, OSError):
            switch = Switch(app_of(params, run, must_exist=not module.check_mode), Host(run))
            act = switch.remove if params["state"] == "absent" else switch.run
            outcome = dataclasses.asdict(act(module.check_mode))
            done["changed"] |= outcome.pop("changed")
            done["diff"] += outcome.pop("diff")
            done["apps"][params["name"]] = outcome
    module.exit_json(**done)


def app_of(params: dict, run: Run, must_exist: bool) -> SlotApp:
    return SlotApp(
        name=params["name"],
        host=params["host"],
        health=Health.of(params),
        release=params["release"],
        venv=params["venv"],
        release_link=params["release_link"],
        files={
            slot: [Entry.from_params(file, file["secret"], must_exist) for file in params[slot]["files"]]
            for slot in SLOTS
        },
        boot={slot: Entry.from_params(params[slot]["boot"]) for slot in SLOTS},
        server=params["server"],
        by=run.by,
        probe_socket=params["probe_socket"],
        instances=params["instances"],
    )


if __name__ == "__main__":
    main()
