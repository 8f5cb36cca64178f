"""Write the pages that come from the code: `python3 tests/env.py python -m tests.docs`

docs/flask_apps.md, the reference of every option of an app: all that it says about an option comes from the roles'
argument specs and from the rules. docs/workers.md, how many workers an app gets: from the formula.
docs/schemas/group_vars.json: see tests/schema.py. tests/contract/test_docs.py fails when a page is not what this writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.rules import all_rules, required_if
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import (
    ROLE_NAMES,
    Options,
    app_options,
    list_of,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.worker_sizing import (
    RESERVE_MIB,
    WORKER_MIB,
    workers,
)

from tests import schema
from tests.schema import sentences

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "flask_apps.md"
WORKERS = ROOT / "docs" / "workers.md"

TYPES = {"str": "text", "int": "whole number", "bool": "true or false", "dict": "dictionary"}
MANY = {"str": "texts", "dict": "dictionaries"}

HEAD = """\
<!-- Written by tests/docs.py from the roles' argument specs and rules: changes made here are lost. -->

# The options of an app

`flask_apps` is a list with one entry per app. Five values are required: its name, the URL and the version of its source,
the WSGI app, and a domain. Most apps also need a `SECRET_KEY` in `secrets`. All other options have a default.

```yaml
flask_apps:
  - name: shop
    source: {git: "https://git.example.com/acme/shop.git", version: v1.4.2}
    wsgi: "shop:create_app()"
    domains: [shop.example.com]
    secrets: {FLASK_SECRET_KEY: "{{ vault_shop_secret_key }}"}
```

