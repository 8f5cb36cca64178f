# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks a list of apps as a whole against the argument specs and the rules, and collects every error.

Each error names its place, the rule, and a value that would be right. The value of a secret is never repeated.

This plugin util is private to the collection.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import typing as t
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from ansible_collections.flask_ops.production.plugins.plugin_utils._deploy.processes import OTHER_UNITS
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.origin import is_changed
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.rules import (
    MAX_CREDENTIALS,
    RULES,
    TAKEN_UNITS,
    is_address,
    is_relative_path,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import (
    ENTRIES,
    ROLES,
    Options,
    entry_options,
    published_variables,
    role_options,
    wired_variables,
)

NEEDED_WHEN_PRESENT = {
    "source": ("python_app",),
    "wsgi": ("python_app", "gunicorn_systemd"),
    "domains": ("gunicorn_systemd", "nginx_proxy"),
}
"""What an app must say unless its state is absent, and the roles that cannot do without it."""

SOURCE_OPTIONS = {
    "version": ("git",),
    "submodules": ("git",),
    "deploy_key": ("git",),
    "token": ("git",),
    "known_hosts": ("git",),
    "checksum": ("archive",),
    "subdirectory": ("git", "archive"),
}
"""Options of a source, and the kinds of source that they go with."""

TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "a text"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "list": ((list, tuple), "a list"),
    "dict": ((Mapping,), "a dictionary"),
}

SUPPORTED = {"Debian": ("12", "13"), "Ubuntu": ("24", "26")}
"""Distribution and major version. Debian is tested; Ubuntu goes through the same code."""

WITHOUT_HTTP_3 = ("Debian 12", "Ubuntu 24")
"""Where nginx is too old to have been built with it."""


def place_of(entry: t.Any, name: str, index: int) -> str:
    """Where an entry stands, by its number and by the name that people know it by: ``flask_apps[1] (shop)``."""
    app = entry.get("name") if isinstance(entry, Mapping) else None
    known = isinstance(app, str) and RULES["name"].accepts(app)
    return f"{name}[{index}] ({app})" if known else f"{name}[{index}]"


SITE_OPTIONS = ("certificate", "acme", "canonical_domain", "default_site", "hsts", "snippet")
"""Options of a site as a whole, which belong to the app at its root."""


def entry_errors(entries: t.Any, name: str, roles: Iterable[str], partial: bool = False) -> list[str]:
    """Every error in a list of apps or sites.

    :param name: the variable that holds the list, for the place in the message.
    :param roles: the roles whose options an entry may have.
    :param partial: whether the list may lack apps that share a domain with one in it.
    """
    if entries is None:
        return [f"{name}: is missing; it is the list of apps, a good place is group_vars/flask_servers.yml"]
    if not isinstance(entries, (list, tuple)):
        return [f"{name}: must be a list of apps, not {_shown(entries)}"]
    roles = list(roles)
    options = entry_options(*roles)
    errors: list[str] = []
    for index, entry in enumerate(entries):
        place = place_of(entry, name, index)
        if not isinstance(entry, Mapping):
            errors.append(f"{place}: must be a dictionary with a 'name', not {_shown(entry)}")
            continue
        errors += _dict_errors(entry, options, place, "")
        if entry.get("state", "present") == "present":
            needed = [key for key, by in NEEDED_WHEN_PRESENT.items() if set(by) & set(roles)]
            errors += [_missing(place, key, options) for key in needed if key not in entry]
        errors += _combination_errors(entry, place)
    errors += _clashes([entry for entry in entries if isinstance(entry, Mapping)], name)
    if not errors and "nginx_proxy" in roles and not partial:
        errors = _shared_domain_errors(entries, name)
    return errors


def variable_errors(variables: Mapping[str, t.Any], roles: Iterable[str]) -> list[str]:
    """Every error in the variables of some roles, misspelt names included.

    :param variables: all variables of the host; only those with a role's prefix are looked at.
    """
    errors = []
    roles = list(roles)
    for role in roles:
        options = role_options(role)
        for name in sorted(variables):
            if not name.startswith(f"{role}_"):
                continue
            if name in options and name != ENTRIES.get(role):
                wrong = _value_errors(variables[name], options[name], name, name)
                # Other collections have roles of the same names, whose values are of other types.
                hint = f" (this variable is read by the role {role} of flask_ops.production)"
                errors += [error + hint if error.startswith(f"{name}: must be ") else error for error in wrong]
            elif near := _misspelt(name, variables[name], role):
                errors.append(f"{name}: is not a variable of the role {role}; did you mean '{near}'?")
    if "nginx_proxy" in roles:
        errors += _port_errors(variables)
    if "logrotate" in roles:
        errors += _rotation_errors(variables)
    if "node_exporter" in roles:
        errors += _exporter_errors(variables)
    return errors


def unread_names(names: Iterable[str], roles: Iterable[str]) -> list[str]:
    """The names that begin with a role's prefix and that no role reads: other collections have such roles, too."""
    return sorted(
        name
        for role in roles
        for name in names
        if name.startswith(f"{role}_") and name not in role_options(role).keys() | published_variables(role)
    )


