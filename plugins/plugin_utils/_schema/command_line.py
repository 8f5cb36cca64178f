# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the playbooks for one app, which are given on the command line with ``-e`` and nowhere else.

A variable of the inventory that is called ``version`` or ``release`` belongs to somebody else.

This plugin util is private to the collection.
"""

from __future__ import annotations

import difflib
import typing as t
from collections.abc import Iterable, Mapping

EXAMPLES = {"app": "shop", "version": "v1.5.0", "release": "3f2c9a1b7d20-5e1c88aa", "state": "on"}
"""By option, a good value."""

OTHER_WORDS = {
    "app": {"apps", "app_name", "application"},
    "version": {"ref", "ver", "tag", "branch", "commit", "rev", "revision", "sha", "git_ref", "git_version"},
    "release": {"rel", "release_id"},
    "state": {"mode", "maintenance"},
}
"""By option, other words that people use for it. They would be ignored in silence."""


def option_errors(playbook: str, takes: Mapping[str, bool], given: Mapping[str, t.Any], apps: t.Any) -> list[str]:
    """Every error in the options of one run.

    :param takes: by option, whether it is required.
    :param given: all extra variables.
    :param apps: the list ``flask_apps``.
    """
    errors = [_unknown(playbook, takes, name, value) for name, value in given.items() if _is_slip(takes, name)]
    names = present_apps(apps)
    for option, required in takes.items():
        value = given.get(option)
        if option in given and (not isinstance(value, str) or not value.strip()):
            errors.append(f"{option}: must be a text that is not empty: -e {option}={EXAMPLES[option]}")
        elif option == "app" and (required or option in given):
            errors += _app_errors(value, names, apps)
        elif option == "state" and value not in ("on", "off"):
            errors.append("state: must be on or off: -e state=on")
        elif required and option not in given:
            errors.append(f"{option}: is missing: -e {option}={EXAMPLES[option]}")
    return errors


def present_apps(apps: t.Any) -> list[str]:
    """The names of the apps that are not absent, also of a list that has errors."""
    return [
        str(entry["name"])
        for entry in (apps if isinstance(apps, (list, tuple)) else [])
        if isinstance(entry, Mapping) and "name" in entry and entry.get("state", "present") == "present"
    ]


def _app_errors(value: t.Any, names: list[str], apps: t.Any) -> list[str]:
    if not isinstance(apps, (list, tuple)):
        return ["flask_apps: must be a list of apps, in the inventory"]
    there_are = f"flask_apps has {', '.join(names) or 'no app'}"
    if value is None:
        return [f"app: is missing; name the app: -e app={names[0] if names else 'shop'} ({there_are})"]
    if value in names:
        return []
    close = difflib.get_close_matches(value, names, n=1)
    if any(isinstance(entry, Mapping) and entry.get("name") == value for entry in apps):
        return [f"app: '{value}' has the state absent in flask_apps"]
    return [f"app: '{value}' is not an app; {f'did you mean -e app={close[0]}?' if close else there_are}"]


def _is_slip(takes: Iterable[str], name: str) -> bool:
    return name not in takes and _meant(takes, name) is not None


def _meant(takes: Iterable[str], name: str) -> str | None:
    """The option that a name stands for; an option of another playbook stands for itself."""
    word = name.lower()
    if word in EXAMPLES:
        return word
    if meant := next((option for option in takes if word in OTHER_WORDS[option]), None):
        return meant
    close = difflib.get_close_matches(word, [option for option in takes if len(option) > 3], n=1, cutoff=0.75)
    return close[0] if close else None


def _unknown(playbook: str, takes: Mapping[str, bool], name: str, value: t.Any) -> str:
    meant = _meant(takes, name)
    words = f"{name}: is not an option of {playbook}, which takes {' and '.join(takes)}"
    return f"{words}; did you mean -e {meant}={value}?" if meant in takes else words
