#!/usr/bin/python
# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: python_release
short_description: Build the release of each app that its inputs describe
version_added: 0.1.0
description:
  - A release is a directory that holds an app's code and its virtual environment and never changes once it is
    complete. Its id derives from what goes into it, so the same inputs give the same release, and a second run
    changes nothing.
  - A new release is built, imported once as the app's user in the app's environment and sandbox, and its migration
    is run. Nothing goes into traffic here.
  - Where any step fails, what was serving before still serves. A half-built release is built again by the next run.
  - Old releases are deleted, but never what the links C(current) and C(previous) point to.
author: [the flask_ops.production authors (@flask-ops)]
options:
  apps:
    description:
      - The apps, as in the C(python_app) role, defaults filled in. Their users and directories must exist.
      - The releases of an app whose state is V(absent) are removed.
    type: list
    elements: dict
    required: true
  root:
    description: The directory of each app; C({name}) stands for its name.
    type: str
    required: true
  environment_file:
    description: The environment of each app in the syntax of systemd's C(EnvironmentFile); C({name}) as above.
    type: str
    required: true
  python:
    description: The interpreter that virtual environments are made from.
    type: str
    default: /usr/bin/python3
  extra_requirements:
    description: What each environment gets when the app does not bring it; lines of a requirements file.
    type: list
    elements: str
    default: []
  pinned:
    description:
      - Apps, by name, that should have a release that is on the host already, by its id; V(previous) is the one that
        was in traffic before the current one.
    type: dict
    default: {}
  keep:
    description: How many releases to keep besides the current and the previous one.
    type: int
    default: 3
attributes:
  check_mode:
    description: Says which releases would be built.
    support: full
  diff_mode:
    description: Shows the release id before and after.
    support: full
"""

EXAMPLES = r"""
- name: Build the releases
  flask_ops.production.python_release:
    apps:
      - name: shop
        source: {git: "https://git.example.com/acme/shop.git", version: v1.4.2}
        wsgi: "shop:create_app()"
    root: /srv/{name}
    environment_file: /etc/{name}/environment
"""

RETURN = r"""
releases:
  description: The release of each app, by the app's name.
  returned: success
  type: dict
  sample:
    shop:
      id: 3f2c9a1b7d20-5e1c88aa
      path: /srv/shop/releases/3f2c9a1b7d20-5e1c88aa
      directory: /srv/shop/releases/3f2c9a1b7d20-5e1c88aa/app
      venv: /srv/shop/releases/3f2c9a1b7d20-5e1c88aa/venv
      revision: 3f2c9a1b7d20c9a1b7d203f2c9a1b7d203f2c9a1
wanted_archives:
  description: The apps whose packed source has to be sent before their releases can be built.
  returned: success
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flask_ops.production.plugins.module_utils._command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._release import (
    App,
    Builder,
    Release,
    ReleaseError,
    find,
    resolve,
    retire,
)

# What the action plugin of the same name makes of an entry.
APP = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "purge": {"type": "bool", "default": False},
    "source": {"type": "dict", "default": {}},
    "wsgi": {"type": "str", "default": ""},
    "requirements": {"type": "str", "default": ""},
    "shared_paths": {"type": "list", "elements": "str", "default": []},
    "static_path": {"type": "str", "default": ""},
    "migrate": {"type": "str", "default": ""},
    "migrate_timeout": {"type": "int", "default": 300},
}

UNKNOWN = "known-after-the-build"
"""The id in check mode, where it cannot be found out on a host that lacks git or the app's user."""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "apps": {"type": "list", "elements": "dict", "required": True, "options": APP},
            # By app name: where the action plugin has put the packed sources that were asked for.
            "archives": {"type": "dict", "default": {}},
            "root": {"type": "str", "required": True},
            "environment_file": {"type": "str", "required": True},
            "python": {"type": "str", "default": "/usr/bin/python3"},
            "extra_requirements": {"type": "list", "elements": "str", "default": []},
            "pinned": {"type": "dict", "default": {}},
            "keep": {"type": "int", "default": 3},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**build_all(module.params, module.check_mode))
    except (ReleaseError, CommandError, OSError) as error:
        module.fail_json(msg=str(error))


def build_all(params: dict, check_mode: bool) -> dict:
    """Resolve every app before the first is built, so that a wrong input of one stops the run before any change."""
    apps = [(app_of(entry, params), entry) for entry in params["apps"]]
    present = [app for app, entry in apps if entry["state"] == "present"]
    releases = [release_of(app, params["pinned"].get(app.name), check_mode) for app in present]
    missing = [release for release in releases if not release.complete]
    result = {
        "changed": bool(missing),
        "releases": {release.app.name: release.facts() for release in releases},
        "wanted_archives": [],
        "diff": [
            {
                "before": f"{release.app.linked_release('current') or 'no release'}\n",
                "after": f"{release.id}\n",
                "before_header": f"release of {release.app.name}",
                "after_header": f"release of {release.app.name}",
            }
            for release in missing
        ],
    }
    for app, entry in apps:
        if entry["state"] == "absent" and retire(app, entry["purge"], check_mode):
            result["changed"] = True
    if check_mode:
        return result
    wanted = [release.app.name for release in missing if release.app.source.get("path") and not release.app.archive]
    if wanted:
        return {**result, "wanted_archives": wanted}
    for release in releases:
        if Builder(release).ensure():
            result["changed"] = True
    return result


def app_of(entry: dict, params: dict) -> App:
    return App(
        name=entry["name"],
        user=entry["name"],
        root=params["root"].format_map(entry),
        source=entry["source"],
        python=params["python"],
        wsgi=entry["wsgi"],
        requirements=entry["requirements"],
        extra_requirements=tuple(params["extra_requirements"]),
        shared_paths=tuple(entry["shared_paths"]),
        static_path=entry["static_path"],
        environment_file=params["environment_file"].format_map(entry),
        migrate=entry["migrate"],
        migrate_timeout=entry["migrate_timeout"],
        keep=params["keep"],
        archive=params["archives"].get(entry["name"], ""),
    )


def release_of(app: App, pinned: str | None, check_mode: bool) -> Release:
    """The release that is asked for by name, or else the one that the app's inputs give."""
    try:
        return find(app, pinned) if pinned else resolve(app)
    except ReleaseError as error:
        raise ReleaseError(f"{app.name}: {error}") from error
    except (CommandError, KeyError, OSError) as error:
        if check_mode and not os.path.isdir(app.build):
            # A fresh host: what the real run installs and creates before this step is not there yet.
            return Release(app, UNKNOWN, UNKNOWN, UNKNOWN)
        raise ReleaseError(f"{app.name}: {error}") from error


if __name__ == "__main__":
    main()
