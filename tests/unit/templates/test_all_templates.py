"""What holds for every template of every role."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleError

from tests.unit.templates.rendering import TEMPLATES, render


@pytest.mark.parametrize("debian", ["12", "13"])
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_renders_with_the_defaults_of_its_role_alone(template: str, debian: str):
    text = render(template, debian)
    assert template.endswith(".json.j2") or text.startswith(
        "# Managed by Ansible (flask_ops.production): changes made here are lost.\n"
    )
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    for remains in ("{{", "{%", "{#", "{name}", "None", "True;", "False;"):
        assert remains not in text.replace("# None", "").replace("= None\n", ""), remains
    assert not [line for line in text.splitlines() if line != line.rstrip()]


@pytest.mark.parametrize("template", TEMPLATES)
def test_rendering_again_gives_the_same_text(template: str):
    variables: dict[str, Any] = {"env": {"B": 1, "A": 2}, "secrets": {"D": 1, "C": 2}}
    turned: dict[str, Any] = {"secrets": {"C": 2, "D": 1}, "env": {"A": 2, "B": 1}}
    assert render(template, **variables) == render(template, **turned)


@pytest.mark.parametrize(
    ("template", "missing"),
    [
        ("site.conf.j2", "nginx_proxy_https_port"),
        ("nginx.conf.j2", "__nginx_proxy_platform"),
        ("slot.service.j2", "gunicorn_systemd_shared_by"),
        ("timer.conf.j2", "logrotate_schedule"),
    ],
)
def test_a_variable_that_is_not_there_is_an_error(template: str, missing: str):
    with pytest.raises(AnsibleError, match=missing):
        render(template, without=(missing,))
