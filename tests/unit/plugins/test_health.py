"""What counts as a healthy answer."""

from __future__ import annotations

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.health import Health


@pytest.mark.parametrize(
    ("status", "answer", "healthy"),
    [(200, 200, True), (200, 302, False), (204, 204, True), (None, 302, True), (None, 404, True), (None, 500, False)],
)
def test_what_counts_as_healthy_at_the_top_of_a_site(status: int | None, answer: int, healthy: bool):
    assert Health("/", status).accepts(answer) is healthy


@pytest.mark.parametrize(("answer", "healthy"), [(200, True), (204, False), (302, False), (404, False), (500, False)])
def test_a_path_that_the_app_names_must_answer_200(answer: int, healthy: bool):
    assert Health("/healthz", None).accepts(answer) is healthy
    assert Health("/healthz", None).expected == "200"


@pytest.mark.parametrize(
    ("path", "given", "asked", "lenient"),
    [
        ("/", "/", "/", True),
        ("/", "/healthz", "/healthz", False),
        ("/admin", "/", "/admin/", True),
        ("/admin", "/healthz?full=1", "/admin/healthz?full=1", False),
    ],
)
def test_the_health_of_an_app_at_a_path_is_asked_below_it(path: str, given: str, asked: str, lenient: bool):
    health = Health.of({"path": path, "health": {"path": given, "status": None}})
    assert (health.path, health.lenient) == (asked, lenient)
