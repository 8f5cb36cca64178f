#!/usr/bin/python
# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: app_processes
short_description: Run an app's workers, schedulers and timers from its release
version_added: 0.1.0
description:
  - Updates the background processes of each app. A worker is an instance of a systemd template unit,
    C(<app>-<process>@1.service) and so on; a scheduler is a service; a timer is a timer with its service.
  - A process whose release, command or environment has changed is stopped, within its C(stop_timeout), and started. Of
    several instances, the first one must keep running before the others follow, one after the other. A running command
    of a timer finishes; the timer's next run uses the new release.
  - If a process does not keep running, all changes are rolled back. The previous processes are started again, and the
    error quotes the last lines of its journal. The module does not fail then, but completes the other apps, and returns
    the error in RV(failures).
  - A process that is not listed any more is stopped and removed; so are all processes of an app whose state is C(absent).
extends_documentation_fragment:
  - flask_ops.production.common
  - flask_ops.production.common.apps
  - flask_ops.production.common.deploy
  - flask_ops.production.common.run
  - flask_ops.production.common.changes
  - flask_ops.production.common.action
seealso:
  - module: flask_ops.production.python_release
  - module: flask_ops.production.app_slots
options:
  files:
    description:
      - The files of a process, as in M(flask_ops.production.config_files). A C(path) names one of C(app.processes[]), or else
        of C(app.paths). The templates see C(app), C(process), C(release) and C(sandbox).
    type: list
    elements: dict
    required: true
  timer:
    description: The file, as in O(files), of a timer unit, in addition to O(files).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Deploy the processes of each app
  flask_ops.production.app_processes:
    apps: "{{ prepared.apps }}"
    releases: "{{ python_app_releases }}"
    files:
      - {path: processes}
      - {path: configuration}
      - {path: service, src: process.service.j2}
    timer: {path: timer, src: process.timer.j2}
"""

RETURN = r"""
apps:
  description: What happened to the processes of each app, by its name.
  returned: success
  type: dict
  contains:
    summary:
      description: One line that a person can read; empty for an app that has no processes.
      type: str
      sample: "shop: worker@1, beat at release 3f2c9a1b7d20-5e1c88aa; restart worker@1, restart beat, in 4.2 s"
    steps:
      description: The steps that were taken.
      type: list
      elements: str
failures:
  description: An error message for each app that failed, by its name.
  returned: success
  type: dict
  sample: {}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.host import Host
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.outcome import DeployError
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.processes import (
    Process,
    ProcessApp,
    Processes,
)
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._host.failures import FailureOf
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import set_umask
from ansible_collections.flask_ops.production.plugins.module_utils._host.lock import RUN, LockedError, Run
from ansible_collections.flask_ops.production.plugins.module_utils._host.transaction import Entry

# The documented options; the action plugin of the same name replaces each app by its rendered processes.
OPTIONS = {
    "apps": {"type": "list", "elements": "dict", "required": True},
    "releases": {"type": "dict", "required": True},
    "files": {"type": "list", "elements": "dict", "required": True},
    "timer": {"type": "dict", "required": True},
    "run": RUN,
}


def main() -> None:
    set_umask()
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    done: dict = {"changed": False, "apps": {}, "failures": {}, "diff": []}
    # Apps that lose processes come first: another one may get a unit of that name.
    params = sorted(module.params["apps"], key=lambda app: bool(app["processes"]))
    run = Run(**module.params["run"])
    for app in params:
        with FailureOf(app["name"], done["failures"], DeployError, LockedError, CommandError, OSError):
            outcome = Processes(app_of(app, must_exist=not module.check_mode), Host(run)).run(module.check_mode)
            done["changed"] |= outcome.changed
            done["apps"][app["name"]] = {"summary": outcome.summary, "steps": outcome.steps}
            done["diff"] += outcome.diff
    module.exit_json(**done)


def app_of(params: dict, must_exist: bool) -> ProcessApp:
    return ProcessApp(
        name=params["name"],
        release=params.get("release", ""),
        processes=[
            Process(
                name=process["name"],
                units=tuple(process["units"]),
                start_seconds=process["start_seconds"],
                files=[Entry.from_params(file, must_exist) for file in process["files"]],
            )
            for process in params["processes"]
        ],
    )


if __name__ == "__main__":
    main()
