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
extends_documentation_fragment:
  - flask_ops.production.common
  - flask_ops.production.common.apps
  - flask_ops.production.common.changes
seealso:
  - module: flask_ops.production.app_slots
  - module: flask_ops.production.apps_info
attributes:
  check_mode: {details: Does nothing.}
  diff_mode: {support: none}
"""

EXAMPLES = r"""
- name: Check the apps through nginx
  flask_ops.production.app_probe:
    apps: "{{ prepared.apps | flask_ops.production.without_secrets }}"
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
        argument_spec={"apps": {"type": "list", "elements": "dict", "required": True}}, supports_check_mode=True
    )
    failures: dict[str, str] = {}
    for app in [] if module.check_mode else module.params["apps"]:
        with FailureOf(app["name"], failures, DeployError, OSError):
            check_app(app["name"], app["domains"][0], Health.of(app), app["paths"]["probe_socket"], Host())
    module.exit_json(changed=False, failures=failures)


if __name__ == "__main__":
    main()
