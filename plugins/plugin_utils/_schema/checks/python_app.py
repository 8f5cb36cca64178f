# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options of ``python_app`` allow, but not together.

This plugin util is private to the collection.
"""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.predicates import (
    MAX_CREDENTIALS,
    is_relative_path,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.rules import example
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.values import dictionary, shown

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


def app_errors(app: Mapping[str, t.Any], place: str) -> list[str]:
    """The errors of one app."""
    errors = _source_errors(app.get("source"), f"{place}.source")
    env, secrets = dictionary(app.get("env")), dictionary(app.get("secrets"))
    both = sorted(str(key) for key in env.keys() & secrets.keys())
    errors += [f"{place}.secrets.{key}: is also in {place}.env; keep one of them" for key in both]
    size = sum(
        len(text.encode("utf-8", "replace"))
        for text in dictionary(app.get("secret_files")).values()
        if isinstance(text, str)
    )
    if size > MAX_CREDENTIALS:
        errors.append(
            f"{place}.secret_files: has {size} bytes; systemd hands over at most 1 MB, so keep to {MAX_CREDENTIALS}"
        )
    for option, variables in (("env", env), ("secrets", secrets)):
        errors += _unsafe_settings(variables, f"{place}.{option}") + _script_name_errors(
            app, variables, f"{place}.{option}"
        )
    if app.get("wheelhouse") and app.get("extra_index"):
        errors.append(f"{place}.extra_index: is not asked when there is a wheelhouse; keep one of them")
    return errors + _nested_paths(app.get("shared_paths"), f"{place}.shared_paths")


def host_claims(app: Mapping[str, t.Any], host: str) -> list[tuple[str, str]]:
    units = [f"{app['name']}-{step}.service" for step in ("migrate", "preflight")]
    return [("accounts", app["name"]), ("directories", app["paths"]["root"]), *(("units", unit) for unit in units)]


def _source_errors(source: t.Any, place: str) -> list[str]:
    if not isinstance(source, Mapping):
        return []
    errors = []
    kinds = [kind for kind in ("git", "archive", "path", "wheel", "pypi") if source.get(kind)]
    if len(kinds) != 1:
        errors.append(
            f"{place}: must have exactly one of git, archive, path, wheel and pypi, not {' and '.join(kinds) or 'none'}"
        )
    if kinds == ["git"] and "version" not in source:
        errors.append(f"{place}.version: is needed with git; a good value is v1.4.2")
    if kinds == ["archive"] and str(source["archive"]).startswith("https:") and "checksum" not in source:
        errors.append(f"{place}.checksum: is needed with a URL{example('source.checksum')}")
    errors += [
        f"{place}.{option}: goes with {' and '.join(goes_with)} only"
        for option, goes_with in SOURCE_OPTIONS.items()
        if source.get(option) is not None and not set(goes_with) & set(kinds)
    ]
    if source.get("token") and kinds == ["git"] and not str(source["git"]).startswith("https:"):
        errors.append(f"{place}.token: goes with an https URL; with SSH, use deploy_key")
    return errors


def _script_name_errors(app: Mapping[str, t.Any], variables: Mapping[str, t.Any], place: str) -> list[str]:
    path, given = app.get("path") or "/", variables.get("SCRIPT_NAME")
    if path == "/" or given in (None, "", path):
        return []
    return [
        f"{place}.SCRIPT_NAME: must be {shown(path)}, the path of the app, which is the default; or '' for an app that "
        + "expects its path in each request"
    ]


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
    """A shared path is a link: a path within it would be created, and removed, in the data of the live app."""
    if not isinstance(paths, (list, tuple)):
        return []
    return [
        f"{place}[{index}]: '{path}' is within '{outer}', which is shared already; leave it out"
        for index, path in enumerate(paths)
        for number, outer in enumerate(paths)
        if isinstance(path, str) and isinstance(outer, str) and index != number
        if path.startswith(f"{outer}/") or (path == outer and number < index)
    ]
