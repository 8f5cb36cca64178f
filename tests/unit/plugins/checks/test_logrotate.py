"""Bad descriptions of logs are refused by name, and so are two for one path."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.apps import variable_errors

SHOP: dict[str, Any] = {"name": "shop", "paths": ["/var/log/shop/*.log"], "unit": "shop.service", "signal": "USR1"}


def errors_of(*logs: Any, **variables: Any) -> list[str]:
    return variable_errors({"logrotate_files": list(logs), **variables}, ["logrotate"])


def test_a_log_needs_a_name_and_a_path_unless_it_is_absent():
    assert errors_of({"name": "shop", "state": "absent"}) == []
    assert errors_of({"name": "shop"}) == [
        "logrotate_files[0].paths: must have at least one path; a good value is /var/log/shop/*.log"
    ]
    (missing,) = errors_of({"paths": ["/var/log/a.log"]})
    assert missing.startswith("logrotate_files[0].name: is missing")


def test_no_signal_and_no_unit_may_be_null():
    assert errors_of({**SHOP, "unit": None, "signal": None}) == []


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ({"unit": None}, "logrotate_files[0].unit: is needed with signal; a good value is nginx.service"),
        (
            {"size": "1M", "frequency": "daily"},
            "logrotate_files[0].frequency: does not go with size, which alone decides",
        ),
        ({"size": "1M", "minsize": "1M"}, "logrotate_files[0].minsize: does not go with size"),
        ({"size": "1M", "maxsize": "1M"}, "logrotate_files[0].maxsize: does not go with size"),
        ({"kep": 3}, "logrotate_files[0].kep: is not a known option; did you mean 'keep'?"),
    ],
)
def test_what_does_not_go_together_is_refused(log: dict[str, Any], expected: str):
    (error,) = errors_of({**SHOP, **log})
    assert error.startswith(expected)


def test_hourly_is_refused_where_logrotate_looks_once_a_day():
    hourly = "hourly goes with logrotate_schedule hourly only"
    assert errors_of({**SHOP, "frequency": "hourly"}) == []
    assert errors_of({**SHOP, "frequency": "hourly"}, logrotate_schedule="daily") == [
        f"logrotate_files[0].frequency: {hourly}"
    ]
    assert errors_of(logrotate_frequency="hourly", logrotate_schedule="daily") == [f"logrotate_frequency: {hourly}"]


def test_two_logs_of_one_name_are_refused():
    (error,) = errors_of(SHOP, logrotate_extra_files=[{"name": "shop", "paths": ["/var/log/other.log"]}])
    assert error == (
        "logrotate_extra_files[0].name: 'shop' is already logrotate_files[0].name; each log needs a name of its own"
    )


@pytest.mark.parametrize("path", ["/var/log/shop/access.log", "/var/log/shop/*.log", "/var/log/*/*.log"])
def test_two_logs_with_one_path_are_refused(path: str):
    other = {"name": "other", "paths": ["/var/log/a.log", path]}
    (error,) = errors_of(SHOP, logrotate_extra_files=[other])
    assert error == (
        f"logrotate_extra_files[0].paths[1]: '{path}' is also covered by '/var/log/shop/*.log' in "
        "logrotate_files[0].paths[0]; logrotate would skip one of them"
    )


def test_one_path_twice_in_one_log_is_refused():
    (error,) = errors_of({"name": "shop", "paths": ["/var/log/shop/a.log", "/var/log/shop/a.log"]})
    assert error.startswith("logrotate_files[0].paths[1]: '/var/log/shop/a.log' is also covered")


def test_a_wildcard_stays_within_its_directory():
    assert (
        errors_of(SHOP, logrotate_extra_files=[{"name": "other", "paths": ["/var/log/*.log", "/var/log/a/b/*.log"]}])
        == []
    )


def test_an_absent_log_gives_its_paths_to_another():
    assert errors_of({**SHOP, "state": "absent"}, {**SHOP, "name": "other"}) == []