def overridden_errors(names: Iterable[str]) -> list[str]:
    """The variables that the playbooks and the roles set themselves: a value of the user's would be ignored.

    :param names: all variables of the host, where no role has been loaded yet.
    """
    lists, wired = set(ENTRIES.values()), wired_variables()
    published = {name: path.name for path in ROLES.iterdir() for name in published_variables(path.name)}
    errors = []
    for name in sorted(names):
        if name in lists:
            errors.append(f"{name}: is made of flask_apps by the playbook; move its entries to flask_apps")
        elif name in wired:
            errors.append(f"{name}: is set by the playbook, and this value would be ignored; leave it out")
        elif name in published and not name.startswith("__"):
            errors.append(
                f"{name}: is set by the role {published[name]}, and this value would be ignored; leave it out"
            )
    return errors


def misspelt_names(
    names: Iterable[str], roles: Iterable[str], lists: Iterable[str] = (), values: Mapping[str, t.Any] | None = None
) -> list[str]:
    """Every name that is one or two letters away from a variable that the playbook reads, prefix included.

    :param names: all variables of the host.
    :param lists: lists of apps that belong to no role, such as ``flask_apps``.
    :param values: the variables themselves. Where the list is there, its name without the s is something else, unless it
        holds apps as well.
    """
    names, values = set(names), values or {}
    known = {name for role in roles for name in role_options(role)}
    others = tuple(f"{path.name}_" for path in ROLES.iterdir())
    errors = []
    for name in sorted(names - known - set(lists)):
        # Names that begin with a role's name are the business of variable_errors().
        if name.startswith((*others, "__", "ansible_")):
            continue
        near = _nearest_slip(name.lower(), {*known, *lists})
        if near in names and near in lists and f"{name}s" == near:
            if _holds_apps(values.get(name)):
                errors.append(f"{name}: holds apps, and so does {near}; keep one of them")
        elif near:
            errors.append(f"{name}: is not a variable of this collection; did you mean '{near}'?")
    return errors


def _holds_apps(value: t.Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and bool(value)
        and all(isinstance(item, Mapping) and "name" in item for item in value)
    )


def _misspelt(name: str, value: t.Any, role: str) -> str | None:
    """The variable of a role that was meant."""
    options = role_options(role)
    if name in options or name in published_variables(role):
        return None
    near = _nearest_slip(name.lower(), options, len(role) + 1)
    if near == f"{name}s" and not isinstance(value, TYPES[options[near]["type"]][0]):
        return None  # another collection's, such as node_exporter_user
    return near


def _nearest_slip(name: str, known: Iterable[str], prefix: int = 0) -> str | None:
    return min(
        (real for real in sorted(known) if _is_slip(name, real, prefix)),
        key=lambda real: _edits(name, real),
        default=None,
    )


def _is_slip(name: str, real: str, prefix: int = 0) -> bool:
    """Whether one name is the other but for one letter in five, at most two; two that change places count as one.

    A name with something before it is another variable.

    :param prefix: the length of what both begin with.
    """
    if name[:1] != real[:1]:
        return False
    allowed = min(2, max(1, (len(real) - prefix) // 5))
    if abs(len(name) - len(real)) > allowed or (Counter(name) - Counter(real)).total() > allowed:
        return False  # most names; what follows takes time
    return _edits(name, real) <= allowed


def _edits(one: str, other: str) -> int:
    """How many letters have to be inserted, removed, replaced or swapped with the next one to make one text the other."""
    before, row = [0] * (len(other) + 1), list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        oldest, before, row = before, row, [i]
        for j, there in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != there))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == there:
                cost = min(cost, oldest[j - 2] + 1)
            row.append(cost)
    return row[-1]


def fleet_errors(entries: t.Any, name: str, hosts: Iterable[str], inventory: Iterable[str]) -> list[str]:
    """What is right on one host, and not on several: a list of apps that is right otherwise.

    :param hosts: all hosts of the play.
    :param inventory: all hosts that there are.
    """
    hosts, inventory = list(hosts), list(inventory)
    errors = []
    for place, process in (
        found for index, entry in enumerate(entries) for found in _processes(entry, place_of(entry, name, index))
    ):
        only = process.get("only_on")
        if only and only not in inventory:
            errors.append(f"{place}.only_on: '{only}' is not a host of the inventory{_nearest(only, inventory)}")
        elif not only and process.get("kind", "worker") != "worker" and len(hosts) > 1:
            errors.append(
                f"{place}.only_on: is needed, since each of {len(hosts)} hosts would run this {process['kind']}; "
                f"a good value is {hosts[0]}, or '{{{{ inventory_hostname }}}}' where each of them should"
            )
    return errors


