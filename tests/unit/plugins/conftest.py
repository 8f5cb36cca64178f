"""Fixtures of the tests of plugins."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._release import agent as _agent
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import App
from ansible_collections.flask_ops.production.plugins.module_utils._release.build import Build
from ansible_collections.flask_ops.production.plugins.module_utils._release.program import program


class LocalBuild(Build):
    """The real agent, as a process of this user instead of a unit."""

    def command(self) -> list[str]:
        return [sys.executable, "-I", "-c", program(_agent)]


@pytest.fixture
def build_of() -> Iterator[Callable[[App], Build]]:
    started: list[Any] = []

    def start(app: App) -> Build:
        started.append(LocalBuild(app))
        return started[-1]

    yield start
    for build in started:
        build.end()


@pytest.fixture(params=[0o022, 0o027, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)
