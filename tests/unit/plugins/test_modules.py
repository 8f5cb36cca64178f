"""What ansible-test does not compare: modules that are action plugins alone, and the action group."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
COLLECTION = "ansible_collections.flask_ops.production.plugins"


@pytest.mark.parametrize("name", ["app_failures", "command_line", "prepare_apps"])
def test_the_options_of_an_action_plugin_are_the_documented_ones(name: str):
    documented = yaml.safe_load(import_module(f"{COLLECTION}.modules.{name}").DOCUMENTATION)["options"]
    for option in documented.values():
        del option["description"]
    assert documented == import_module(f"{COLLECTION}.action.{name}").OPTIONS


def test_module_defaults_reach_every_module():
    group = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]["all"]
    assert sorted(group) == sorted(path.stem for path in ROOT.glob("plugins/modules/*.py"))
