"""The reference of the options says what the roles' argument specs and the rules say now."""

import re

import pytest
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import app_options, app_roles

from tests import schema
from tests.docs import PAGE, WORKERS, render, render_workers


def test_the_reference_is_up_to_date():
    assert PAGE.read_text() == render(), "run: python3 tests/env.py python -m tests.docs"


def test_the_table_of_workers_is_up_to_date():
    assert WORKERS.read_text() == render_workers(), "run: python3 tests/env.py python -m tests.docs"


def test_the_schema_is_up_to_date():
    assert schema.SCHEMA.read_text() == schema.render(), "run: python3 tests/env.py python -m tests.docs"


@pytest.mark.parametrize("name", app_options(app_roles()))
def test_every_option_has_a_section_that_the_overview_links_to(name: str):
    page = PAGE.read_text()
    assert f"| [`{name}`](#{name}) |" in page
    assert len(re.findall(rf"^## {name}$", page, re.MULTILINE)) == 1