def platform_errors(facts: Mapping[str, t.Any], variables: Mapping[str, t.Any]) -> list[str]:
    """Whether the host is one that the roles are made for, by name, and can do what is asked of it."""
    distribution, version = facts.get("distribution"), str(facts.get("distribution_major_version"))
    if facts.get("service_mgr", "systemd") != "systemd":
        return [f"this host is run by {facts['service_mgr']}; must be systemd"]
    if version in SUPPORTED.get(str(distribution), ()):
        if variables.get("nginx_proxy_http3") and f"{distribution} {version}" in WITHOUT_HTTP_3:
            return [f"nginx_proxy_http3: the nginx of {distribution} {version} has no HTTP/3; must be false"]
        return []
    supported = "; ".join(f"{name} {', '.join(versions)}" for name, versions in SUPPORTED.items())
    return [f"this host runs {distribution} {version}, which is not supported; supported are {supported}"]


def _dict_errors(given: Mapping[str, t.Any], options: Options, place: str, path: str) -> list[str]:
    errors = [f"{place}.{key}: is not a known option{_nearest(key, options)}" for key in given if key not in options]
    for key, option in options.items():
        if key in given and given[key] is not None:
            errors += _value_errors(given[key], option, f"{place}.{key}", f"{path}.{key}".lstrip("."))
        elif option.get("required") or (key in given and option.get("default", ...) is not None):
            errors.append(_missing(place, key, options, path))
    return errors


def _value_errors(value: t.Any, option: dict[str, t.Any], place: str, path: str) -> list[str]:
    types, words = TYPES.get(option["type"], ((object,), "anything"))
    # In Python, as in YAML 1.1, True is also 1: an integer must not be a boolean.
    fits = isinstance(value, types) and (option["type"] == "bool" or not isinstance(value, bool))
    if not fits:
        if option.get("no_log"):
            return [f"{place}: must be {words}"]
        quote = "; put it in quotes" if option["type"] == "str" and isinstance(value, (int, float)) else ""
        # KEY=value in the place of a dictionary would be a whole secret.
        pairs = option["type"] == "dict" and not option.get("options")
        seen = "a text" if pairs and isinstance(value, str) else _shown(value)
        return [f"{place}: must be {words}, not {seen}{quote}{_good(path)}"]
    if "choices" in option and value not in option["choices"]:
        return [f"{place}: {_shown(value)} is not one of {', '.join(map(str, option['choices']))}"]
    if option["type"] == "list" and "elements" in option:
        element: dict[str, t.Any] = {"type": option["elements"], "options": option.get("options")}
        return [
            error
            for index, item in enumerate(value)
            for error in _value_errors(item, element, f"{place}[{index}]", f"{path}[]")
        ]
    if option["type"] == "dict":
        if option.get("options"):
            return _dict_errors(value, option["options"], place, path)
        return [error for key, item in value.items() for error in _pair_errors(key, item, place, path)]
    rule = RULES.get(path)
    if rule and not rule.accepts(value):
        if option.get("no_log"):
            return [f"{place}: {rule.says}{_good(path)}"]
        return [f"{place}: {_shown(value)} {rule.says}{_good(path)}"]
    return []


def _pair_errors(key: t.Any, value: t.Any, place: str, path: str) -> list[str]:
    """A key of the user's own choice, and its value, which may be a secret and is not repeated."""
    key_rule, value_rule = RULES.get(f"{path}{{key}}"), RULES.get(f"{path}{{value}}")
    if key_rule and not (isinstance(key, str) and key_rule.accepts(key)):
        # KEY=value in the place of a name would be a whole secret.
        name = re.split(r"[=:\s]", str(key), maxsplit=1)[0]
        return [f"{place}: the name {_shown(name)} {key_rule.says}{_good(f'{path}{{key}}')}"]
    if is_changed(key, value):
        return [f"{place}.{key}: YAML reads the value as something else than it is written; put it in quotes"]
    if value_rule and not value_rule.accepts(value):
        return [f"{place}.{key}: the value {value_rule.says}{_good(f'{path}{{value}}')}"]
    return []


def _combination_errors(entry: Mapping[str, t.Any], place: str) -> list[str]:
    """What each option allows, but not together."""
    errors = []
    source = entry.get("source")
    if isinstance(source, Mapping):
        kinds = [kind for kind in ("git", "archive", "path", "wheel", "pypi") if source.get(kind)]
        if len(kinds) != 1:
            errors.append(
                f"{place}.source: must have exactly one of git, archive, path, wheel and pypi, not "
                f"{' and '.join(kinds) or 'none'}"
            )
        if kinds == ["git"] and "version" not in source:
            errors.append(f"{place}.source.version: is needed with git; a good value is v1.4.2")
        if kinds == ["archive"] and str(source["archive"]).startswith("https:") and "checksum" not in source:
            errors.append(f"{place}.source.checksum: is needed with a URL{_good('source.checksum')}")
        errors += [
            f"{place}.source.{option}: goes with {' and '.join(goes_with)} only"
            for option, goes_with in SOURCE_OPTIONS.items()
            if source.get(option) is not None and not set(goes_with) & set(kinds)
        ]
        if source.get("token") and kinds == ["git"] and not str(source["git"]).startswith("https:"):
            errors.append(f"{place}.source.token: goes with an https URL; with SSH, use deploy_key")
    env, secrets = entry.get("env"), entry.get("secrets")
    if isinstance(env, Mapping) and isinstance(secrets, Mapping):
        both = sorted(str(key) for key in env.keys() & secrets.keys())
        errors += [f"{place}.secrets.{key}: is also in {place}.env; keep one of them" for key in both]
    files = entry.get("secret_files")
    if isinstance(files, Mapping):
        size = sum(len(text.encode("utf-8", "replace")) for text in files.values() if isinstance(text, str))
        if size > MAX_CREDENTIALS:
            errors.append(
                f"{place}.secret_files: has {size} bytes; systemd hands over at most 1 MB, so keep to {MAX_CREDENTIALS}"
            )
    for option, variables in (("env", env), ("secrets", secrets)):
        if isinstance(variables, Mapping):
            errors += _unsafe_settings(variables, f"{place}.{option}")
    errors += [error for where, process in _processes(entry, place) for error in _process_errors(process, where)]
    if entry.get("wheelhouse") and entry.get("extra_index"):
        errors.append(f"{place}.extra_index: is not asked when there is a wheelhouse; keep one of them")
    errors += _nested_paths(entry.get("shared_paths"), f"{place}.shared_paths")
    errors += _main_name_errors(entry, place) + _impossible_servers(entry, place) + _front_door_errors(entry, place)
    return errors + _path_errors(entry, place)


