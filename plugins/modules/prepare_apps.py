#!/usr/bin/python
# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a virtual module that is entirely implemented as an action plugin and runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: prepare_apps
short_description: Check a list of apps as a whole and complete it, before anything changes
version_added: 0.1.0
description:
  - Checks each app against the argument specs of the roles that will work with it, against their rules, and against the
    other apps. Fills in defaults and resolves the names of files and units.
  - Reports all errors at once. Each has its place, the rule, and an example of a value that is right; an unknown option
    gets the nearest known one. The values of secrets are not repeated.
  - Refuses a variable that is one or two letters away from a variable of the roles, and one that a playbook sets.
  - Refuses a host with a distribution that the roles are not made for, and files, units and users with the name of an app
    that this collection did not create. Gathers the facts that the roles need where they have not been gathered. Warns of a
    clock that is an hour off.
  - The result is not logged, since the apps hold their secrets.
extends_documentation_fragment:
  - flask_ops.production.common
  - flask_ops.production.common.reads
  - flask_ops.production.common.action
seealso:
  - module: flask_ops.production.python_release
  - module: flask_ops.production.app_slots
options:
  name:
    description: The variable that holds the list. Without it, only the variables of the roles are checked.
    type: str
  roles:
    description: The roles whose options an app may have, and whose variables are checked. By default, all roles that work with apps.
    type: list
    elements: str
  app:
    description: The name of the one app of the list to prepare. The others are not checked.
    type: str
  version:
    description: With O(app), the version to use in place of the one in its C(source).
    type: str
  check_host:
    description: Whether the host is checked as well. If V(false), there is no connection to it.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Check the apps and fill in defaults
  flask_ops.production.prepare_apps:
    name: flask_apps
  register: prepared
"""

RETURN = r"""
apps:
  description:
    - The apps with the default of each option that is not given, or null. In addition, C(paths), C(slots) and C(processes)
      with the names of files and units on the host, the names of C(credentials), and the C(sockets) of the live slot.
  returned: success
  type: list
  elements: dict
present:
  description: How many apps of the list are not absent.
  returned: success
  type: int
msg:
  description: The errors, one per line.
  returned: failure
  type: str
  sample: "flask_apps[1].domains[0]: 'exa mple.com' must be a full domain name; a good value is shop.example.com"
"""
