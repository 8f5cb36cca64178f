"""What the tests of the plugins and of the templates share."""

from __future__ import annotations

from ansible.plugins.loader import init_plugin_loader
from hypothesis import settings

# Before the first test imports ansible_collections: what Python finds by itself lacks what Ansible adds to it.
init_plugin_loader()

# The same examples in every run: a test that fails here fails everywhere, and no database is left behind.
settings.register_profile("repeatable", max_examples=50, derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable")