def _path_errors(entry: Mapping[str, t.Any], place: str) -> list[str]:
    """Options that have no effect, or break every request, with a path."""
    path = entry.get("path") or "/"
    if path == "/" or entry.get("state", "present") != "present":
        return []
    errors = [
        f"{place}.{option}: has no effect with the path {_shown(path)}; set it for the app that has the path '/' of the "
        "same domains"
        for option in SITE_OPTIONS
        if entry.get(option)
    ]
    for option in ("env", "secrets"):
        given = _dictionary(entry.get(option)).get("SCRIPT_NAME")
        if given not in (None, "", path):
            errors.append(
                f"{place}.{option}.SCRIPT_NAME: must be {_shown(path)}, the path of the app, which is the default; or '', "
                "for an app that expects its path in each request"
            )
    return errors


def _shared_domain_errors(entries: Iterable[Mapping[str, t.Any]], name: str) -> list[str]:
    """Apps with a path that no site serves, and paths of one app that belong to another; in a list without other errors."""
    present = [
        (place_of(entry, name, index), entry, (entry.get("path") or "/").rstrip("/"))
        for index, entry in enumerate(entries)
        if entry.get("state", "present") == "present"
    ]
    errors = []
    for place, entry, path in present:
        domains = set(entry["domains"])
        sharing = [other for other in present if domains & set(other[1]["domains"])]
        roots = [other for other in sharing if not other[2]]
        if path and not roots:
            errors.append(
                f"{place}.path: needs an app with the same domains and the path '/', which has the certificate; add one, or "
                "leave the path out"
            )
        elif path and set(roots[0][1]["domains"]) != domains:
            errors.append(
                f"{place}.domains: must be those of {roots[0][0]}, since both are one site: {', '.join(roots[0][1]['domains'])}"
            )
        static = _dictionary(entry.get("static"))
        paths = {f"{place}.static.url": static.get("url") or "/static/"} if static else {}
        paths |= {f"{place}.locations[{i}].path": given["path"] for i, given in enumerate(entry.get("locations") or ())}
        errors += [
            f"{where}: '{path}{own}' belongs to {owner}, whose path is '{deeper}'; set it there, or choose another path"
            for where, own in paths.items()
            for owner, _entry, deeper in sharing
            if deeper.startswith(f"{path}/") and f"{path}{own}/".startswith(f"{deeper}/")
        ]
    return errors


def _impossible_servers(entry: Mapping[str, t.Any], place: str) -> list[str]:
    """What no server does, or what would be passed over in silence."""
    errors = []
    worker_class = entry.get("worker_class") or "gthread"
    if entry.get("server") == "waitress":
        for option in ("worker_class", "workers", "instances", "preload", "metrics"):
            if entry.get(option):
                errors.append(f"{place}.{option}: goes with server gunicorn; waitress is one process with threads")
        if _dictionary(entry.get("logs")).get("to") == "files":
            errors.append(f"{place}.logs.to: waitress has the journal only; leave it out, or take server gunicorn")
    elif worker_class != "gthread" and (entry.get("threads") or 1) != 1:
        errors.append(
            f"{place}.threads: goes with worker_class gthread; a worker of class {worker_class} has one thread"
        )
    if entry.get("instances") and entry.get("workers"):
        errors.append(f"{place}.workers: does not go with instances, which are one worker each; leave it out")
    if entry.get("preload") and worker_class == "gevent":
        errors.append(
            f"{place}.preload: does not go with worker_class gevent, which must patch Python before the app is "
            "imported; leave it out"
        )
    limits, metrics, sandbox = (_dictionary(entry.get(key)) for key in ("limits", "metrics", "sandbox"))
    high, most = limits.get("memory_high"), limits.get("memory_max")
    if isinstance(high, int) and isinstance(most, int) and high >= most:
        errors.append(f"{place}.limits.memory_high: {high} must be below memory_max, {most}, or it never matters")
    without = sandbox.get("without")
    offline = sandbox.get("strict") and "PrivateNetwork" not in (without if isinstance(without, (list, tuple)) else ())
    if metrics.get("statsd") and offline:
        errors.append(
            f"{place}.metrics.statsd: a strict sandbox has no network; put PrivateNetwork and RestrictAddressFamilies "
            f"into {place}.sandbox.without, or leave statsd out"
        )
    return errors


