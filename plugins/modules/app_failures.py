#!/usr/bin/python
# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a virtual module that is entirely implemented as an action plugin and runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: app_failures
short_description: Print the failures of apps, and fail if there are any
version_added: 0.1.0
description:
  - The failure of one app does not end a role. The role completes the other apps, and publishes C(<role>_failures).
  - This module prints each failure once, as it is, and fails with the names of the apps.
  - Each role calls it at its end. In a play that sets the variable C(flask_ops_several_roles) to V(true), such a call
    only keeps the failures, and the play calls the module itself, with O(at_end=true), which reports all of them.
extends_documentation_fragment:
  - flask_ops.production.common
  - flask_ops.production.common.reads
  - flask_ops.production.common.action
seealso:
  - module: flask_ops.production.prepare_apps
options:
  failures:
    description: The failures of each role, an error message by the app's name.
    type: list
    elements: dict
    required: true
  at_end:
    description: Whether this is the last call of the play.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Report the failures of all roles
  flask_ops.production.app_failures:
    failures:
      - "{{ python_app_failures }}"
      - "{{ gunicorn_systemd_failures }}"
    at_end: true
"""

RETURN = r"""
msg:
  description: The names of the apps that failed.
  returned: failure
  type: str
  sample: "1 app failed: shop. The reason is printed above."
"""
