# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: without_secrets
short_description: Remove the values of secrets from prepared apps
version_added: 0.1.0
author: [the flask_ops.production authors (@flask-ops)]
description:
  - Leaves out C(env) and every option that the argument specs of the roles mark with C(no_log).
  - Ansible logs the arguments of a module on the host, so a module gets the apps like this.
options:
  _input:
    description: Apps, as M(flask_ops.production.prepare_apps) returns them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Gather the status of the apps
  flask_ops.production.apps_info:
    apps: "{{ prepared.apps | flask_ops.production.without_secrets }}"
"""

RETURN = r"""
_value:
  description: The same apps without their secrets.
  type: list
  elements: dict
"""

from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.apps import public


def without_secrets(apps):
    return [public(app) for app in apps]


class FilterModule:
    def filters(self):
        return {"without_secrets": without_secrets}
