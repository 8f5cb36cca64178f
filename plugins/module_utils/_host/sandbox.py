# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The systemd directives of every process of an app: what it may not do, and how much of the host it may take.

Measured on systemd 252 and 257: gunicorn works under all of them, and ``systemd-analyze security`` rates the
unit 1.3 and 1.1. The system-call filter is possible only because systemd, not gunicorn, binds the socket.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

HIDDEN_ADDRESS = "127.0.9.1"
"""The address on the loopback of services that apps must not reach."""

SANDBOX: tuple[tuple[str, str], ...] = (
    # The file system is read-only but for the paths that the app declares; homes and devices are not there at all.
    ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"),
    ("PrivateTmp", "yes"),
    ("PrivateDevices", "yes"),
    ("UMask", "0027"),
    # No way to more privileges than the app's user has.
    ("NoNewPrivileges", "yes"),
    ("CapabilityBoundingSet", ""),
    ("AmbientCapabilities", ""),
    ("PrivateUsers", "yes"),
    ("RestrictSUIDSGID", "yes"),
    # The kernel, the clock, the host's name and other people's processes are out of sight or read-only.
    ("ProtectKernelTunables", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectClock", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectProc", "invisible"),
    ("ProcSubset", "pid"),
    ("RemoveIPC", "yes"),
    # Nothing a web app needs: namespaces, real-time scheduling, other architectures, raw sockets.
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("LockPersonality", "yes"),
    ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallFilter", "@system-service"),
    ("SystemCallFilter", "~@privileged @resources"),
    ("SystemCallErrorNumber", "EPERM"),
    # Exporters, mtail's profiles and nginx's counters listen there; databases and caches of apps on 127.0.0.1.
    ("IPAddressDeny", HIDDEN_ADDRESS),
    # Shared memory of its own: on the host's, an app could take the room for the heartbeats of another one's workers.
    ("TemporaryFileSystem", "/dev/shm:size=25%,mode=1777"),
    # Half of the memory is more than the workers of a slot are sized for (a quarter stays for the host, and a slot gets
    # at most half of the rest). What an app keeps in /dev/shm, and in /tmp where that is in memory, is counted, too.
    ("MemoryMax", "50%"),
    # If the whole host runs out of memory, an app ends before nginx, SSH and a database.
    ("OOMScoreAdjust", "500"),
)

BUILD: tuple[tuple[str, str], ...] = (
    # Less strict than for the app: compilers and package managers read /proc/cpuinfo, set priorities and limits, and
    # unpack files with any mode. What they make is given to root afterwards.
    *(
        (name, value)
        for name, value in SANDBOX
        if name not in ("ProcSubset", "RestrictSUIDSGID", "RestrictAddressFamilies", "UMask")
        and "@resources" not in value
    ),
    ("SystemCallFilter", "~@privileged"),
    ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"),
    # Live apps go first, and a build that takes all memory is the first process to end.
    ("MemoryMax", "75%"),
    ("TasksMax", "4096"),
    ("LimitFSIZE", "4G"),
    ("CPUWeight", "20"),
    ("IOWeight", "20"),
    ("OOMScoreAdjust", "500"),
    # Whatever a build leaves running ends with it, at once.
    ("KillMode", "control-group"),
    ("KillSignal", "SIGKILL"),
    ("RuntimeMaxSec", "7200"),
)
"""What a build may not do."""

STRICT: tuple[tuple[str, str], ...] = (
    # No network at all: databases and other services are reached by sockets in the file system. And no machine code
    # that is made at run time, which compilers such as numba's need.
    ("RestrictAddressFamilies", "AF_UNIX"),
    ("PrivateNetwork", "yes"),
    ("MemoryDenyWriteExecute", "yes"),
)
"""What an app may not do in addition, with a strict sandbox. Rated 0.7 at most."""

LIMITS = {
    "memory_high": ("MemoryHigh", "{}M"),
    "memory_max": ("MemoryMax", "{}M"),
    "cpu_quota": ("CPUQuota", "{}%"),
    "cpu_weight": ("CPUWeight", "{}"),
    "tasks": ("TasksMax", "{}"),
    "open_files": ("LimitNOFILE", "{}"),
}
"""The directive of each of an app's limits, and the form of its value."""

NAMES = frozenset(name for name, _value in SANDBOX + STRICT)


def sandbox(
    strict: bool = False, without: Collection[str] = (), limits: Mapping[str, int | None] | None = None
) -> list[tuple[str, str]]:
    """The directives of an app's processes.

    :param without: names of directives that the app cannot live with.
    :param limits: the app's option of this name.
    """
    kept = [directive for directive in SANDBOX if not strict or directive[0] not in dict(STRICT)]
    bounds = directives_of(limits or {})
    left_out = {*without, *dict(bounds)}
    return [directive for directive in [*kept, *(STRICT if strict else ())] if directive[0] not in left_out] + bounds


def directives_of(limits: Mapping[str, int | None]) -> list[tuple[str, str]]:
    """The directives of an app's limits. ``memory_high`` alone is the only limit of memory."""
    bounds = [(name, form.format(limits[key])) for key, (name, form) in LIMITS.items() if limits.get(key)]
    unbounded = limits.get("memory_high") and not limits.get("memory_max")
    return bounds + ([("MemoryMax", "infinity")] if unbounded else [])
