# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: options_of
short_description: Of each app the options that one role knows
version_added: 0.1.0
author: [the flask_ops.production authors (@flask-ops)]
description: By this the playbooks hand each role its part of C(flask_apps).
positional: _input, role
options:
  _input:
    description: The apps.
    type: list
    elements: dict
    required: true
  role:
    description: The role, by its name within the collection.
    type: str
    required: true
"""

EXAMPLES = r"""
nginx_proxy_sites: "{{ flask_apps | flask_ops.production.options_of('nginx_proxy') }}"
"""

RETURN = r"""
_value:
  description: The apps, each with no other options than those in the role's argument spec.
  type: list
  elements: dict
"""

from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import select


class FilterModule:
    def filters(self):
        return {"options_of": select}
