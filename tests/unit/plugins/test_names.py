"""Variables that are misspelt, that nothing reads, or that a playbook sets itself."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.apps import variable_errors
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.names import (
    misspelt_names,
    overridden_errors,
    unread_names,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import (
    ROLE_NAMES,
    app_roles,
    role_options,
    wired_variables,
)

from tests.unit.plugins.apps import SHOP

OTHER_COLLECTIONS = (
    # prometheus.prometheus, geerlingguy.node_exporter
    "node_exporter_web_listen_address", "node_exporter_enabled_collectors", "node_exporter_disabled_collectors",
    "node_exporter_local_cache_path", "node_exporter_system_user", "node_exporter_basic_auth_users",
    "node_exporter_binary_install_dir", "node_exporter_host", "node_exporter_state", "node_exporter_arch",
    # nickhammond.logrotate, robertdebock.logrotate
    "logrotate_scripts", "logrotate_entries", "logrotate_applications",
    # community roles for certificates
    "letsencrypt_account_email", "letsencrypt_domains", "letsencrypt_cert_path",
    "nginx_proxy_host", "nginx_proxy_cache_path",
)  # fmt: skip


@pytest.mark.parametrize("name", OTHER_COLLECTIONS)
def test_a_variable_of_another_collection_is_no_error_and_is_known_as_unread(name: str):
    assert variable_errors({name: "x"}, ROLE_NAMES) == []
    assert misspelt_names([name], ROLE_NAMES) == []
    assert unread_names([name], ROLE_NAMES) == [name]


@pytest.mark.parametrize(
    ("name", "value", "near"),
    [
        ("node_exporter_adress", "127.0.0.1", "node_exporter_address"),
        ("node_exporter_prot", 9100, "node_exporter_port"),
        ("letsencrypt_emial", "me@shop.com", "letsencrypt_email"),
        ("logrotate_maxsiz", "10M", "logrotate_maxsize"),
        ("nginx_proxy_http_prt", 80, "nginx_proxy_http_port"),
        ("nginx_proxy_htps_port", 1, "nginx_proxy_https_port"),
        ("python_app_keep_release", 3, "python_app_keep_releases"),
        ("python_app_kepe_releases", 3, "python_app_keep_releases"),
    ],
)
def test_a_close_misspelling_is_refused(name: str, value: Any, near: str):
    role = next(role for role in ROLE_NAMES if name.startswith(role))
    assert variable_errors({name: value, "nginx_port": 1, "other": 1}, ROLE_NAMES) == [
        f"{name}: is not a variable of the role {role}; did you mean '{near}'?"
    ]


def test_a_singular_with_a_value_of_another_type_is_another_collections():
    assert variable_errors({"node_exporter_user": "node-exp"}, ["node_exporter"]) == []
    assert variable_errors({"node_exporter_user": {}}, ["node_exporter"])


def test_a_value_of_another_type_is_refused_with_the_role_that_reads_it():
    (error,) = variable_errors({"node_exporter_port": "9100"}, ["node_exporter"])
    assert error.startswith("node_exporter_port: must be a whole number, not '9100'; a good value is 9100")
    assert error.endswith("(this variable is read by the role node_exporter of flask_ops.production)")


def test_a_name_close_to_the_list_of_apps_matters_only_where_the_list_is_missing_or_it_holds_apps():
    assert misspelt_names(["flask_app"], ROLE_NAMES, ["flask_apps"])
    values: dict[str, Any] = {"flask_app": "shop", "flask_apps": [SHOP]}
    assert misspelt_names(values, ROLE_NAMES, ["flask_apps"], values) == []
    values = {"flask_app": [SHOP], "flask_apps": [SHOP]}
    assert misspelt_names(values, ROLE_NAMES, ["flask_apps"], values) == [
        "flask_app: holds apps, and so does flask_apps; keep one of them"
    ]


LISTS = {f"{role}_apps" for role in app_roles()}


@pytest.mark.parametrize("name", sorted(wired_variables() | LISTS))
def test_a_variable_that_the_playbook_sets_is_refused_by_name(name: str):
    (error,) = overridden_errors([name, "flask_apps", "nginx_proxy_http_port"])
    assert error.startswith(f"{name}: is ")
    assert ("move its entries to flask_apps" in error) == (name in LISTS)


def test_a_variable_that_a_role_sets_is_refused_by_name():
    (error,) = overridden_errors(["python_app_releases"])
    assert error.startswith("python_app_releases: is set by the role python_app")


def test_every_option_of_a_role_is_either_wired_or_for_the_user():
    assert wired_variables() <= {name for role in ROLE_NAMES for name in role_options(role)}
