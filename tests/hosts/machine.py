"""The machine that the hosts run on: what it is like, and what it lacks."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .state import HostsError, run, say

CgroupTree = Literal["unified", "hybrid", "legacy"]

CAP_SYS_RESOURCE = 24
ORDINARY_MTU = 1500
PROGRAMS_PATH = os.pathsep.join(
    (os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/lib/podman", "/usr/libexec/podman"),
)

PACKAGES: Mapping[str, str] = {
    "podman": "podman",
    "runc": "runc",
    "conmon": "conmon",
    "netavark": "netavark",
    "aardvark-dns": "aardvark-dns",
    "iptables": "iptables",
    "nftables": "nft",
    "mmdebstrap": "mmdebstrap",
    "openssh-client": "ssh",
    "util-linux": "nsenter",
    "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "distro-info-data": "/usr/share/distro-info/debian.csv",
}
"""Debian package: the program or the file that shows that it is there."""


@dataclass(frozen=True)
class Machine:
    """What matters of the machine; everything is detected, nothing assumed."""

    cgroups: CgroupTree
    may_raise_limits: bool
    """CAP_SYS_RESOURCE: without it, nothing may ask for more than the hard limits."""
    nofile: int
    nproc: int
    mtu: int
    authorities: tuple[Path, ...]
    missing: tuple[str, ...]

    @classmethod
    def detect(cls) -> Machine:
        """Look at the machine. Needs no privileges."""
        return cls(
            cgroups=cgroup_tree(Path("/proc/self/mounts").read_text()),
            may_raise_limits=has_capability(Path("/proc/self/status").read_text(), CAP_SYS_RESOURCE),
            nofile=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
            nproc=allowed_processes(),
            mtu=smallest_mtu(default_interfaces(Path("/proc/net/route").read_text())),
            authorities=tuple(sorted(Path("/usr/local/share/ca-certificates").rglob("*.crt"))),
            missing=tuple(package for package, proof in PACKAGES.items() if not present(proof)),
        )

    def install_missing(self) -> None:
        """Install what is missing, or say exactly what that is."""
        if not self.missing:
            return
        packages = " ".join(self.missing)
        if not shutil.which("apt-get"):
            raise HostsError(f"Missing, and there is no apt-get to install it (Debian's package names): {packages}")
        say(f"Installing on this machine: {packages}")
        apt = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300")
        run(*apt, "update")
        run(*apt, "install", "--no-install-recommends", *self.missing)


def present(proof: str) -> bool:
    """Tell whether a program (found by name, wherever the engine looks for its helpers) or a file is there."""
    return Path(proof).exists() if proof.startswith("/") else shutil.which(proof, path=PROGRAMS_PATH) is not None


def is_alive(pid: int, program: str) -> bool:
    """Tell whether a process is there, runs that program, and is not just a dead one that nobody has buried."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    name, _, state = stat.partition("(")[2].rpartition(")")
    return name == program and state.split()[0] not in "ZX"


def cgroup_tree(mounts: str) -> CgroupTree:
    """Tell the kind of control group tree from the text of /proc/mounts.

    Only "unified" (version 2 and nothing else) is what today's engines and systemd expect; "hybrid" has version 1
    controllers in addition, "legacy" has those only.
    """
    types = {target: kind for _, target, kind, *_ in (line.split() for line in mounts.splitlines() if line)}
    if types.get("/sys/fs/cgroup") == "cgroup2":
        return "unified"
    under = {kind for target, kind in types.items() if target.startswith("/sys/fs/cgroup/")}
    return "hybrid" if "cgroup2" in under else "legacy"


def has_capability(status: str, number: int) -> bool:
    """Tell from the text of /proc/self/status whether root could have a capability here.

    The bounding set is what counts: it gives the same answer before and after sudo.
    """
    bounding = next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:"))
    return bool(int(bounding, 16) >> number & 1)


def allowed_processes() -> int:
    """Return the most processes a host may ask for: podman lowers its own hard limit to the number of process ids."""
    ids = int(Path("/proc/sys/kernel/pid_max").read_text())
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    return ids if hard == resource.RLIM_INFINITY else min(hard, ids)


def default_interfaces(routes: str) -> list[str]:
    """List the interfaces of the default routes, from the text of /proc/net/route."""
    rows = (line.split() for line in routes.splitlines()[1:])
    return [interface for interface, destination, *rest in rows if destination == rest[5] == "00000000"]


def smallest_mtu(interfaces: Iterable[str]) -> int:
    """Return the largest packet that leaves the machine whichever of the interfaces it takes."""
    sizes = (int(Path(f"/sys/class/net/{interface}/mtu").read_text()) for interface in interfaces)
    return min(sizes, default=ORDINARY_MTU)
