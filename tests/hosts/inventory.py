"""Inventories of the hosts, for Ansible and other programs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from typing import Any

from .host import Host


def as_yaml(hosts: Iterable[Host]) -> str:
    """Render an inventory that Ansible reads as it is. Every value is JSON, which is YAML too."""
    lines = ["flask_servers:", "  hosts:"]
    for host in hosts:
        lines.append(f"    {host.name}:")
        lines += [f"      {key}: {json.dumps(value)}" for key, value in ansible_variables(host).items()]
    return "\n".join(lines) + "\n"


def ansible_variables(host: Host) -> dict[str, str | int]:
    """The connection variables of Ansible."""
    return {
        "ansible_host": host.address,
        "ansible_user": host.user,
        "ansible_ssh_private_key_file": str(host.identity_file),
        "ansible_ssh_common_args": shlex.join(host.ssh_options),
        "ansible_python_interpreter": "/usr/bin/python3",
    }


def as_data(host: Host) -> dict[str, Any]:
    """The same as plain data, for programs."""
    return {
        "name": host.name,
        "address": host.address,
        "user": host.user,
        "port": host.port,
        "identity_file": str(host.identity_file),
        "known_hosts": str(host.known_hosts),
        "dist": host.dist,
        "domains": list(host.domains),
    }
