# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: command_line
short_description: Return a variable that was given on the command line
version_added: 0.1.0
author: [the flask_ops.production authors (@flask-ops)]
description:
  - Returns the value that C(-e) gave to a variable. A variable of this name in the inventory is ignored,
    since it may belong to something else.
options:
  _terms:
    description: Names of variables.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
app: "{{ lookup('flask_ops.production.command_line', 'app') }}"
"""

RETURN = r"""
_raw:
  description: The values; null where a variable was not given.
  type: list
  elements: raw
"""

from ansible.plugins.lookup import LookupBase
from ansible.utils.vars import load_extra_vars


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        given = load_extra_vars(self._loader)
        return [self._templar.template(given.get(term)) for term in terms]
