"""What is read out of the kernel's texts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hosts.machine import CAP_SYS_RESOURCE, cgroup_tree, default_interfaces, has_capability, is_alive, smallest_mtu

UNIFIED = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"
HYBRID = """\
tmpfs /sys/fs/cgroup tmpfs rw,mode=755 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
"""
LEGACY = """\
tmpfs /sys/fs/cgroup tmpfs rw,mode=755 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0
"""


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        (UNIFIED, "unified"),
        (HYBRID, "hybrid"),
        (LEGACY, "legacy"),
        ("", "legacy"),
        # What is mounted last is what is seen.
        (HYBRID + UNIFIED, "unified"),
        # A path with a space is escaped by the kernel and must not shift the columns.
        ("none /mnt/a\\040b tmpfs rw 0 0\n" + UNIFIED, "unified"),
    ],
)
def test_cgroup_tree(mounts: str, kind: str) -> None:
    assert cgroup_tree(mounts) == kind


@pytest.mark.parametrize(("mask", "expected"), [("000001ffffffffff", True), ("000001fffeffffff", False), ("0", False)])
def test_capability_is_read_from_the_bounding_set(mask: str, expected: bool) -> None:
    status = f"Name:\tpython3\nCapEff:\t0000000000000000\nCapBnd:\t{mask}\n"
    assert has_capability(status, CAP_SYS_RESOURCE) is expected


def test_default_interfaces() -> None:
    routes = """\
Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0
"""
    assert default_interfaces(routes) == ["eth0"]


def test_mtu_without_any_route_is_the_ordinary_one() -> None:
    assert smallest_mtu([]) == 1500


def test_is_alive() -> None:
    name = Path("/proc/self/comm").read_text().strip()
    assert is_alive(os.getpid(), name)
    assert not is_alive(os.getpid(), "another program")
    assert not is_alive(0, name)


def test_a_zombie_is_not_alive() -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert not is_alive(child, Path(f"/proc/{child}/comm").read_text().strip())
    finally:
        os.waitpid(child, 0)
