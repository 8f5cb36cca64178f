# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many gunicorn workers an app gets. Pure arithmetic; the only place where the formula lives.

This plugin util is private to the collection.
"""

from __future__ import annotations

WORKER_MIB = 128
"""Memory of one worker of a middling Flask app, in MiB."""

RESERVE_MIB = 256
"""What the rest of the host keeps, in MiB; at least this, or a quarter of all memory."""

SLOTS = 2
"""During a switch, both slots of an app run."""


def workers(
    cpus: int,
    memory_mib: int,
    apps: int = 1,
    worker_mib: int = WORKER_MIB,
    worker_class: str = "gthread",
    limit_mib: int | None = None,
) -> int:
    """The number of workers for one app of a host.

    By CPU ``cpus + 1``: one for each processor, and one more, so that a hung one is never the only one. While one of
    its requests waits, such a worker handles others, by threads or in an event loop (measured: docs/adr/0012). A
    ``sync`` worker waits, so of those it is ``2 * cpus + 1``, gunicorn's own recommendation (its documentation, Design,
    "How Many Workers?"): while one half waits, the other computes. Idle apps use no CPU, so this is not divided.
    By memory, what is left after the reserve, shared between all apps and their two slots; and no more than
    the app's own limit. The smallest of these, and at least 1.

    :param cpus: processors of the host.
    :param memory_mib: memory of the host in MiB.
    :param apps: how many apps share the host.
    :param worker_mib: memory of one worker in MiB.
    :param limit_mib: what one slot of the app may use at most (its ``MemoryMax``), in MiB; None for no limit.
    :raises ValueError: for a number below 1.

    >>> workers(cpus=2, memory_mib=4096)
    3
    >>> workers(cpus=8, memory_mib=1024, apps=2)
    1
    >>> workers(cpus=2, memory_mib=4096, worker_class="sync")
    5
    """
    numbers = {"cpus": cpus, "memory_mib": memory_mib, "apps": apps, "worker_mib": worker_mib}
    for name, value in (numbers | ({} if limit_mib is None else {"limit_mib": limit_mib})).items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
    by_cpu = 2 * cpus + 1 if worker_class == "sync" else cpus + 1
    available = (memory_mib - max(RESERVE_MIB, memory_mib // 4)) // (apps * SLOTS)
    by_memory = min(available, limit_mib or available) // worker_mib
    return max(1, min(by_cpu, by_memory))
