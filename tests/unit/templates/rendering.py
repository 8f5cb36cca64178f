"""Render a role's template as its tasks do: with the role's own variables, and with nothing from anybody else."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.flask_ops.production.plugins.module_utils._host.sandbox import sandbox
from ansible_collections.flask_ops.production.plugins.plugin_utils._deploy.processes import command_line
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import (
    ENTRIES,
    ROLES,
    entry_options,
    select,
    with_defaults,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.action import RenderingAction

TEMPLATES = {path.name: path.parent.parent.name for path in sorted(ROLES.glob("*/templates/*.j2"))}
"""Every template, with its role."""

APP: dict[str, Any] = {
    "name": "shop",
    "source": {"git": "https://git.example.com/acme/shop.git", "version": "v1.4.2"},
    "wsgi": "shop:create_app()",
    "domains": ["shop.example.com"],
    "processes": [
        {"name": "digest", "command": "flask digest", "kind": "timer", "schedule": "Mon 06:00"},
    ],
}
LOG: dict[str, Any] = {
    "name": "shop",
    "paths": ["/var/log/flask-ops/{name}/access.log"],
    "unit": "{name}.service",
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
    **overrides: Any,
) -> str:
    """The text of a template for one app.

    :param debian: the host's version of Debian.
    :param without: variables that are not there.
    :param others: further apps of the host.
    :param overrides: options of the app, and variables of the role; as ``log``, options of a log.
    """
    role = TEMPLATES[template]
    app = APP | {name: value for name, value in overrides.items() if name in entry_options(*ENTRIES)}
    facts = {"distribution": "Debian", "distribution_major_version": debian, "processor_vcpus": 2, "memtotal_mb": 4096}
    loader = DataLoader()
    variables: dict[str, Any] = {"ansible_facts": facts, "ansible_search_path": [str(ROLES / role)]}
    variables |= _variables_of(role) | {name: value for name, value in overrides.items() if name not in app}
    entries = select([app, *others], role)
    if role in ENTRIES:
        variables[ENTRIES[role]] = entries
    if role == "logrotate":
        variables["logrotate_files"] = [LOG | overrides.get("log", {})]
    for name in without:
        del variables[name]
    templar = Templar(loader=loader, variables=variables)
    action: Any = SimpleNamespace(_loader=loader, _templar=templar)
    seen = _seen_besides(role, with_defaults(entries, role)[0])
    if role == "logrotate":
        seen = {"log": templar.template(variables["__logrotate_logs"])[0]}
    return RenderingAction.renderer(action, variables)(template, seen)


def published(role: str, name: str, *entries: dict[str, Any], **others: Any) -> Any:
    """What a role publishes under a name, given its entries, and other variables."""
    variables = _variables_of(role) | ({ENTRIES[role]: list(entries)} if role in ENTRIES else {}) | others
    return Templar(loader=DataLoader(), variables=variables).template(variables[name])


@functools.cache
def _variables_of(role: str) -> dict[str, Any]:
    """The role's defaults and variables, with the templates in them."""
    paths = [ROLES / role / part / "main.yml" for part in ("defaults", "vars")]
    read = [DataLoader().load_from_file(str(path), trusted_as_template=True) for path in paths if path.exists()]
    return {name: value for variables in read for name, value in variables.items()}


def _seen_besides(role: str, entry: dict[str, Any]) -> dict[str, Any]:
    """What the role's action adds for one entry."""
    if role == "gunicorn_systemd":
        return {
            "app": entry,
            "slot": "green",
            "release": RELEASE,
            "sandbox": sandbox(**entry["sandbox"], limits=entry["limits"]),
        }
    if role == "app_processes":
        process = entry["processes"][0]
        command = command_line(process)
        return {
            "app": entry,
            "process": process,
            "command": command,
            "release": RELEASE,
            "sandbox": sandbox(**entry["sandbox"], limits=entry["limits"]),
        }
    if role == "node_exporter":
        exporter = {
            "name": "nginx",
            "description": "metrics",
            "command": "/usr/bin/true",
            "url": "http://127.0.9.1:9113/metrics",
        }
        return {"exporter": exporter | {"group": "adm", "before": "/usr/bin/true", "memory": "64M", "ends": 1}}
    return {"site" if role == "nginx_proxy" else "app": entry}


def lines(text: str) -> list[str]:
    """The lines that mean something, without their indentation."""
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]