def _front_door_errors(entry: Mapping[str, t.Any], place: str) -> list[str]:
    """What nginx would do, but not as it was meant."""
    errors = []
    hsts = entry.get("hsts")
    if isinstance(hsts, Mapping) and hsts.get("preload") is True:
        if hsts.get("include_subdomains") is not True:
            errors.append(
                f"{place}.hsts.include_subdomains: browsers preload a name with all below it only; must be true"
            )
        if isinstance(hsts.get("max_age"), int) and hsts["max_age"] < 31536000:
            errors.append(f"{place}.hsts.max_age: browsers preload from 31536000 seconds on; a good value is 63072000")
    if entry.get("csp_report_only") and not entry.get("csp"):
        errors.append(f"{place}.csp_report_only: needs csp{_good('csp')}")
    taken = {static.get("url", "/static/")} if isinstance(static := entry.get("static"), Mapping) else set()
    errors += _redirect_loops(entry, place)
    timeout = entry.get("timeout", entry_options("nginx_proxy")["timeout"]["default"])
    for index, location in enumerate(entry.get("locations") or []):
        if not isinstance(location, Mapping):
            continue
        path, given = location.get("path"), location.get("timeout")
        if isinstance(path, str) and path in taken:
            errors.append(
                f"{place}.locations[{index}].path: '{path}' has a location already; each needs one of its own"
            )
        taken.add(str(path))
        if isinstance(given, int) and isinstance(timeout, int) and given is not True and 0 < given < timeout:
            errors.append(
                f"{place}.locations[{index}].timeout: nginx would give up after {given} seconds and gunicorn after "
                f"{timeout}; must be at least {timeout}"
            )
        if location.get("redirect") and location.keys() - {"path", "redirect"}:
            errors.append(f"{place}.locations[{index}].redirect: goes with path alone")
    return errors


def _redirect_loops(entry: Mapping[str, t.Any], place: str) -> list[str]:
    """Redirects that end where they began, over any number of locations and names of the app."""
    given = entry.get("locations")
    locations = {
        location["path"]: location.get("redirect")
        for location in (given if isinstance(given, (list, tuple)) else ())
        if isinstance(location, Mapping) and isinstance(location.get("path"), str)
    }
    domains = [str(domain).lower() for domain in entry.get("domains") or ()]
    prefix = str(entry.get("path") or "/").rstrip("/")
    errors: list[str] = []
    reported: list[set[str]] = []
    for index, (path, redirect) in enumerate(locations.items()):
        here: str | None = path
        passed: list[str] = []
        while here is not None and (found := _location_of(here, locations)) is not None and found not in passed:
            passed.append(found)
            here = _path_here(locations[found], domains, prefix)
            if here is not None and found.endswith("/") and here.endswith("/"):
                here += "x"  # what is below the one is then below the other
        loop = set(passed)
        if redirect and here is not None and _location_of(here, locations) == path and loop not in reported:
            reported.append(loop)
            errors.append(
                f"{place}.locations[{index}].redirect: {' leads to '.join([*passed, path])}, without an end; must lead "
                f"elsewhere{_good('locations[].redirect')}"
            )
    return errors


def _location_of(path: str, locations: Mapping[str, t.Any]) -> str | None:
    """The location that nginx chooses for a path. A redirect of a path without a slash at its end is for this path alone."""
    fits = [
        location
        for location, redirect in locations.items()
        if path == location or (path.startswith(location) and (location.endswith("/") or not redirect))
    ]
    return max(fits, key=len, default=None)


def _path_here(redirect: t.Any, domains: list[str], prefix: str) -> str | None:
    """The path of a redirect to the app itself, relative to the app's own."""
    if not isinstance(redirect, str):
        return None
    url = urlsplit(redirect)
    if not url.netloc:
        return url.path
    here = (url.hostname or "") in domains and url.path.startswith(f"{prefix}/")
    return url.path.removeprefix(prefix) if here else None


def _processes(entry: Mapping[str, t.Any], place: str) -> list[tuple[str, Mapping[str, t.Any]]]:
    """The processes of an app, each with its place; none of one that is absent."""
    processes = entry.get("processes")
    if entry.get("state", "present") != "present" or not isinstance(processes, (list, tuple)):
        return []
    return [
        (f"{place}.processes[{number}]", process)
        for number, process in enumerate(processes)
        if isinstance(process, Mapping)
    ]


