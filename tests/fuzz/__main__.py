"""Write the files, and what they must be read as. See the package's docstring."""

from __future__ import annotations

import itertools
import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.plugins.loader import init_plugin_loader

init_plugin_loader()

from ansible_collections.flask_ops.production.plugins.plugin_utils._deploy.processes import command_line
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.apps import prepare
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.rules import all_rules

from tests.fuzz.walk import unique, walk
from tests.unit.templates.rendering import render

SITES, UNITS, LOGS, VARIABLES, SCHEDULES = 8, 60, 8, 3000, 1000
"""Rendering takes longest: there are few files, with many values each."""
SEVERAL = 60
"""How many values a list or a dictionary has."""

count = 0


def some(values: Iterator[str], number: int) -> list[str]:
    """The next of them; each counts as a case."""
    global count
    count += number
    return list(itertools.islice(values, number))


def sites() -> Iterator[dict[str, Any]]:
    """Sites with every free text that nginx gets."""
    names, domains = unique(walk("name")), unique(walk("domains[]"))
    texts = {path: walk(path) for path in all_rules()}
    for number in range(SITES):
        headers = unique(texts["headers{key}"], lambda name: name.lower().replace("-", "_"))
        paths = some(unique(texts["locations[].path"]), SEVERAL)
        locations: list[dict[str, Any]] = [
            {"path": path, "allow": some(texts["locations[].allow[]"], 2)}
            | {"client_max_body_size": some(texts["locations[].client_max_body_size"], 1)[0]}
            for path in paths[::2]
        ]
        locations += [{"path": path, "redirect": some(texts["locations[].redirect"], 1)[0]} for path in paths[1::2]]
        site: dict[str, Any] = {
            "name": some(names, 1)[0],
            "domains": some(domains, SEVERAL),
            "canonical_domain": number % 2 == 0,
            "static": {"path": some(texts["static.path"], 1)[0], "url": some(texts["static.url"], 1)[0]},
            "client_max_body_size": some(texts["client_max_body_size"], 1)[0],
            "csp": some(texts["csp"], 1)[0],
            "headers": dict(zip(some(headers, SEVERAL), some(texts["headers{value}"], SEVERAL), strict=True)),
            "allow": some(texts["allow[]"], SEVERAL),
            "health": {"path": some(texts["health.path"], 1)[0]},
            "locations": locations,
        }
        site["request_limits"] = {"rate": some(texts["request_limits.rate"], 1)[0], "connections": 5}
        _given, _prepared, wrong = prepare([site], "nginx_proxy_apps", ["nginx_proxy"])
        if any(error.split(".")[1].startswith("domains") for error in wrong):  # the first is not a name to ask for
            site["domains"] = [domain for domain in site["domains"] if not domain.startswith("*")] or [
                "shop.example.com"
            ]
        yield site


def nginx(out: Path, debian: str) -> None:
    for directory in ("sites-enabled", "snippets", "certificates"):
        (out / "nginx" / directory).mkdir(parents=True)
    (out / "nginx" / "nginx.conf").write_text(render("nginx.conf.j2", debian))
    (out / "nginx" / "snippets" / "flask-ops-proxy.conf").write_text(render("flask-ops-proxy.conf.j2", debian))
    for site in sites():
        name = site["name"]
        (out / "nginx" / "sites-enabled" / f"{name}.conf").write_text(render("site.conf.j2", debian, **site))
        for snippet in ("headers", "static"):
            (out / "nginx" / "snippets" / f"{name}-{snippet}.conf").write_text(
                render(f"{snippet}.conf.j2", debian, **site)
            )


def units(out: Path) -> dict[str, list[list[str]]]:
    """Units of processes, each with the words of its commands: a timer may have several."""
    (out / "units").mkdir()
    expected: dict[str, list[list[str]]] = {}
    commands = walk("processes[].command")
    process = {"name": "worker", "command": "marker", "kind": "timer", "schedule": "daily"}
    text = render("process.service.j2", processes=[process])
    line = f"ExecStart={command_line(process)}\n"
    assert text.count(line) == 1
    for number in range(UNITS):
        several = some(commands, SEVERAL // 2)
        directives = "".join(f"ExecStart={command_line(process | {'command': command})}\n" for command in several)
        unit = f"fuzz-{number}.service"
        (out / "units" / unit).write_text(text.replace(line, directives))
        expected[unit] = [["/usr/bin/env", *shlex.split(command)] for command in several]
    return expected


def logs(out: Path) -> None:
    (out / "logrotate").mkdir()
    names = unique(walk("logrotate_files[].name"))
    paths = unique(walk("logrotate_files[].paths[]"))
    rest = {key: walk(f"logrotate_files[].{key}") for key in ("unit", "mode", "signal", "size", "minsize", "maxsize")}
    for number in range(LOGS):
        options = {key: some(values, 1)[0] for key, values in rest.items()}
        for key in ("minsize", "maxsize") if number % 2 else ("size",):
            del options[key]
        name = some(names, 1)[0]
        log = {"name": name, "paths": some(paths, SEVERAL), "owner": "root", "group": "adm"} | options
        (out / "logrotate" / name).write_text(render("rotation.j2", log=log))


def variables(out: Path) -> dict[str, str]:
    keys = unique(walk("env{key}"), str)
    expected = dict(zip(some(keys, VARIABLES), some(walk("env{value}"), VARIABLES), strict=True))
    (out / "environment").write_text(render("environment.j2", env=expected))
    return expected


def main(out: Path, debian: str) -> None:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    nginx(out, debian)
    logs(out)
    expected = {
        "units": units(out),
        "variables": variables(out),
        "schedules": some(walk("processes[].schedule"), SCHEDULES),
    }
    expected["cases"] = count
    (out / "expected.json").write_text(json.dumps(expected))
    shutil.copy(Path(__file__).with_name("read.py"), out)
    print(count)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
