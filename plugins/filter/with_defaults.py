# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: with_defaults
short_description: Each app with all options of a role, defaults filled in
version_added: 0.1.0
author: [the flask_ops.production authors (@flask-ops)]
description:
  - Ansible checks the options within a list against a role's argument spec, but does not fill in their defaults.
    This does, so that a template need not know them.
  - An option that has no default and is not given becomes null.
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
sites: "{{ nginx_proxy_sites | flask_ops.production.with_defaults('nginx_proxy') }}"
"""

RETURN = r"""
_value:
  description: The apps, complete.
  type: list
  elements: dict
"""

from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import with_defaults


class FilterModule:
    def filters(self):
        return {"with_defaults": with_defaults}
