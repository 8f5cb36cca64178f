# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What the documentation of several modules has in common."""

    DOCUMENTATION = r"""
author: [the flask_ops.production authors (@flask-ops)]
attributes:
  action_group:
    description: Use C(group/flask_ops.production.all) in C(module_defaults) to set defaults for this module.
    support: full
    membership: [flask_ops.production.all]
  platform:
    description: The hosts for which the module is made.
    support: full
    platforms: debian
"""

    CHANGES = r"""
attributes:
  check_mode:
    description: Predicts the changes without making them.
    support: full
  diff_mode:
    description: Shows the state before and after a change.
    support: full
"""

    READS = r"""
attributes:
  check_mode:
    description: Runs as always, since it changes nothing.
    support: full
  diff_mode:
    description: There is no change to show.
    support: N/A
"""

    ACTION = r"""
attributes:
  action:
    description: An action plugin of the same name runs first, on the controller.
    support: full
"""

    APPS = r"""
options:
  apps:
    description:
      - The apps, as M(flask_ops.production.prepare_apps) returns them.
      - A module without an action plugin gets them without their secrets, by the filter
        P(flask_ops.production.without_secrets#filter), since Ansible logs its arguments.
    type: list
    elements: dict
    required: true
"""

    DEPLOY = r"""
options:
  releases:
    description: Where each app's release is, by the app's name, as M(flask_ops.production.python_release) returns it.
    type: dict
    required: true
"""

    RUN = r"""
options:
  run:
    description: Set by the action plugin, which identifies the run that holds the lock of an app.
    type: dict
"""
