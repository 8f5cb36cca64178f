"""The configuration of podman on machines of different kinds."""

from __future__ import annotations

import dataclasses
import resource
import tomllib

from hosts.engine import engine_settings, needs_namespace, storage_settings, toml
from hosts.machine import Machine

ORDINARY = Machine(
    cgroups="unified", may_raise_limits=True, nofile=1048576, nproc=4194304, mtu=1500, authorities=(), missing=()
)


def test_an_ordinary_machine_gets_nothing_unusual() -> None:
    settings = engine_settings(ORDINARY)
    assert not needs_namespace(ORDINARY)
    assert not {"runtime", "cgroup_manager"} & settings["engine"].keys()
    assert settings["containers"]["pids_limit"] == 0
    assert "default_ulimits" not in settings["containers"]


def test_a_hybrid_tree_needs_runc_a_namespace_and_no_limit_on_processes() -> None:
    machine = dataclasses.replace(ORDINARY, cgroups="hybrid")
    settings = engine_settings(machine)
    assert needs_namespace(machine)
    assert settings["engine"]["runtime"] == "runc"
    assert settings["engine"]["cgroup_manager"] == "cgroupfs"
    assert settings["containers"]["pids_limit"] == 0
    assert "default_ulimits" not in settings["containers"]


def test_without_the_capability_hosts_ask_for_no_more_than_the_hard_limits() -> None:
    machine = dataclasses.replace(ORDINARY, may_raise_limits=False, nofile=20000, nproc=32768)
    settings = engine_settings(machine)
    assert not needs_namespace(machine)
    assert settings["engine"]["runtime"] == "runc"
    assert settings["containers"]["default_ulimits"] == ["nofile=20000:20000", "nproc=32768:32768"]


def test_an_unlimited_limit_is_not_spelled_out() -> None:
    machine = dataclasses.replace(ORDINARY, may_raise_limits=False, nofile=resource.RLIM_INFINITY, nproc=100)
    assert engine_settings(machine)["containers"]["default_ulimits"] == ["nproc=100:100"]


def test_toml_says_what_was_meant() -> None:
    settings = engine_settings(dataclasses.replace(ORDINARY, cgroups="hybrid", may_raise_limits=False))
    assert tomllib.loads(toml(settings)) == settings
    assert tomllib.loads(toml(storage_settings())) == storage_settings()
