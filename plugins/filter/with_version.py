# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: with_version
short_description: One app of a list, with another version
version_added: 0.1.0
author: [the flask_ops.production authors (@flask-ops)]
description:
  - Picks one app of C(flask_apps) by its name, and replaces the version of its source. A list with that app is
    returned.
  - It is an error when there is no such app, or when its source has no version.
positional: _input, app, version
options:
  _input:
    description: The apps.
    type: list
    elements: dict
    required: true
  app:
    description: Name of the app.
    type: str
    required: true
  version:
    description: Branch, tag or commit of a git source, or the version of a package. By default, it is left as it is.
    type: str
"""

EXAMPLES = r"""
shop: "{{ flask_apps | flask_ops.production.with_version('shop', 'v1.5.0') }}"
"""

RETURN = r"""
_value:
  description: A list of the one app.
  type: list
  elements: dict
"""

import difflib
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

KINDS = {"path": "a directory", "archive": "an archive", "wheel": "a wheel"}


def with_version(apps, app, version=None):
    # The list as a whole is checked later: an entry that is wrong must not hide an app that is right.
    entries = [entry for entry in apps if isinstance(entry, Mapping) and "name" in entry]
    present = {entry["name"]: entry for entry in entries if entry.get("state", "present") == "present"}
    if app not in present:
        close = difflib.get_close_matches(str(app), present, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(sorted(present)) or 'none'}"
        raise AnsibleFilterError(f"app: '{app}' is not an app in flask_apps; {hint}")
    entry = present[app]
    if version is None:
        return [entry]
    source = entry["source"]
    if source.get("git"):
        return [{**entry, "source": {**source, "version": version}}]
    if source.get("pypi"):
        return [{**entry, "source": {**source, "pypi": f"{source['pypi'].split('==')[0]}=={version}"}}]
    kind = next((word for key, word in KINDS.items() if source.get(key)), "nothing")
    raise AnsibleFilterError(f"version: the source of '{app}' is {kind}, which has no version; leave it out")


class FilterModule:
    def filters(self):
        return {"with_version": with_version}
