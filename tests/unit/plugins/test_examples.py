"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[3] / "plugins"
EXAMPLES = sorted(path.relative_to(PLUGINS) for path in PLUGINS.rglob("*.py") if "    >>> " in path.read_text())


@pytest.mark.parametrize("path", EXAMPLES, ids=str)
def test_examples(path: Path):
    name = ".".join(path.with_suffix("").parts)
    module = importlib.import_module(f"ansible_collections.flask_ops.production.plugins.{name}")
    found = doctest.testmod(module)
    assert (found.failed, found.attempted > 0) == (0, True)
