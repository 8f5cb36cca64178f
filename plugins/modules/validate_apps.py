#!/usr/bin/python
# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a virtual module that is entirely implemented as an action plugin and runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: validate_apps
short_description: Check a list of apps as a whole, before anything changes
version_added: 0.1.0
description:
  - Checks every entry against the argument specs of the roles that will work with it, against the rules that values
    must keep beyond their type, and against the other entries.
  - Reports all errors at once. Each names its place, the rule, and a value that would be right; an unknown option
    gets the nearest known one. The values of secrets are not repeated.
  - Refuses a variable that begins with the name of one of the roles and is none of its variables, and one that is one
    or two letters away from a variable of theirs.
  - Refuses a host with a distribution that the roles are not made for, and an app with the name of a user who is no app's.
    Gathers the facts that the roles need where they have not been gathered. Warns of a clock that is an hour off.
author: [the flask_ops.production authors (@flask-ops)]
options:
  name:
    description: The variable that holds the list to check. Not needed for roles that have none; their variables are checked.
    type: str
  roles:
    description: The roles whose options an entry may have.
    type: list
    elements: str
    required: true
  partial:
    description: Whether the list may lack apps that share a domain with one in it.
    type: bool
    default: false
attributes:
  check_mode:
    description: Checks as always; it never changes anything.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Check the apps before any host changes
  flask_ops.production.validate_apps:
    name: flask_apps
    roles: [python_app, gunicorn_systemd, nginx_proxy]
"""

RETURN = r"""
msg:
  description: The errors, one per line.
  returned: failure
  type: str
  sample: "flask_apps[1].domains[0]: 'exa mple.com' must be a full domain name; a good value is shop.example.com"
"""
