#!/usr/bin/python
# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: python_tool
short_description: Install a Python program in a virtual environment
version_added: 0.1.0
description:
  - Builds a virtual environment with exactly the packages given, by uv, and points the link C(/opt/flask-ops/<name>) to
    it. The one in use is not touched until the new one is complete.
  - Rebuilds it when the packages change, or when its Python interpreter is removed.
  - No package is built from its source.
extends_documentation_fragment:
  - flask_ops.production.common
  - flask_ops.production.common.changes
seealso:
  - module: ansible.builtin.pip
options:
  name:
    description: Name of the program.
    type: str
    required: true
  requirements:
    description: The text of a requirements file that names every package with its version and hashes.
    type: str
    required: true
  extra:
    description: More packages, as lines of a requirements file, in versions that fit to O(requirements).
    type: list
    elements: str
    default: []
  python:
    description: The interpreter that the environment is made from.
    type: str
    default: /usr/bin/python3
attributes:
  diff_mode: {support: none}
"""

EXAMPLES = r"""
- name: Install certbot
  flask_ops.production.python_tool:
    name: certbot
    requirements: "{{ lookup('ansible.builtin.file', 'certbot.txt') }}"
"""

RETURN = r"""
path:
  description: The link to the environment.
  returned: success
  type: str
  sample: /opt/flask-ops/certbot
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import set_umask
from ansible_collections.flask_ops.production.plugins.module_utils._release.uv import (
    TOOLS,
    build_tool,
    tool_complete,
    tool_home,
)


def main() -> None:
    set_umask()
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "requirements": {"type": "str", "required": True},
            "extra": {"type": "list", "elements": "str", "default": []},
            "python": {"type": "str", "default": "/usr/bin/python3"},
        },
        supports_check_mode=True,
    )
    name, packages = module.params["name"], [module.params[key] for key in ("requirements", "extra", "python")]
    try:
        home = tool_home(name, *packages)
        missing = not tool_complete(name, home)
        if missing and not module.check_mode:
            build_tool(name, home, *packages)
    except (CommandError, OSError) as error:
        module.fail_json(msg=f"{name}: {error}")
    module.exit_json(changed=missing, path=os.path.join(TOOLS, name))


if __name__ == "__main__":
    main()
