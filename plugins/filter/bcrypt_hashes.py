# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: bcrypt_hashes
short_description: Hash passwords with bcrypt, and keep hashes that match
version_added: 0.1.0
author: [the flask_ops.production authors (@flask-ops)]
description:
  - Hashes each password. A new hash of the same password is another text, which would be a change at each run, so a
    stored hash that matches the password is kept.
  - Fails if the controller has no library for bcrypt.
  - Before ansible-core 2.21, needs libpass and bcrypt on the controller; or passlib, which works with a bcrypt older than 4.1.
positional: _input, stored
options:
  _input:
    description: The passwords, by name.
    type: dict
    required: true
  stored:
    description: The stored hashes, by name.
    type: dict
    default: {}
"""

EXAMPLES = r"""
users: "{{ {'prometheus': vault_password} | flask_ops.production.bcrypt_hashes(stored) }}"
"""

RETURN = r"""
_value:
  description: The hashes, by name.
  type: dict
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.passwords import HashError, bcrypt_hash


def bcrypt_hashes(passwords, stored=None):
    try:
        return {name: bcrypt_hash(password, (stored or {}).get(name)) for name, password in passwords.items()}
    except HashError as error:
        raise AnsibleFilterError(f"bcrypt_hashes: {error}") from None


class FilterModule:
    def filters(self):
        return {"bcrypt_hashes": bcrypt_hashes}
