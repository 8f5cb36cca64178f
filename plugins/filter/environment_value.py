# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: environment_value
short_description: Quote a value for systemd's EnvironmentFile
version_added: 0.1.0
author: [the flask_ops.production authors (@flask-ops)]
description:
  - Quotes a text so that systemd hands exactly this text to the process, as systemd.exec(5) describes the syntax.
  - Fails if the text has a null character.
  - A number or a boolean becomes JSON, which is what Flask's C(from_prefixed_env) reads. V(true) stays true; a Python
    style C(True) would be a text.
positional: _input
options:
  _input:
    description: The value. It may have line breaks.
    type: raw
    required: true
"""

EXAMPLES = r"""
line: "SECRET_KEY={{ 'a\"b$c' | flask_ops.production.environment_value }}"
# SECRET_KEY="a\"b\$c"
"""

RETURN = r"""
_value:
  description: The quoted value.
  type: str
"""

import json
import re

from ansible.errors import AnsibleFilterError


def environment_value(value):
    text = value if isinstance(value, str) else json.dumps(value)
    if "\x00" in text:
        raise AnsibleFilterError("environment_value: a value must not hold a null character")
    # Within double quotes, systemd takes a backslash before these four characters away, and before no other; a line break
    # stays as it is.
    return '"' + re.sub(r'(["\\`$])', r"\\\1", text) + '"'


class FilterModule:
    def filters(self):
        return {"environment_value": environment_value}
