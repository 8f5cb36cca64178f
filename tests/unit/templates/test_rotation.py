"""The configuration of logrotate for a log. molecule/logrotate tests that logrotate accepts it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.unit.templates.rendering import lines, published, render


def rotation(log: dict[str, Any] | None = None, **variables: Any) -> list[str]:
    return lines(render("rotation.j2", log=log or {}, **variables))


def test_a_log_is_described_by_the_defaults_of_the_role():
    assert rotation() == [
        "/var/log/flask-ops/shop/access.log {",
        "daily",
        "maxsize 100M",
        "rotate 14",
        "nodateext",
        "missingok",
        "notifempty",
        "nocopytruncate",
        "create 0640 root adm",
        "compress",
        "delaycompress",
        "sharedscripts",
        "postrotate",
        "set -e",
        "if systemctl is-active --quiet shop.service; then",
        "systemctl kill --kill-whom=main --signal=USR1 shop.service",
        "fi",
        "endscript",
        "}",
    ]


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ({"paths": ["/a/b.log", "/a/c/*.log"]}, ["/a/b.log /a/c/*.log {"]),
        ({"owner": "shop", "group": "shop", "mode": "0600"}, ["create 0600 shop shop"]),
        ({"owner": "shop", "su": True}, ["su shop adm", "create 0640 shop adm"]),
        ({"frequency": "weekly", "minsize": "1k", "maxsize": "1G"}, ["weekly", "minsize 1k", "maxsize 1G"]),
        ({"keep": 3, "maxage": 90}, ["rotate 3", "maxage 90"]),
        ({"dateext": True}, ["dateext", "dateformat -%Y%m%d-%s"]),
        ({"compress": False}, ["nocompress"]),
        ({"signal": "HUP"}, ["systemctl kill --kill-whom=main --signal=HUP shop.service"]),
        (
            {"unit": "shop-blue.service shop-green.service"},
            [
                "systemctl kill --kill-whom=main --signal=USR1 shop-blue.service",
                "systemctl kill --kill-whom=main --signal=USR1 shop-green.service",
            ],
        ),
    ],
)
def test_an_option_of_a_log_becomes_a_directive(log: dict[str, Any], expected: list[str]):
    found = rotation(log)
    assert [line for line in found if line in expected] == expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"logrotate_frequency": "monthly"}, "monthly"),
        ({"logrotate_maxsize": "5k"}, "maxsize 5k"),
        ({"logrotate_keep": 7}, "rotate 7"),
        ({"logrotate_maxage": 30}, "maxage 30"),
        ({"logrotate_compress": False}, "nocompress"),
        ({"logrotate_dateext": True}, "dateext"),
    ],
)
def test_options_of_all_logs_are_directives_of_each(variables: dict[str, Any], expected: str):
    assert expected in rotation(**variables)


def test_size_alone_decides_when_it_is_given():
    found = rotation({"size": "10M"}, logrotate_frequency="hourly", logrotate_maxsize="1M")
    assert "size 10M" in found
    assert not [line for line in found if line.startswith(("hourly", "maxsize", "minsize"))]


def test_without_a_limit_of_size_only_time_decides():
    assert "maxsize" not in " ".join(rotation(logrotate_maxsize=""))


@pytest.mark.parametrize("log", [{"signal": None}, {"signal": None, "unit": None}])
def test_nobody_is_signalled_where_nobody_has_to_be(log: dict[str, Any]):
    assert not {"postrotate", "sharedscripts", "endscript"} & set(rotation(log))


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("error: shop:5 unknown user 'nobody'", True),
        ("error: zzz:1 duplicate log entry for /var/log/shop/access.log", True),
        ('error: skipping "/var/log/shop/a.log" because parent directory has insecure permissions', True),
        ("error: old:1 duplicate log entry for /var/log/old/access.log", False),
        ("error: shop2:1 duplicate log entry for /var/log/shop/old/access.log", False),
        ("error: foreign:2 bad rotation count 'x'", False),
        ("rotating pattern: /var/log/shop/*.log after 1 days", False),
    ],
)
def test_only_an_error_about_the_roles_own_logs_is_refused(line: str, refused: bool):
    logs = [{"name": "shop", "paths": ["/var/log/shop/*.log"]}, {"name": "old", "state": "absent"}]
    for found, expected in ((logs, refused), ([], False)):
        pattern = published("logrotate", "__logrotate_errors", logrotate_files=found)
        assert bool(re.search(pattern, line)) is expected


@pytest.mark.parametrize("schedule", ["hourly", "daily"])
def test_the_timer_runs_by_the_schedule_and_by_no_other(schedule: str):
    found = lines(render("timer.conf.j2", logrotate_schedule=schedule))
    assert found[:3] == ["[Timer]", "OnCalendar=", f"OnCalendar={schedule}"]
