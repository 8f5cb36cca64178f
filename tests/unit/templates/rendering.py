"""Render a role's template as its tasks do: with the apps that the role prepares by itself, and its own variables."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.flask_ops.production.plugins.module_utils._host.sandbox import sandbox
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.apps import App, prepare
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import (
    ROLES,
    app_options,
    app_roles,
    list_of,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.action import RenderingAction

TEMPLATES = {path.name: path.parent.parent.name for path in sorted(ROLES.glob("*/templates/*.j2"))}
"""Every template, with its role."""

APP: dict[str, Any] = {
    "name": "shop",
    "processes": [
        {"name": "digest", "command": "flask digest", "kind": "timer", "schedule": "Mon 06:00"},
    ],
}
LOG: dict[str, Any] = {
    "name": "shop",
    "paths": ["/var/log/flask-ops/shop/access.log"],
    "unit": "shop.service",
    "signal": "USR1",
}
RELEASE = {
    "id": "r1",
    "version": "v1.4.2",
    "path": "/srv/shop/r1",
    "directory": "/srv/shop/r1/app",
    "venv": "/srv/shop/r1/venv",
}


def render(
    template: str,
    debian: str = "13",
    without: tuple[str, ...] = (),
    others: tuple[dict[str, Any], ...] = (),
    extended_by: str = "",
    **overrides: Any,
) -> str:
    """The text of a template for one app.

    :param debian: the host's version of Debian.
    :param without: variables that are not there.
    :param others: further apps of the host.
    :param extended_by: the path of a user's template, to render in its place.
    :param overrides: options of the app, and variables of the role; as ``log``, options of a log.
    """
    role = TEMPLATES[template]
    options = {name: value for name, value in overrides.items() if name in app_options(app_roles())}
    # An option of another role's reaches this one in a playbook.
    alone = options.keys() <= app_options([role]).keys()
    apps = prepared([role] if alone else app_roles(), APP | options, *others)
    facts = {"distribution": "Debian", "distribution_major_version": debian, "processor_vcpus": 2, "memtotal_mb": 4096}
    variables: dict[str, Any] = {"ansible_facts": facts, "ansible_search_path": [str(ROLES / role)]}
    variables |= _variables_of(role, apps) | {name: value for name, value in overrides.items() if name not in options}
    if role == "logrotate":
        variables["logrotate_files"] = [LOG | overrides.get("log", {})]
    for name in without:
        del variables[name]
    loader = DataLoader()
    templar = Templar(loader=loader, variables=variables)
    action: Any = SimpleNamespace(_loader=loader, _templar=templar)
    if role == "logrotate":
        seen = {"log": templar.template(variables["__logrotate_logs"])[0]}
    else:
        seen = _seen_by(role, apps[0]) if apps else {}
    return RenderingAction.renderer(action, variables)(extended_by or template, seen)


def prepared(roles: list[str], *apps: App) -> list[App]:
    """Apps as these roles prepare them. What an app cannot do without is filled in."""
    known = app_options(roles)
    given = [
        {key: value for key, value in _needed(app["name"]).items() if key in known and app.get("state") != "absent"}
        | {key: value for key, value in app.items() if key in known}
        for app in apps
    ]
    _given, placed, errors = prepare(given if known else [], "apps", roles)
    assert not errors, "\n".join(errors)
    return [app for _place, app in placed]


def published(role: str, name: str, *apps: App, **others: Any) -> Any:
    """What a role publishes under a name, given its apps, and other variables."""
    variables = _variables_of(role, prepared([role], *apps)) | others
    return Templar(loader=DataLoader(), variables=variables).template(variables[name])


def _needed(name: str) -> dict[str, Any]:
    return {
        "source": {"git": f"https://git.example.com/acme/{name}.git", "version": "v1.4.2"},
        "wsgi": "shop:create_app()",
        "domains": [f"{name}.example.com"],
    }


def _variables_of(role: str, apps: list[App]) -> dict[str, Any]:
    """The role's defaults and variables, with the templates in them, and its apps."""
    return {**_files_of(role), **({name: apps} if (name := list_of(role)) else {})}


@functools.cache
def _files_of(role: str) -> dict[str, Any]:
    paths = [ROLES / role / part / "main.yml" for part in ("defaults", "vars")]
    read = [DataLoader().load_from_file(str(path), trusted_as_template=True) for path in paths if path.exists()]
    return {name: value for variables in read for name, value in variables.items()}


def _seen_by(role: str, app: App) -> dict[str, Any]:
    """What a template sees in addition to the variables of its role."""
    if role == "gunicorn_systemd":
        return {"app": app, "slot": app["slots"]["green"]} | _started(app)
    if role == "app_processes":
        return {"app": app, "process": app["processes"][0]} | _started(app)
    if role == "node_exporter":
        exporter = {"name": "nginx", "description": "metrics", "command": "true", "url": "http://127.0.9.1:9113/"}
        return {"exporter": exporter | {"group": "adm", "before": "/usr/bin/true", "memory": "64M", "ends": 1}}
    return {"app": app}


def _started(app: App) -> dict[str, Any]:
    return {"release": RELEASE, "sandbox": sandbox(**app["sandbox"], limits=app["limits"])}


def lines(text: str) -> list[str]:
    """The lines that mean something, without their indentation."""
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]