def _process_errors(process: Mapping[str, t.Any], place: str) -> list[str]:
    """A timer, and only a timer, has a schedule; a worker, and only a worker, has several instances."""
    errors, kind = [], process.get("kind", "worker")
    if kind == "timer" and process.get("schedule") is None:
        errors.append(f"{place}.schedule: is needed with kind timer{_good('processes[].schedule')}")
    if kind != "timer" and process.get("schedule") is not None:
        errors.append(f"{place}.schedule: goes with kind timer only")
    if kind != "worker" and (process.get("instances") or 1) != 1:
        errors.append(f"{place}.instances: goes with kind worker only; there is never a second {kind}")
    return errors


def _dictionary(value: t.Any) -> Mapping[str, t.Any]:
    return value if isinstance(value, Mapping) else {}


def _main_name_errors(entry: Mapping[str, t.Any], place: str) -> list[str]:
    domains = entry.get("domains")
    first = domains[0] if isinstance(domains, (list, tuple)) and domains else ""
    if "wsgi" in entry and isinstance(first, str) and first.startswith("*.") and RULES["domains[]"].accepts(first):
        return [
            f"{place}.domains[0]: the app is asked by its first name, which cannot be '{first}'; put another before it"
        ]
    return []


def _unsafe_settings(variables: Mapping[str, t.Any], place: str) -> list[str]:
    """Settings that every Flask app understands, and that no production server should have."""
    errors = []
    path = variables.get("PYTHONPATH")
    if path is not None and not (isinstance(path, str) and is_relative_path(path)):
        errors.append(f"{place}.PYTHONPATH: must be one path below the top of the source; a good value is src")
    for key in ("SECRET_KEY", "FLASK_SECRET_KEY"):
        if key in variables and not _is_random(variables[key]):
            errors.append(
                f"{place}.{key}: sessions are only as safe as this value: it must be a random text of at least 22 "
                "characters; a good value is what python3 -c 'import secrets; print(secrets.token_hex())' prints"
            )
    if str(variables.get("FLASK_DEBUG", "0")).lower() not in ("0", "false", "no", ""):
        errors.append(f"{place}.FLASK_DEBUG: shows the app's insides to everybody; a good value is 0")
    if variables.get("FLASK_ENV", "production") != "production":
        errors.append(f"{place}.FLASK_ENV: is read by old versions of Flask as debugging; a good value is production")
    return errors


def _is_random(value: t.Any) -> bool:
    # 22 characters of base64 are 128 bits; eight different ones rule out 'changemechangemechangeme'.
    return isinstance(value, str) and len(value) >= 22 and len(set(value)) >= 8


def _nested_paths(paths: t.Any, place: str) -> list[str]:
    """A shared path is a link: what lies within it would be made, and removed, in the data of the app in traffic."""
    if not isinstance(paths, (list, tuple)):
        return []
    return [
        f"{place}[{index}]: '{path}' is within '{outer}', which is shared already; leave it out"
        for index, path in enumerate(paths)
        for number, outer in enumerate(paths)
        if isinstance(path, str) and isinstance(outer, str) and index != number
        if path.startswith(f"{outer}/") or (path == outer and number < index)
    ]


def _port_errors(variables: Mapping[str, t.Any]) -> list[str]:
    """nginx' ports that are the same one."""
    options, errors = role_options("nginx_proxy"), []
    taken: dict[t.Any, str] = {}
    for name in ("nginx_proxy_http_port", "nginx_proxy_https_port", "nginx_proxy_status_port"):
        port = variables.get(name, options[name]["default"])
        if port in taken:
            errors.append(f"{name}: {port} is also {taken[port]}; good values are 80, 443 and 9112")
        taken[port] = name
    return errors


def _rotation_errors(variables: Mapping[str, t.Any]) -> list[str]:
    """What each option of a log allows, but not together; names and paths that two logs claim."""
    errors = []
    names: dict[str, str] = {}
    paths: list[tuple[str, str]] = []
    schedule = variables.get("logrotate_schedule", role_options("logrotate")["logrotate_schedule"]["default"])
    if schedule == "daily" and variables.get("logrotate_frequency") == "hourly":
        errors.append("logrotate_frequency: hourly goes with logrotate_schedule hourly only")
    logs = [
        (f"{name}[{index}]", log)
        for name in ("logrotate_files", "logrotate_extra_files")
        if isinstance(variables.get(name), (list, tuple))
        for index, log in enumerate(variables[name])
        if isinstance(log, Mapping) and isinstance(log.get("name"), str)
    ]
    for place, log in logs:
        first = names.setdefault(log["name"], place)
        if first != place:
            errors.append(f"{place}.name: '{log['name']}' is already {first}.name; each log needs a name of its own")
        if log.get("state") == "absent":
            continue
        if not log.get("paths"):
            errors.append(f"{place}.paths: must have at least one path{_good('logrotate_files[].paths[]')}")
        if log.get("signal") and log.get("unit") is None:
            errors.append(f"{place}.unit: is needed with signal{_good('logrotate_files[].unit')}")
        if log.get("size"):
            both = [key for key in ("frequency", "minsize", "maxsize") if log.get(key)]
            errors += [f"{place}.{key}: does not go with size, which alone decides; keep one of them" for key in both]
        if schedule == "daily" and log.get("frequency") == "hourly":
            errors.append(f"{place}.frequency: hourly goes with logrotate_schedule hourly only")
        for number, path in enumerate(log.get("paths") or []):
            here = f"{place}.paths[{number}]"
            path = str(path).replace("{name}", log["name"])
            errors += [
                f"{here}: '{path}' is also covered by '{other}' in {there}; logrotate would skip one of them"
                for there, other in paths
                # Where two wildcards meet, logrotate itself decides: it sees which files are there.
                if PurePosixPath(path).match(other) or PurePosixPath(other).match(path)
            ]
            paths.append((here, path))
    return errors


