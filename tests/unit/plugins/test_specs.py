"""One description of every option, from which each role gets its part."""

from __future__ import annotations

import pytest
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import (
    app_options,
    app_roles,
    list_of,
    published_variables,
    role_options,
)


@pytest.mark.parametrize(
    ("role", "known", "unknown"),
    [
        ("python_app", {"name", "wsgi", "secrets"}, {"domains", "timeout"}),
        ("gunicorn_systemd", {"name", "wsgi", "domains", "timeout"}, {"secrets", "client_max_body_size"}),
        ("nginx_proxy", {"name", "domains", "timeout", "client_max_body_size"}, {"wsgi", "secrets"}),
    ],
)
def test_each_role_has_the_options_that_it_knows(role: str, known: set[str], unknown: set[str]):
    options = app_options([role]).keys()
    assert known <= options
    assert not unknown & options
    assert known | unknown <= app_options(app_roles()).keys()


def test_of_an_option_that_several_roles_know_each_may_know_a_part():
    assert app_options(["nginx_proxy"])["health"]["options"].keys() == {"path"}
    assert app_options(["python_app"])["health"]["options"].keys() == {"deadline"}
    assert app_options(app_roles())["health"]["options"].keys() >= {"path", "status", "timeout", "deadline"}


def test_what_a_role_publishes_is_known():
    published = published_variables("python_app")
    assert "python_app_releases" in published
    assert not [name for name in published if not name.startswith(("python_app_", "__"))]


def test_a_role_of_apps_has_a_list_of_them():
    assert list_of("logrotate") is None
    for role in app_roles():
        option = role_options(role)[f"{role}_apps"]
        assert (list_of(role), option["type"], option["elements"]) == (f"{role}_apps", "list", "dict")