The whole list is checked before any host changes, and all errors are shown at once. An unknown option is refused,
and the message suggests the closest one. The playbook `flask_ops.production.check` does only that, [without a
connection](start.md#run). These rules apply between options:

- A name belongs to one app only, and so does a path of a domain. Apps that share a domain have the same domains, one of them
  has the path `/`, and no other path of an app is within the `path` of another one.
- `certificate`, `acme`, `canonical_domain`, `default_site`, `hsts` and `snippet` do not go with a `path`; `SCRIPT_NAME` is the
  `path` or empty.
- `source` has exactly one of `git`, `archive`, `path`, `wheel` and `pypi`. `git` needs a `version`, a URL in `archive` a
  `checksum`; an option of one kind cannot be used with another.
- `extra_index` cannot be used with `wheelhouse`.
- A variable is in `env` or in `secrets`, not in both.
- `SECRET_KEY` and `FLASK_SECRET_KEY` have at least 22 characters, eight of them different. `FLASK_DEBUG` is off, and
  `FLASK_ENV` is `production` or not set.
- No path in `shared_paths` is within another one.
- `hsts.preload` needs `hsts.include_subdomains` and a `hsts.max_age` of a year. `csp_report_only` needs `csp`.
- Each of `locations` has a unique path. Its `timeout` is not below the app's, so that nginx does not time out before
  gunicorn.
- `schedule` is required for `kind: timer` and not allowed for other kinds; several `instances` require `kind: worker`.
- The unit of a process, `<app>-<process>`, differs from those of all other processes and slots.
- With several hosts in the run, a scheduler or a timer needs `only_on`, the host that runs it.
- `threads` above 1 requires `worker_class: gthread` or `server: waitress`.
- `preload` cannot be used with `worker_class: gevent`.
- `instances` cannot be used with `workers`: each instance is one worker.
- `server: waitress` has no `worker_class`, `workers`, `instances`, `preload` and `metrics`, and no log files.
- `limits.memory_high` is below `limits.memory_max`.
- `metrics.statsd` needs network access, which a strict sandbox does not have.

## In an editor

`docs/schemas/group_vars.json` in the collection is a JSON schema of `flask_apps` and of all variables of the roles. With
it, an editor that uses [yaml-language-server](https://github.com/redhat-developer/yaml-language-server) completes
names and choices, shows descriptions, and marks unknown options and wrong values. Rules between options are left to the
playbook `check`. In VS Code with the YAML extension, in `.vscode/settings.json`, where `/home/me` is your home directory:

```json
{
  "yaml.schemas": {
    "/home/me/.ansible/collections/ansible_collections/flask_ops/production/docs/schemas/group_vars.json": [
      "**/group_vars/**/*.yml", "**/host_vars/**/*.yml"
    ]
  },
  "yaml.customTags": ["!vault scalar", "!unsafe scalar"]
}
```

In other editors, the first line of a file can name the schema, by an absolute path or one relative to the file:

```yaml
# yaml-language-server: $schema=/home/me/.ansible/collections/ansible_collections/flask_ops/production/docs/schemas/group_vars.json
```

## All options
"""

WORKERS_HEAD = f"""\
<!-- Written by tests/docs.py from the formula: changes made here are lost. -->

# How many workers

Unless an app sets `workers`, the number is derived from the host. It is the smallest of three limits, but at least 1:

- **Processors.** `processors + 1`: one for each, and one more, so that a worker that hangs is never the only one. While
  a request waits for I/O, its worker handles others, by [threads or in an event
  loop](adr/0012-few-workers-with-threads.md). A worker of class `sync` cannot, so there are `2 * processors + 1`, as
  gunicorn's documentation recommends (Design, "How Many Workers?"). Idle apps use no processor, so this is not divided
  between apps.
- **Memory.** A quarter of the memory, at least {RESERVE_MIB} MiB, is reserved for the host. The rest is divided between
  all apps of the host and their two slots, since both run during a switch. A worker counts as {WORKER_MIB} MiB.
- **The app's own limit,** `limits.memory_max`, which applies to each slot.

A server that is sold with 1 GiB reports a little less, because the kernel reserves some. Set `workers` for an app whose
workers need more than {WORKER_MIB} MiB.

The formula is the filter `flask_ops.production.gunicorn_workers`. `tests/unit/plugins/test_worker_sizing.py` searches
for a host that would have no worker, use more memory than it has, or get fewer workers than a smaller host.
"""
CORES = GIBIBYTES = (1, 2, 4, 8, 16)


def roles() -> list[str]:
    """The roles that work with apps, as they follow each other in site.yml."""
    check = yaml.safe_load((ROOT / "playbooks" / "site.yml").read_text())[0]["tasks"][0]
    return [role for role in check["flask_ops.production.prepare_apps"]["roles"] if list_of(role)]


def render() -> str:
    options = app_options(roles())
    sections = [section for name, option in options.items() for section in described(name, option)]
    return "\n".join([HEAD, overview(options), "", *sections]).rstrip() + "\n"


def render_workers() -> str:
    tables = []
    for title, apps, worker_class in (
        ("One app, `gthread`, `gevent` or `asgi`", 1, "gthread"),
        ("One app, `sync`", 1, "sync"),
        ("Each of four apps, `gthread`, `gevent` or `asgi`", 4, "gthread"),
    ):
        head = "| Processors | " + " | ".join(f"{size} GiB" for size in GIBIBYTES) + " |"
        rows = [
            f"| {cpus} | "
            + " | ".join(str(workers(cpus, size * 1024, apps, worker_class=worker_class)) for size in GIBIBYTES)
            + " |"
            for cpus in CORES
        ]
        tables.append("\n".join([f"## {title}", "", head, "|---" * (len(GIBIBYTES) + 1) + "|", *rows]))
    return "\n".join([WORKERS_HEAD, "\n\n".join(tables)]) + "\n"


def overview(options: Options) -> str:
    """Every option with a link to its section, and the roles that know it."""
    lines = ["| Option | Type | Default | Used by role |", "|---|---|---|---|"]
    for name, option in options.items():
        known_to = ", ".join(f"`{role}`" for role in roles() if name in app_options([role]))
        lines.append(f"| [`{name}`](#{name}) | {kind(option)} | {default(name, option)} | {known_to} |")
    return "\n".join(lines)


def described(name: str, option: dict[str, Any], above: str = "") -> Iterator[str]:
    """The section of an option, then those of the options within it."""
    path = f"{above}{name}"
    yield f"{'##' if not above else '###'} {path}\n\n{sentences(option)}\n\n{facts(path, option)}\n"
    inside = f"{path}{'[]' if option['type'] == 'list' else ''}."
    for below, inner in option.get("options", {}).items():
        yield from described(below, inner, inside)


def facts(path: str, option: dict[str, Any]) -> str:
    """What can be said in a line each: type, default, choices, rule, example."""
    lines = [f"- Type: {kind(option)}", f"- Default: {default(path, option)}"]
    if "choices" in option:
        lines.append(f"- One of: {', '.join(f'`{choice}`' for choice in option['choices'])}")
    lines += [f"- {rule}" for rule in rules(path)]
    if shown := example(path, option):
        lines.append(f"- Example: `{shown}`")
    return "\n".join(lines)


def kind(option: dict[str, Any]) -> str:
    if option["type"] == "list":
        return f"list of {MANY[option['elements']]}"
    return TYPES[option["type"]]


def default(path: str, option: dict[str, Any]) -> str:
    """The default as YAML. An option that has none is left out of what the app gets."""
    if option.get("required"):
        return "none; required"
    if any(path in names for _option, _value, names in required_if("", ROLE_NAMES)):
        return "none; required unless the app is absent"
    if "default" in option:
        return f"`{option['default']}`" if option["type"] == "str" else f"`{json.dumps(option['default'])}`"
    if "by default" in sentences(option).lower():
        return "as described"
    inner = option.get("options", {}).values()
    if any("default" in below for below in inner) and not any(below.get("required") for below in inner):
        return "that of each option in it"
    return "none"


def rules(path: str) -> list[str]:
    """The rules of a value, of a list's elements, of a dictionary's names and values; as sentences."""
    subjects = {"": "M", "[]": "Each m", "{key}": "Each name m", "{value}": "Each value m"}
    known = all_rules()
    return [
        f"{subject}{known[path + suffix].error.removeprefix('m')}."
        for suffix, subject in subjects.items()
        if path + suffix in known
    ]


def example(path: str, option: dict[str, Any]) -> str:
    """A good value in its place, as YAML on one line. A number within limits needs no example."""
    known = all_rules()
    if option["type"] == "int":
        return ""
    if path in known:
        rule, value = known[path], yaml.safe_load(known[path].example)
    elif f"{path}[]" in known:
        rule, value = known[f"{path}[]"], [yaml.safe_load(known[f"{path}[]"].example)]
    elif f"{path}{{key}}" in known:
        rule, value = None, {known[f"{path}{{key}}"].example: yaml.safe_load(known[f"{path}{{value}}"].example)}
    else:
        return ""
    if rule and sum(other[1:] == rule[1:] for other in known.values()) > 1:
        return ""  # what several options share is a good value of none of them in particular
    for name in reversed(path.rpartition("[].")[2].split(".")):
        value = {name: value}
    # None puts innermost lists and dictionaries on the line of their name.
    inline = None if isinstance(next(iter(value.values())), list | dict) else False
    return yaml.safe_dump(value, default_flow_style=inline, width=1000).strip()


if __name__ == "__main__":
    PAGE.write_text(render())
    WORKERS.write_text(render_workers())
    schema.SCHEMA.parent.mkdir(exist_ok=True)
    schema.SCHEMA.write_text(schema.render())