def _exporter_errors(variables: Mapping[str, t.Any]) -> list[str]:
    """What node_exporter's variables allow, but not together."""
    options = role_options("node_exporter")

    def given(name: str) -> t.Any:
        return variables.get(f"node_exporter_{name}", options[f"node_exporter_{name}"]["default"])

    errors = []
    address, users, passwords = given("address"), given("users"), given("passwords")
    protected = given("tls") or users or passwords or given("unprotected")
    if (
        isinstance(address, str)
        and is_address(address)
        and not ipaddress.ip_address(address).is_loopback
        and not protected
    ):
        errors.append(
            f"node_exporter_address: {_shown(address)} is open to the network, and metrics tell much about a server: set "
            "node_exporter_tls and node_exporter_passwords, or node_exporter_unprotected where a firewall decides who "
            "may read them; a good value is 127.0.0.1"
        )
    if isinstance(users, Mapping) and isinstance(passwords, Mapping):
        errors += [
            f"node_exporter_passwords.{name}: is also in node_exporter_users; keep one of them"
            for name in sorted(users.keys() & passwords.keys())
        ]
    release = {name: given(name) for name in ("version", "archive", "checksums")}
    if any(release.values()):
        errors += [
            f"node_exporter_{name}: is empty; an upstream release needs a version, an archive and its checksum"
            f"{_good(f'node_exporter_{name}') or _good(f'node_exporter_{name}{{value}}')}"
            for name, value in release.items()
            if not value
        ]
    pair = {name: given(name) for name in ("certificate", "certificate_key")}
    if any(pair.values()):
        errors += [
            f"node_exporter_{name}: is empty, and the other of the two is not" for name in pair if not pair[name]
        ]
        if not given("tls"):
            errors.append("node_exporter_tls: is false, and node_exporter_certificate is set; a good value is true")
    return errors


def _clashes(entries: list[Mapping[str, t.Any]], name: str) -> list[str]:
    """Names, domains and units that two entries claim."""
    errors = []
    claimed: dict[tuple[str, str], str] = {
        ("unit", f"{entry.get('name')}-{suffix}"): f"a unit of the app {entry.get('name')}"
        for entry in entries
        for suffix in OTHER_UNITS
    }
    claimed |= {("unit", unit): "a unit of the server" for unit in TAKEN_UNITS}
    for index, entry in enumerate(entries):
        where = place_of(entry, name, index)
        claims = [("name", entry.get("name"), f"{where}.name")]
        if entry.get("state", "present") == "present" and isinstance(entry.get("domains"), (list, tuple)):
            if not entry["domains"]:
                errors.append(f"{where}.domains: must have at least one name{_good('domains[]')}")
            path = "" if entry.get("path") in (None, "/") else entry["path"]
            claims += [
                ("domain", f"{domain}{path}" if isinstance(domain, str) else domain, f"{where}.domains[{number}]")
                for number, domain in enumerate(entry["domains"])
            ]
        claims += [
            ("unit", f"{entry.get('name')}-{process.get('name')}", f"{place}.name")
            for place, process in _processes(entry, where)
        ]
        for kind, value, place in claims:
            if not isinstance(value, str):
                continue
            first = claimed.setdefault((kind, value), place)
            if first != place:
                owner = "process" if kind == "unit" else "app"
                own = "domain or a path" if kind == "domain" else kind
                errors.append(f"{place}: '{value}' is already {first}; each {owner} needs a {own} of its own")
    defaults = [
        f"{name}[{index}].default_site"
        for index, entry in enumerate(entries)
        if entry.get("default_site") is True and entry.get("state", "present") == "present"
    ]
    errors += [f"{place}: is already true in {defaults[0]}; one site can have it" for place in defaults[1:]]
    return errors


def _missing(place: str, key: str, options: Options, path: str = "") -> str:
    full = f"{path}.{key}".lstrip(".")
    hint = _good(full) or _good(f"{full}[]")
    if key == "source":
        hint = "; a good value is {git: 'https://git.example.com/acme/shop.git', version: v1.4.2}"
    needed = options[key].get("required") or (not path and key in NEEDED_WHEN_PRESENT)
    words = "is missing" if needed else "is empty"
    return f"{place}.{key}: {words}{hint or '; leave it out for the default'}"


PUBLIC_AUTHORITIES = (
    "letsencrypt.org", "zerossl.com", "pki.goog", "sectigo.com", "ssl.com", "buypass.com", "digicert.com",
)  # fmt: skip
"""Those that know nobody's private names, by the end of their server's name."""

