"""What a number is worth nothing without: the machine, and the versions of everything that took part."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.hosts import ROOT, Host

ON_HOST = """
echo "kernel: $(uname -r)"
echo "debian: $(cat /etc/debian_version)"
dpkg-query --show --showformat='${Package}: ${Version}\\n' nginx systemd python3 openssl prometheus-node-exporter
"""


def machine() -> dict[str, Any]:
    """This machine: controller, hosts and clients share it."""
    processor = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return {
        "processor": processor[1] if processor else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory[1]) / 2**20, 1) if memory else None,
        "kernel": platform.release(),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def versions(pyinfra: Path) -> dict[str, str]:
    """What runs on the controller."""
    return {
        "collection": first_line("git", "describe", "--always", "--dirty"),
        "python": platform.python_version(),
        "ansible-core": first_line("ansible-playbook", "--version"),
        "pyinfra": first_line(str(pyinfra), "--version"),
        "wrk": first_line("dpkg-query", "--show", "--showformat=${Version}", "wrk"),
        "ssh": first_line("ssh", "-V"),
    }


def host(one: Host) -> dict[str, str]:
    """What runs on a host."""
    return dict(line.split(": ", 1) for line in one.root(ON_HOST).splitlines())


def first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "not here"
    return next(iter((done.stdout or done.stderr).strip().splitlines()), "")
