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
extends_documentation_fragment:
  - flask_ops.production.common
  - flask_ops.production.common.apps
  - flask_ops.production.common.deploy
  - flask_ops.production.common.run
  - flask_ops.production.common.changes
  - flask_ops.production.common.action
seealso:
  - module: flask_ops.production.python_release
  - module: flask_ops.production.app_probe
  - module: flask_ops.production.app_processes
options:
  files:
    description:
      - The files of a slot, as in M(flask_ops.production.config_files). A C(path) names one of C(app.slots), or else of
        C(app.paths). The templates see C(app), C(slot) and C(release), and the sandbox as C(sandbox).
      - A secret file must be a copy of one on the host.
    type: list
    elements: dict
    required: true
  boot:
    description: The file, as in O(files), that restores the link to the live slot after a reboot.
    type: dict
    required: true
attributes:
  diff_mode: {details: Compares the files of the new slot with those of the old one.}
"""

EXAMPLES = r"""
- name: Deploy each app's release
  flask_ops.production.app_slots:
    apps: "{{ prepared.apps }}"
    releases: "{{ python_app_releases }}"
    files:
      - {path: socket, src: slot.socket.j2}
      - {path: service, src: slot.service.j2}
    boot: {path: boot, src: tmpfiles.conf.j2}
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
      description: Whether the release has been checked through nginx.
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
from ansible_collections.flask_ops.production.plugins.module_utils._host.transaction import Entry

# The documented options; the action plugin of the same name replaces each app by its rendered files.
OPTIONS = {
    "apps": {"type": "list", "elements": "dict", "required": True},
    "releases": {"type": "dict", "required": True},
    "files": {"type": "list", "elements": "dict", "required": True},
    "boot": {"type": "dict", "required": True},
    "run": RUN,
}


def main() -> None:
    set_umask()
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    done: dict = {"changed": False, "apps": {}, "failures": {}, "diff": []}
    run = Run(**module.params["run"])
    for described in module.params["apps"]:
        app = described["app"]
        with FailureOf(app["name"], done["failures"], DeployError, LockedError, CommandError, OSError):
            switch = Switch(slot_app(described, run, must_exist=not module.check_mode), Host(run))
            act = switch.remove if app["state"] == "absent" else switch.run
            outcome = dataclasses.asdict(act(module.check_mode))
            done["changed"] |= outcome.pop("changed")
            done["diff"] += outcome.pop("diff")
            done["apps"][app["name"]] = outcome
    module.exit_json(**done)


def slot_app(described: dict, run: Run, must_exist: bool) -> SlotApp:
    """An app as the action plugin describes it: its prepared options, its release, the files of each slot."""
    app, release = described["app"], described["release"]
    return SlotApp(
        name=app["name"],
        host=(app.get("domains") or ["localhost"])[0],
        health=Health.of(app),
        release=release.get("path", ""),
        venv=release.get("venv", ""),
        release_link=app["paths"]["current"],
        files={slot: [Entry.from_params(file, must_exist) for file in described[slot]["files"]] for slot in SLOTS},
        boot={slot: Entry.from_params(described[slot]["boot"]) for slot in SLOTS},
        server=app["server"],
        by=run.by,
        probe_socket=app["paths"]["probe_socket"],
        instances=app["instances"],
    )


if __name__ == "__main__":
    main()