PRIVATE_NAMES = re.compile(
    r"(^|\.)(test|local|localhost|localdomain|internal|intranet|lan|home|corp|private|invalid|onion|home\.arpa|example"
    r"|example\.(com|net|org))$"
)
"""Names that nobody outside can look up."""

MOST_NAMES = {"tlsserver": 25, "shortlived": 25}
"""How many names a certificate of Let's Encrypt may have, by profile."""


def certificate_errors(entries: t.Any, name: str, variables: Mapping[str, t.Any]) -> list[str]:
    """What a CA would refuse, or could not do, of the certificates that the entries want.

    :param variables: all variables of the host.
    """
    options = role_options("letsencrypt")
    given = {key: variables.get(key, option.get("default")) for key, option in options.items()}
    if name != ENTRIES["letsencrypt"] and not given["letsencrypt_email"]:
        return []  # the playbook turns it on by the address
    errors = _authority_errors(given)
    for index, entry in enumerate(entries if isinstance(entries, (list, tuple)) else []):
        if (
            isinstance(entry, Mapping)
            and entry.get("state", "present") == "present"
            and not entry.get("certificate")
            and entry.get("path") in (None, "/")
        ):
            acme = entry.get("acme") or {}
            if isinstance(acme, Mapping) and acme.get("enabled", True):
                errors += _order_errors(entry, acme, place_of(entry, name, index), given)
    return errors


def _authority_errors(given: Mapping[str, t.Any]) -> list[str]:
    errors = []
    default = role_options("letsencrypt")["letsencrypt_server"]["default"]
    if given["letsencrypt_staging"] and given["letsencrypt_server"] != default:
        errors.append(
            "letsencrypt_staging: is the staging server of Let's Encrypt; leave it out with letsencrypt_server"
        )
    eab = given["letsencrypt_eab"]
    if eab and isinstance(eab, Mapping):
        errors += [
            f"letsencrypt_eab.{key}: is missing; the CA gives both of kid and hmac_key"
            for key in ("kid", "hmac_key")
            if key not in eab
        ]
        if not given["letsencrypt_email"]:
            errors.append("letsencrypt_email: an account that is bound by letsencrypt_eab needs one")
    if given["letsencrypt_dns_plugin"] and not given["letsencrypt_dns_credentials"]:
        errors.append(
            "letsencrypt_dns_credentials: are missing; the documentation of the plugin "
            f"{given['letsencrypt_dns_plugin']} says which ones it needs"
        )
    return errors


def _order_errors(
    entry: Mapping[str, t.Any], acme: Mapping[str, t.Any], place: str, given: Mapping[str, t.Any]
) -> list[str]:
    """What is wrong with one certificate that is wanted."""
    errors = []
    server = str(given["letsencrypt_server"]).split("/")
    public = len(server) > 2 and server[2].endswith(PUBLIC_AUTHORITIES)
    challenge = acme.get("challenge") or given["letsencrypt_challenge"]
    profile = acme.get("profile") or given["letsencrypt_profile"]
    addresses = acme.get("ip_addresses") or []
    names = [domain for domain in entry.get("domains") or [] if isinstance(domain, str)]
    off = f"leave the name out, or set {place}.acme: {{enabled: false}}"
    for index, domain in enumerate(names):
        if domain.startswith("*.") and challenge != "dns-01":
            errors.append(
                f"{place}.domains[{index}]: '{domain}' needs the challenge dns-01, and a letsencrypt_dns_plugin; {off}"
            )
        if public and PRIVATE_NAMES.search(domain):
            errors.append(f"{place}.domains[{index}]: no public CA knows the name '{domain}'; {off}")
    if challenge == "dns-01" and not given["letsencrypt_dns_plugin"]:
        errors.append(f"{place}: the challenge dns-01 needs letsencrypt_dns_plugin; a good value is dns-rfc2136")
    if addresses and challenge != "http-01":
        errors.append(f"{place}.acme.ip_addresses: go with the challenge http-01 only")
    if addresses and public and profile != "shortlived":
        errors.append(f"{place}.acme.ip_addresses: need the profile shortlived, in {place}.acme.profile")
    most = MOST_NAMES.get(profile, 100)
    if len(names) + len(addresses) > most:
        errors.append(
            f"{place}.domains: {len(names) + len(addresses)} names are more than the {most} that a certificate "
            f"{f'of the profile {profile} ' if profile else ''}may have; make two apps of it, or use '*.'"
        )
    return errors


def _nearest(name: t.Any, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(name), sorted(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else f"; known are {', '.join(sorted(known))}"


def _good(path: str) -> str:
    return f"; a good value is {RULES[path].example}" if path in RULES else ""


def _shown(value: t.Any) -> str:
    """A value as a message may repeat it: on one line, not a whole page of it, and no password in a URL.

    Of a list or a dictionary only the kind: it may hold the secrets of an app that is written in the wrong place.
    """
    if isinstance(value, Mapping):
        return "a dictionary"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = re.sub(r"//.*@", "//...@", repr(str(value))) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
