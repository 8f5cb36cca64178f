"""How many workers: never none, never more than the memory allows, never fewer on a bigger host."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flask_ops.production.plugins.filter.gunicorn_workers import gunicorn_workers
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.worker_sizing import (
    RESERVE_MIB,
    SLOTS,
    workers,
)
from hypothesis import given
from hypothesis import strategies as st

CLASSES = st.sampled_from(["sync", "gthread", "gevent", "asgi"])
LIMITS = st.none() | st.integers(1, 1_000_000)
CPUS = st.integers(1, 256)
MEMORY = st.integers(1, 1_000_000)
APPS = st.integers(1, 50)


@pytest.mark.parametrize(
    ("cpus", "memory_mib", "apps", "expected"),
    [
        pytest.param(1, 512, 1, 1, id="the smallest server"),
        pytest.param(1, 2048, 1, 2, id="bound by the processor"),
        pytest.param(2, 4096, 1, 3, id="the usual server"),
        pytest.param(2, 4096, 4, 3, id="four apps share the memory"),
        pytest.param(8, 1024, 1, 3, id="bound by the memory"),
        pytest.param(8, 1024, 2, 1, id="bound by the memory of two apps"),
        pytest.param(16, 65536, 1, 17, id="a big server"),
        pytest.param(4, 100, 1, 1, id="less memory than the reserve"),
    ],
)
def test_the_number_of_workers(cpus: int, memory_mib: int, apps: int, expected: int):
    assert workers(cpus, memory_mib, apps) == expected


@pytest.mark.parametrize(("worker_class", "expected"), [("sync", 9), ("gthread", 5), ("gevent", 5), ("asgi", 5)])
def test_only_workers_that_wait_need_a_second_one_for_each_processor(worker_class: str, expected: int):
    assert workers(4, 16384, worker_class=worker_class) == expected


@pytest.mark.parametrize(("limit", "expected"), [(None, 5), (4096, 5), (512, 4), (600, 4), (100, 1)])
def test_the_apps_own_limit_bounds_the_workers_of_a_slot(limit: int | None, expected: int):
    assert workers(4, 16384, limit_mib=limit) == expected


@given(CPUS, MEMORY, APPS, st.integers(1, 4096), CLASSES, LIMITS)
def test_there_is_a_worker_and_all_of_them_fit_into_the_memory(
    cpus: int, memory: int, apps: int, worker_mib: int, worker_class: str, limit: int | None
):
    count = workers(cpus, memory, apps, worker_mib, worker_class, limit)
    assert 1 <= count <= 2 * cpus + 1
    used = count * apps * SLOTS * worker_mib
    assert count == 1 or used <= memory - max(RESERVE_MIB, memory // 4)
    assert count == 1 or limit is None or count * worker_mib <= limit


@given(CPUS, MEMORY, APPS, CLASSES, st.integers(1, 100_000), st.integers(0, 100_000))
def test_more_of_a_host_is_never_fewer_workers(
    cpus: int, memory: int, apps: int, worker_class: str, limit: int, more: int
):
    def count(cpus: int, memory: int, apps: int, limit: int | None) -> int:
        return workers(cpus, memory, apps, worker_class=worker_class, limit_mib=limit)

    here = count(cpus, memory, apps, limit)
    assert count(cpus + more, memory, apps, limit) >= here
    assert count(cpus, memory + more, apps, limit) >= here
    assert count(cpus, memory, apps, limit + more) >= here
    assert count(cpus, memory, apps, None) >= here
    assert count(cpus, memory, apps + more, limit) <= here


@pytest.mark.parametrize("wrong", ["cpus", "memory_mib", "apps", "worker_mib", "limit_mib"])
def test_a_number_below_one_is_refused_by_name(wrong: str):
    numbers: dict[str, Any] = {"cpus": 1, "memory_mib": 1024, wrong: 0}
    with pytest.raises(ValueError, match=f"{wrong} must be at least 1, not 0"):
        workers(**numbers)


FACTS = {"processor_vcpus": 2, "memtotal_mb": 4096}


def test_the_filter_reads_the_facts():
    assert gunicorn_workers(FACTS) == 3
    assert gunicorn_workers(FACTS, apps=4) == 3
    assert gunicorn_workers(FACTS, worker_mib=512) == 3
    assert gunicorn_workers(FACTS, worker_class="sync") == 5
    assert gunicorn_workers(FACTS, limit_mib=256) == 2


@pytest.mark.parametrize(
    ("facts", "apps", "message"),
    [
        ({"memtotal_mb": 1}, 1, "the fact 'processor_vcpus' has not been gathered"),
        ({"processor_vcpus": 1}, 1, "the fact 'memtotal_mb' has not been gathered"),
        (FACTS, 0, "apps must be at least 1, not 0"),
        (FACTS, None, "gunicorn_workers: "),
    ],
)
def test_the_filter_says_what_is_wrong(facts: dict[str, int], apps: Any, message: str):
    with pytest.raises(AnsibleFilterError, match=message):
        gunicorn_workers(facts, apps)
