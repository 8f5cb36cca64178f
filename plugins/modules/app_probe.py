#!/usr/bin/python
# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: app_probe
short_description: Check apps through nginx
version_added: 0.1.0
description:
  - Sends a GET for each app's health path through nginx, until it is answered as expected, for at most ten seconds.
  - An app that is not checked successfully stays marked, and M(flask_ops.production.app_slots) returns it as not checked.
author: [the flask_ops.production authors (@flask-ops)]
options:
  apps:
    description: The apps, as in the C(gunicorn_systemd) role, complete with defaults.
    type: list
    elements: dict
    required: true
  socket:
    description: The socket at which nginx passes requests to an app; C({name}) stands for the app's name.
    type: str
    required: true
attributes:
  check_mode:
    description: Does nothing then.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Check the apps through nginx
  flask_ops.production.app_probe:
    apps: "{{ gunicorn_systemd_apps | flask_ops.production.with_defaults('gunicorn_systemd') }}"
    socket: /run/flask-ops/nginx/{name}.sock
"""

RETURN = r"""
failures:
  description: An error message for each app that failed, by its name.
  returned: success
  type: dict
  sample: {}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.health import Health, check_app
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.host import Host
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.outcome import DeployError
from ansible_collections.flask_ops.production.plugins.module_utils._host.failures import FailureOf
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import set_umask


def main() -> None:
    set_umask()
    module = AnsibleModule(
        argument_spec={
            "apps": {"type": "list", "elements": "dict", "required": True},
            "socket": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    failures: dict[str, str] = {}
    for app in [] if module.check_mode else module.params["apps"]:
        with FailureOf(app["name"], failures, DeployError, OSError):
            path = module.params["socket"].format_map(app)
            check_app(app["name"], app["domains"][0], Health.of(app), path, Host())
    module.exit_json(changed=False, failures=failures)


if __name__ == "__main__":
    main()
