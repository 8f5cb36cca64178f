#!/usr/bin/python
# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: command_line
short_description: Check the options that a playbook takes on the command line
version_added: 0.1.0
description:
  - Checks the options of the playbooks deploy, rollback, maintenance and status, which are given with C(-e).
  - Refuses an option that is missing, an app that is not in C(flask_apps), and an extra variable that is close to an option.
  - Runs on the controller alone.
extends_documentation_fragment:
  - flask_ops.production.common
  - flask_ops.production.common.reads
  - flask_ops.production.common.action
seealso:
  - module: flask_ops.production.prepare_apps
options:
  playbook:
    description: The name of the playbook, for the messages.
    type: str
    required: true
  required:
    description: The options that must be given.
    type: list
    elements: str
    required: true
  optional:
    description: The options that may be given.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Check the options
  flask_ops.production.command_line:
    playbook: deploy
    required: [app]
    optional: [version]
"""

RETURN = r"""
msg:
  description: Each error, with the option as it should be given.
  returned: failure
  type: str
"""
