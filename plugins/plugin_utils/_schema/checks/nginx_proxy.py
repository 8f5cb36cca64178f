# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options of ``nginx_proxy`` allow, but not together.

This plugin util is private to the collection.
"""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from urllib.parse import urlsplit

from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.passwords import hash_errors
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.rules import example
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import app_options, role_options
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.values import dictionary, shown

SITE_OPTIONS = ("certificate", "acme", "canonical_domain", "default_site", "hsts", "snippet")
"""Options of a site as a whole, which belong to the app at its root."""


WITHOUT_HTTP_3 = ("Debian 12", "Ubuntu 24")
"""Where nginx is too old to have been built with it."""


def platform_errors(platform: str, variables: Mapping[str, t.Any]) -> list[str]:
    """What the nginx of a distribution cannot do."""
    if variables.get("nginx_proxy_http3") and platform in WITHOUT_HTTP_3:
        return [f"nginx_proxy_http3: the nginx of {platform} has no HTTP/3; must be false"]
    return []


def app_errors(app: Mapping[str, t.Any], place: str) -> list[str]:
    """The errors of one app."""
    return _site_errors(app, place) + _path_errors(app, place)


def claims(app: Mapping[str, t.Any], place: str) -> list[tuple[str, t.Any, str]]:
    """The domains that an app has for itself, each with its place; with its path, where it has one."""
    if app.get("state", "present") != "present" or not isinstance(app.get("domains"), (list, tuple)):
        return []
    path = "" if app.get("path") in (None, "/") else app["path"]
    return [
        ("domain or a path", f"{domain}{path}" if isinstance(domain, str) else domain, f"{place}.domains[{number}]")
        for number, domain in enumerate(app["domains"])
    ]


def list_errors(apps: list[tuple[str, Mapping[str, t.Any]]]) -> list[str]:
    """What is right for each of several apps, and not for all of them: each app with its place."""
    defaults = [
        f"{place}.default_site"
        for place, app in apps
        if app.get("default_site") is True and app.get("state", "present") == "present"
    ]
    return [f"{place}: is already true in {defaults[0]}; one site can have it" for place in defaults[1:]]


def final_errors(apps: list[tuple[str, Mapping[str, t.Any]]], variables: Mapping[str, t.Any], name: str) -> list[str]:
    """Apps that share their domains, and passwords on a controller that cannot hash them."""
    with_passwords = [
        f"{place}.basic_auth"
        for place, app in apps
        if app.get("state", "present") == "present"
        and any(not secret.startswith("$") for secret in (app.get("basic_auth") or {}).values())
    ]
    return shared_domain_errors(apps) + hash_errors(with_passwords, "sha512_crypt", "docs/nginx.md", rounds=5000)


def host_claims(app: Mapping[str, t.Any], host: str) -> list[tuple[str, str]]:
    files = ("site", "headers_snippet", "path_snippet", "static_snippet", "htpasswd")
    return [("files", app["paths"][file]) for file in files]


def _path_errors(app: Mapping[str, t.Any], place: str) -> list[str]:
    """Options that have no effect with a path."""
    path = app.get("path") or "/"
    errors = []
    if (
        app.get("state", "present") == "present"
        and isinstance(app.get("domains"), (list, tuple))
        and not app["domains"]
    ):
        errors.append(f"{place}.domains: must have at least one name{example('domains[]')}")
    if path == "/" or app.get("state", "present") != "present":
        return errors
    return errors + [
        f"{place}.{option}: has no effect with the path {shown(path)}; set it for the app that has the path '/' of the "
        "same domains"
        for option in SITE_OPTIONS
        if app.get(option)
    ]


def shared_domain_errors(apps: list[tuple[str, Mapping[str, t.Any]]]) -> list[str]:
    """Apps with a path that no site serves, and paths of one app that belong to another; in a list without other errors."""
    present = [
        (place, app, (app.get("path") or "/").rstrip("/"))
        for place, app in apps
        if app.get("state", "present") == "present"
    ]
    errors = []
    for place, app, path in present:
        domains = set(app["domains"])
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
        static = dictionary(app.get("static"))
        paths = {f"{place}.static.url": static.get("url") or "/static/"} if static else {}
        paths |= {f"{place}.locations[{i}].path": given["path"] for i, given in enumerate(app.get("locations") or ())}
        errors += [
            f"{where}: '{path}{own}' belongs to {owner}, whose path is '{deeper}'; set it there, or choose another path"
            for where, own in paths.items()
            for owner, _app, deeper in sharing
            if deeper.startswith(f"{path}/") and f"{path}{own}/".startswith(f"{deeper}/")
        ]
    return errors


def _site_errors(app: Mapping[str, t.Any], place: str) -> list[str]:
    """What nginx would do, but not as it was meant."""
    errors = []
    hsts = app.get("hsts")
    if isinstance(hsts, Mapping) and hsts.get("preload") is True:
        if hsts.get("include_subdomains") is not True:
            errors.append(
                f"{place}.hsts.include_subdomains: browsers preload a name with all below it only; must be true"
            )
        if isinstance(hsts.get("max_age"), int) and hsts["max_age"] < 31536000:
            errors.append(f"{place}.hsts.max_age: browsers preload from 31536000 seconds on; a good value is 63072000")
    if app.get("csp_report_only") and not app.get("csp"):
        errors.append(f"{place}.csp_report_only: needs csp{example('csp')}")
    taken = {static.get("url", "/static/")} if isinstance(static := app.get("static"), Mapping) else set()
    errors += _redirect_loops(app, place)
    timeout = app.get("timeout", app_options(["nginx_proxy"])["timeout"]["default"])
    for index, location in enumerate(app.get("locations") or []):
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


def _redirect_loops(app: Mapping[str, t.Any], place: str) -> list[str]:
    """Redirects that end where they began, over any number of locations and names of the app."""
    given = app.get("locations")
    locations = {
        location["path"]: location.get("redirect")
        for location in (given if isinstance(given, (list, tuple)) else ())
        if isinstance(location, Mapping) and isinstance(location.get("path"), str)
    }
    domains = [str(domain).lower() for domain in app.get("domains") or ()]
    prefix = str(app.get("path") or "/").rstrip("/")
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
                f"{place}.locations[{index}].redirect: {' to '.join([*passed, path])} is a loop; must redirect "
                f"elsewhere{example('locations[].redirect')}"
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


def variable_errors(variables: Mapping[str, t.Any]) -> list[str]:
    """Ports of nginx that are the same."""
    options, errors = role_options("nginx_proxy"), []
    taken: dict[t.Any, str] = {}
    for name in ("nginx_proxy_http_port", "nginx_proxy_https_port", "nginx_proxy_status_port"):
        port = variables.get(name, options[name]["default"])
        if port in taken:
            errors.append(f"{name}: {port} is also {taken[port]}; good values are 80, 443 and 9112")
        taken[port] = name
    return errors
