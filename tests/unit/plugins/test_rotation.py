"""Bad descriptions of logs are refused by name, and so are two for one path."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.rules import LOG_RULES
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import role_options
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.validation import variable_errors

LISTS = ["logrotate_files", "logrotate_extra_files"]
SHOP: dict[str, Any] = {"name": "shop", "paths": ["/var/log/shop/*.log"], "unit": "shop.service", "signal": "USR1"}


def errors_of(*logs: Any, **variables: Any) -> list[str]:
    return variable_errors({"logrotate_files": list(logs), **variables}, ["logrotate"])


BAD: dict[str, list[Any]] = {
    "name": ["", "../x", "a/b", "a.log", "-a", "A", "a b", "a\n", "{name}", "a" * 65, 7, None],
    "state": ["gone", "", True],
    "paths[]": [
        "", "access.log", "/access.log", "/", "/var/log/../x.log", "/var/log/./x", "/etc/passwd", "/etc/x/a.log", "/usr/a.log",
        "/dev/sda", "/proc/1/x", "/*/x.log", "/v?r/x.log", "/var/log/*", "/var/log/shop/*", "/var/log/a?", "/var/log/a b.log",
        "/var/log/a.log\n/etc/shadow", "/var/log/a.log {", '/var/log/"a.log', "/var/log/{nmae}.log", "/var/log/$x.log",
        "/var/log/a.log#", "/var/log/", "/var//log/a", "/var/log/[ab].log", 7,
    ],
    "owner": ["", "Root", "a b", "root\n", "-x", "1a", "a:b", "{nmae}", "a" * 40, 0],
    "group": ["", "adm}", "adm adm", "../adm", 4],
    "mode": ["", "640", "0777", "0666", "0646", "0740", "0040", "u=rw", 640, 0o640, "0640\n"],
    "su": ["yes", 1],
    "unit": ["", "shop", "shop.socket", "shop.service; id", "a.service  b.service", " a.service", "a.service\n", "$x.service", "-x.service"],
    "signal": ["", "usr1", "SIGUSR1", "TERM", "KILL", "USR1; id", 10],
    "frequency": ["dayly", "", "yearly", "Daily", 1],
    "size": ["10 megs", "", "0", "-1", "10MB", "1.5M", "10m", "M", "10M\n", 1000],
    "minsize": ["10 megs", "0", "1T"],
    "maxsize": ["10 megs", "0", ""],
    "keep": [-1, 0, 1001, "14", True, 1.5],
    "maxage": [-1, 3651, "7", True],
    "compress": ["yes", 1, "gzip"],
    "dateext": ["yes", 1],
}  # fmt: skip


# Both lists have the same rules: of the second, one value for each option shows that.
@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        (name, option, value)
        for number, name in enumerate(LISTS)
        for option, values in BAD.items()
        for value in (values if number == 0 else values[:1])
    ],
)
def test_a_bad_value_is_refused_with_its_place_and_a_good_value(name: str, option: str, value: Any):
    key = option.removesuffix("[]")
    log = {**SHOP, key: [value] if option.endswith("[]") else value}
    errors = [error for error in variable_errors({name: [log]}, ["logrotate"]) if error.startswith(f"{name}[0].{key}")]
    assert len(errors) == 1, errors
    assert "\n" not in errors[0]
    if option in LOG_RULES:
        assert errors[0].endswith(f"; a good value is {LOG_RULES[option].example}")


def test_every_option_is_tested_with_bad_values():
    options = role_options("logrotate")["logrotate_files"]["options"]
    assert {option.removesuffix("[]") for option in BAD} == options.keys()


@pytest.mark.parametrize(
    ("option", "values"),
    {
        "name": ["nginx", "flask-ops", "shop_1", "1"],
        "paths": [
            ["/var/log/{name}/access.log"],
            ["/srv/shop/logs/*.log", "/data/a.b-c_?x.jsonl"],
            ["/var/log/a.log.2x"],
        ],
        "owner": ["root", "www-data", "{name}", "_apt"],
        "mode": ["0640", "0600", "0644", "0660"],
        "unit": ["nginx.service", "a@b.service", "{name}-blue.service {name}-green.service"],
        "size": ["1", "10k", "100M", "1G"],
        "keep": [1, 1000],
        "maxage": [0, 365],
    }.items(),
)
def test_a_good_value_is_not_refused(option: str, values: list[Any]):
    for value in values:
        assert errors_of({**SHOP, option: value}) == []


def test_a_log_needs_a_name_and_a_path_unless_it_is_absent():
    assert errors_of({"name": "shop", "state": "absent"}) == []
    assert errors_of({"name": "shop"}) == [
        "logrotate_files[0].paths: must have at least one path; a good value is /var/log/shop/*.log"
    ]
    (missing,) = errors_of({"paths": ["/var/log/a.log"]})
    assert missing.startswith("logrotate_files[0].name: is missing")


def test_no_signal_and_no_unit_may_be_said_by_null():
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


def test_one_path_twice_in_one_log_is_refused_and_the_name_is_filled_in():
    (error,) = errors_of({"name": "shop", "paths": ["/var/log/{name}/a.log", "/var/log/shop/a.log"]})
    assert error.startswith("logrotate_files[0].paths[1]: '/var/log/shop/a.log' is also covered")


def test_a_wildcard_stays_within_its_directory():
    assert (
        errors_of(SHOP, logrotate_extra_files=[{"name": "other", "paths": ["/var/log/*.log", "/var/log/a/b/*.log"]}])
        == []
    )


def test_an_absent_log_gives_its_paths_to_another():
    assert errors_of({**SHOP, "state": "absent"}, {**SHOP, "name": "other"}) == []
