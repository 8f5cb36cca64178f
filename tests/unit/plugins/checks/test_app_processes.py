"""Processes of an app that no host could run, or that more than one would."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.checks.app_processes import fleet_errors

from tests.unit.plugins.apps import app, errors_of

A = {"name": "a", "command": "run a"}


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        ([{**A, "kind": "timer"}], "[0].schedule: is missing; a good value is Mon"),
        ([{**A, "schedule": "daily"}], "[0].schedule: goes with kind timer only"),
        ([{**A, "kind": "scheduler", "instances": 2}], "[0].instances: goes with kind worker only; there is"),
        ([A, A], "[1].name: 'shop-a' is already flask_apps[0].processes[0].name; each process needs a unit of its own"),
        ([{**A, "name": "blue"}], "[0].name: 'shop-blue' is already a unit of the app shop; each process needs"),
        ([{**A, "name": "migrate"}], "[0].name: 'shop-migrate' is already a unit of the app shop; each process needs"),
    ],
)
def test_what_does_not_go_together_is_refused(processes: list[dict[str, Any]], expected: str):
    (error,) = errors_of(app(processes=processes))
    assert error.startswith(f"flask_apps[0].processes{expected}")


def test_a_process_may_not_take_the_place_of_a_unit_of_the_server():
    (error,) = errors_of(app(name="node", processes=[{**A, "name": "exporter"}]))
    assert error.startswith("flask_apps[0].processes[0].name: 'node-exporter' is already a unit of the server; ")


def test_an_absent_app_has_no_processes():
    assert errors_of(app(state="absent", processes=[A, {**A, "kind": "timer", "schedule": "daily"}])) == []


@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_process_and_a_slot_of_another_app_may_not_have_one_unit(state: str):
    other = app(name="shop-x", domains=["x.example.com"], state=state)
    (error,) = errors_of(app(processes=[{"name": "x-green", "command": "a"}]), other)
    assert error.startswith("flask_apps[0].processes[0].name: 'shop-x-green' is already a unit of the app shop-x; ")


def test_processes_of_two_apps_may_not_have_one_unit():
    first = app(processes=[{"name": "x-a", "command": "a"}])
    second = app(name="shop-x", domains=["x.example.com"], processes=[A])
    (error,) = errors_of(first, second)
    assert error.startswith(
        "flask_apps[1].processes[0].name: 'shop-x-a' is already flask_apps[0].processes[0].name; each"
    )
    assert errors_of(first, second | {"name": "shop-y"}) == []


@pytest.mark.parametrize("kind", ["scheduler", "timer"])
def test_on_several_hosts_what_must_run_once_has_its_host(kind: str):
    process = {"name": "a", "command": "a", "kind": kind, "schedule": "daily"}

    def errors(hosts: list[str], **options: Any) -> list[str]:
        shop = app(processes=[{**A, "kind": "worker"}, process | options])
        return fleet_errors(shop, "flask_apps[1] (shop)", hosts, ["web1", "web2", "db1"])

    assert errors(["web1"]) == []
    assert errors(["web1", "web2"], only_on="web2") == []
    assert errors(["web1"], only_on="web2") == []
    (error,) = errors(["web1", "web2"])
    assert error.startswith(
        "flask_apps[1] (shop).processes[1].only_on: is needed, since each of 2 hosts would run this " + kind
    )
    assert error.endswith("; a good value is web1, or '{{ inventory_hostname }}' where each of them should")
    assert errors(["web1"], only_on="wbe2") == [
        "flask_apps[1] (shop).processes[1].only_on: 'wbe2' is not a host of the inventory; did you mean 'web2'?"
    ]
