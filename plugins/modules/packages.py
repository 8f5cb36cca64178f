#!/usr/bin/python
# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: packages
short_description: Install Debian packages that are missing
version_added: 0.1.0
description:
  - Installs by M(ansible.builtin.apt), without recommended packages, but only after C(dpkg-query) has said that
    something is missing. When nothing is, this takes a quarter of the time.
  - Within one play, a host is asked once for all its packages, whatever number of roles asks.
  - Works in check mode also on a host without python3-apt.
  - Waits up to two minutes for another process that holds dpkg's lock.
author: [the flask_ops.production authors (@flask-ops)]
options:
  names:
    description: Names of packages.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    description: Says what is missing.
    support: full
  diff_mode:
    description: Shows the missing packages.
    support: full
"""

EXAMPLES = r"""
- name: Install nginx
  flask_ops.production.packages:
    names: [nginx, openssl]
"""

RETURN = r"""
missing:
  description: The packages that were missing.
  returned: always
  type: list
  elements: str
"""

import subprocess

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = AnsibleModule(
        argument_spec={"names": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True
    )
    names = module.params["names"]
    asked = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        module.fail_json(msg="dpkg-query is not installed: this is not a Debian host")
    installed = {line.split()[0] for line in answer.splitlines() if line.endswith(" installed")}
    missing = [name for name in names if name not in installed]
    diff = {"before": "", "after": "".join(f"{name}\n" for name in missing), "after_header": "packages to install"}
    module.exit_json(changed=bool(missing), missing=missing, installed=sorted(installed), diff=diff if missing else {})


if __name__ == "__main__":
    main()
