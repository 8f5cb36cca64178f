"""The test hosts of a benchmark, and how they are reached."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TOOL = ["python3", "tests/hosts"]
PREFIX = "bench-"


@dataclass(frozen=True)
class Host:
    """One test host."""

    name: str
    told: dict[str, Any]

    @property
    def address(self) -> str:
        return str(self.told["address"])

    @property
    def ssh_command(self) -> list[str]:
        trust = ["-o", f"UserKnownHostsFile={self.told['known_hosts']}", "-o", "StrictHostKeyChecking=yes"]
        key = ["-o", "IdentitiesOnly=yes", "-i", self.told["identity_file"]]
        return ["ssh", "-F", "none", *trust, *key, f"{self.told['user']}@{self.address}"]

    def root(self, script: str, stdin: bytes | None = None) -> str:
        """What a script that must succeed printed; it runs as root."""
        return self.fetch(script, stdin).decode()

    def fetch(self, script: str, stdin: bytes | None = None) -> bytes:
        quoted = "'" + script.replace("'", "'\\''") + "'"
        done = subprocess.run(
            [*self.ssh_command, f"sudo bash -euc {quoted}"], input=stdin or b"", capture_output=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: {script[:200]}\n{done.stderr.decode(errors='replace')[-2000:]}")
        return done.stdout


def up(name: str, *domains: str) -> Host:
    """A host with Debian 13; one that is there is used as it is."""
    given = [word for domain in domains for word in ("--domain", domain)]
    told = _tool("up", PREFIX + name, "--dist", "13", *given, "--json")
    return Host(PREFIX + name, json.loads(told))


def fresh(name: str, *domains: str) -> Host:
    """A new host, as bare as a new server but for curl, by which it is asked whether it serves."""
    base = up("base")
    base.root(
        "systemctl disable --quiet --now apt-daily.timer apt-daily-upgrade.timer\n"  # they hold apt's lock at first
        "command -v curl >/dev/null || { apt-get update -qq; apt-get install -qq --no-install-recommends curl; "
        "rm -rf /var/lib/apt/lists/*; } >/dev/null"
    )
    (host,) = clone(base, [name])
    return up(name, *domains) if domains else host


def clone(origin: Host, names: list[str]) -> list[Host]:
    """Copies of a host, each with an address and a key of its own."""
    copies = [PREFIX + name for name in names]
    _tool("clone", origin.name, *copies)
    return [Host(one["name"], one) for one in json.loads(_tool("inventory", *copies, "--json"))]


def down(*names: str) -> None:
    if names:
        _tool("down", *(PREFIX + name for name in names))


def inventory(hosts: list[Host]) -> str:
    """What Ansible has to know of them."""
    return _tool("inventory", *(host.name for host in hosts))


def _tool(*arguments: str) -> str:
    done = subprocess.run([*TOOL, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout
