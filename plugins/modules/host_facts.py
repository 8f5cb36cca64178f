#!/usr/bin/python
# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host_facts
short_description: The few facts of a host that the roles use
version_added: 0.1.0
description:
  - Gathers, with Ansible's own collectors, what M(flask_ops.production.validate_apps) checks and the roles reckon with.
    M(ansible.builtin.setup) looks at every disk and network interface for the same, which takes twice as long.
  - Looks up users of the host, so that one connection is enough for all that has to be known at the start of a run.
  - Changes nothing.
author: [the flask_ops.production authors (@flask-ops)]
options:
  users:
    description: Names of users to look up. One that the host does not have is no error.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Reads as always.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Learn what the roles need to know, and who shop is
  flask_ops.production.host_facts:
    users: [shop]
"""

RETURN = r"""
ansible_facts:
  description: Facts as M(ansible.builtin.setup) names them.
  returned: always
  type: dict
  contains:
    architecture:
      description: What the kernel calls the machine.
      type: str
      sample: x86_64
    distribution:
      description: The name of the distribution.
      type: str
      sample: Debian
    distribution_major_version:
      description: Its version, up to the first dot.
      type: str
      sample: "13"
    memtotal_mb:
      description: Memory of the host, in MiB.
      type: int
    processor_vcpus:
      description: Processors of the host.
      type: int
    service_mgr:
      description: What the host is run by.
      type: str
      sample: systemd
seconds:
  description: The clock of the host, in seconds since 1970.
  returned: always
  type: float
users:
  description: The comment in C(/etc/passwd) of each user that the host has.
  returned: always
  type: dict
  sample: {shop: Flask app shop}
"""

import platform
import pwd
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.facts.hardware.linux import LinuxHardware
from ansible.module_utils.facts.system.distribution import DistributionFactCollector
from ansible.module_utils.facts.system.service_mgr import ServiceMgrFactCollector

FACTS = (
    "architecture", "distribution", "distribution_major_version", "memtotal_mb", "processor_vcpus", "service_mgr",
)  # fmt: skip


def main() -> None:
    module = AnsibleModule(
        argument_spec={"users": {"type": "list", "elements": "str", "default": []}}, supports_check_mode=True
    )
    users = {user.pw_name: user.pw_gecos for user in pwd.getpwall() if user.pw_name in module.params["users"]}
    module.exit_json(changed=False, ansible_facts=facts(module), seconds=time.time(), users=users)


def facts(module: AnsibleModule) -> dict[str, object]:
    found = {"architecture": platform.machine(), "system": platform.system()}
    found |= DistributionFactCollector().collect(module=module)
    hardware = LinuxHardware(module)
    found |= hardware.get_memory_facts()
    found |= hardware.get_cpu_facts(collected_facts={"ansible_architecture": found["architecture"]})
    known = {f"ansible_{name}": value for name, value in found.items()}
    found |= ServiceMgrFactCollector().collect(module=module, collected_facts=known)
    return {f"ansible_{name}": found[name] for name in FACTS}


if __name__ == "__main__":
    main()
