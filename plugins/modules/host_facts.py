#!/usr/bin/python
# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_facts
short_description: Gather the host facts that the roles use
version_added: 0.1.0
description:
  - Gathers the facts that M(flask_ops.production.prepare_apps) checks and the roles use.
  - Finds users, directories, files and units with an app's name that this collection did not create, so that one
    connection at the start of a run is enough.
  - Changes nothing.
extends_documentation_fragment:
  - flask_ops.production.common
  - flask_ops.production.common.reads
seealso:
  - module: flask_ops.production.prepare_apps
  - module: ansible.builtin.setup
options:
  accounts:
    description: Users, each with a group of the same name, that the roles would create or remove.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the user and of its group.
        type: str
        required: true
      comment:
        description: The comment in C(/etc/passwd) that marks the user as the app's.
        type: str
        required: true
      home:
        description: The user's home.
        type: str
        required: true
  directories:
    description: Directories that the roles would create or remove. A file C(.flask-ops) of root's marks them.
    type: list
    elements: str
    default: []
  files:
    description: Files that the roles would write or remove. A line of their text marks them.
    type: list
    elements: str
    default: []
  units:
    description: Units that the roles would create or remove, each with its type. A line of the unit's file marks them.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Gather facts, and find out whether the host has another shop
  flask_ops.production.host_facts:
    accounts: [{name: shop, comment: Flask app shop, home: /srv/shop}]
    directories: [/srv/shop]
    units: [shop-blue.service]
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
      description: V(systemd), or the name of the program that runs the host instead.
      type: str
      sample: systemd
seconds:
  description: The clock of the host, in seconds since 1970.
  returned: always
  type: float
apps:
  description: The names of the apps that are deployed on the host.
  returned: always
  type: list
  elements: str
users:
  description: The names of the existing accounts among O(accounts).
  returned: always
  type: list
  elements: str
foreign:
  description: The requested users, directories, files and units that exist and are not marked, with the reason.
  returned: always
  type: dict
  sample: {/srv/shop: it has no file .flask-ops}
"""

import os
import platform
import shlex
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flask_ops.production.plugins.module_utils._host import ownership
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError


def main() -> None:
    account = {name: {"type": "str", "required": True} for name in ("name", "comment", "home")}
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "accounts": {"type": "list", "elements": "dict", "options": account, "default": []},
            "directories": names,
            "files": names,
            "units": names,
        },
        supports_check_mode=True,
    )
    try:
        found, apps = foreign(module.params), ownership.deployed_apps()
        users = [account["name"] for account in module.params["accounts"] if ownership.user_exists(account["name"])]
    except (CommandError, OSError) as error:
        module.fail_json(msg=f"Cannot find out what belongs to the apps: {error}")
    module.exit_json(changed=False, ansible_facts=facts(), seconds=time.time(), foreign=found, apps=apps, users=users)


def foreign(params: dict) -> dict[str, str]:
    """What somebody else has of the names that are asked for, each with the reason."""
    reasons = {account["name"]: ownership.account_conflict(**account) for account in params["accounts"]}
    reasons |= {path: ownership.directory_conflict(path) for path in params["directories"]}
    reasons |= {path: ownership.file_conflict(path) for path in params["files"]}
    # A host without systemd is refused by its facts.
    if os.path.isdir("/run/systemd/system"):
        reasons |= ownership.unit_conflicts(params["units"])
    return {name: reason for name, reason in reasons.items() if reason}


def facts() -> dict[str, str | int | None]:
    """Facts with the names and values of Ansible's own."""
    release = dict(line.split("=", 1) for line in shlex.split(text("/etc/os-release"), comments=True))
    return {
        "ansible_architecture": platform.machine(),
        "ansible_distribution": release["ID"].capitalize(),
        # Debian's testing and unstable have none.
        "ansible_distribution_major_version": release.get("VERSION_ID", "").partition(".")[0],
        "ansible_memtotal_mb": int(text("/proc/meminfo").split()[1]) // 1024,
        "ansible_processor_vcpus": os.cpu_count(),
        # sd_booted(3)
        "ansible_service_mgr": "systemd" if os.path.isdir("/run/systemd/system") else text("/proc/1/comm").strip(),
    }


def text(path: str) -> str:
    with open(path, encoding="utf-8") as stream:
        return stream.read()


if __name__ == "__main__":
    main()
