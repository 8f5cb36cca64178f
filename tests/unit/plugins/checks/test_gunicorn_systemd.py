"""Options of the app server that exclude each other, or that would be passed over in silence."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.plugins.apps import app, errors_of

WAITRESS = {"server": "waitress"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"domains": ["*.a.com"]}, "domains[0]: the app is asked by its first name, which cannot be '*.a.com'"),
        ({"worker_class": "sync", "threads": 4}, "threads: goes with worker_class gthread; a worker of class sync"),
        ({"worker_class": "gevent", "threads": 4}, "threads: goes with worker_class gthread; a worker of class gevent"),
        ({"worker_class": "asgi", "threads": 2}, "threads: goes with worker_class gthread; a worker of class asgi"),
        ({"worker_class": "gevent", "preload": True}, "preload: does not go with worker_class gevent"),
        ({"instances": 2, "workers": 2}, "workers: does not go with instances"),
        (WAITRESS | {"instances": 2}, "instances: goes with server gunicorn"),
        (WAITRESS | {"workers": 2}, "workers: goes with server gunicorn; waitress is one"),
        (WAITRESS | {"worker_class": "sync"}, "worker_class: goes with server gunicorn"),
        (WAITRESS | {"preload": True}, "preload: goes with server gunicorn"),
        (WAITRESS | {"metrics": {"prometheus": True}}, "metrics: goes with server gunicorn"),
        (WAITRESS | {"logs": {"to": "files"}}, "logs.to: waitress has the journal only"),
        ({"limits": {"memory_high": 512, "memory_max": 512}}, "limits.memory_high: 512 must be below memory_max, 512"),
        ({"metrics": {"statsd": "h:1"}, "sandbox": {"strict": True}}, "metrics.statsd: a strict sandbox"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], expected: str):
    (error,) = errors_of(app(**changes))
    assert error.startswith(f"flask_apps[0].{expected}")


@pytest.mark.parametrize(
    "changes",
    [
        {"domains": ["a.com", "*.a.com"]},
        {"worker_class": "sync", "threads": 1},
        {"worker_class": "gevent", "threads": 1, "preload": False},
        {"worker_class": "asgi", "preload": True},
        {"server": "waitress", "threads": 8, "sandbox": {"strict": True}},
        {"limits": {"memory_high": 511, "memory_max": 512}},
        {"metrics": {"statsd": "h:1"}, "sandbox": {"strict": True, "without": ["PrivateNetwork"]}},
    ],
)
def test_what_goes_together_is_not_refused(changes: dict[str, Any]):
    assert errors_of(app(**changes)) == []
