#!/usr/bin/python
# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: python_release
short_description: Build releases of apps
version_added: 0.1.0
description:
  - A release is a directory that holds an app's code and its virtual environment and never changes once it is complete.
    Its ID is derived from its inputs, so the same inputs give the same release, and a second run changes nothing.
  - A new release is built, and imported once as the app's user in the app's environment and sandbox; its settings are
    checked, also those of the live release whenever they change. The module does not make a release live.
  - With O(step=migrate), the migration of a release is run, unless it has been.
  - A virtual environment is built once, and shared by all releases of an app with the same dependencies.
  - One run at a time works on an app; another one waits for O(lock_timeout) seconds.
  - If any step fails, the live release stays live. An incomplete release is built again by the next run. The module
    does not fail then, but completes the other apps, and returns the error in RV(failures).
  - Old releases are deleted, but never what the links C(current) and C(previous) point to.
extends_documentation_fragment:
  - flask_ops.production.common
  - flask_ops.production.common.apps
  - flask_ops.production.common.run
  - flask_ops.production.common.changes
  - flask_ops.production.common.action
seealso:
  - module: flask_ops.production.prepare_apps
  - module: flask_ops.production.app_slots
  - module: flask_ops.production.app_processes
options:
  python:
    description: The interpreter that virtual environments are made from, by its path or its version.
    type: str
    default: /usr/bin/python3
  python_mirror:
    description: URL of a mirror of python-build-standalone, for a Python that the host does not have.
    type: str
    default: ""
  step:
    description: Whether to build and check releases, or to run the migrations of releases that were built.
    type: str
    choices: [build, migrate]
    default: build
  lock_timeout:
    description: Seconds to wait for another run that works on the same app; then this one fails, and names it.
    type: int
    default: 300
  proxies:
    description:
      - The HTTP proxies that builds use, as environment variables such as C(https_proxy) and C(no_proxy).
      - Those in the environment of the task are used as well.
    type: raw
  extra_requirements:
    description:
      - Packages for each environment that the app's own requirements do not include; lines of a requirements file.
    type: list
    elements: str
    default: []
  extra_requirements_of:
    description: By the app's name, additional packages for its environment, in the same form.
    type: dict
    default: {}
  pinned:
    description:
      - Apps, by name, that should have a release that is on the host already, by its id; V(previous) is the one that
        was live before the current one.
    type: dict
    default: {}
  keep:
    description: How many releases to keep in addition to the current and the previous one.
    type: int
    default: 3
  uploads:
    description: Set by the action plugin, which has sent these files.
    type: dict
    default: {}
  secrets:
    description: Set by the action plugin. By the app's name, what its build needs and nobody may see.
    type: dict
    default: {}
attributes:
  diff_mode: {details: Shows the ids of the releases.}
"""

EXAMPLES = r"""
- name: Build the releases
  flask_ops.production.python_release:
    apps: "{{ prepared.apps }}"
"""

RETURN = r"""
releases:
  description: The release of each app that did not fail, by the app's name.
  returned: success
  type: dict
  sample:
    shop:
      id: 3f2c9a1b7d20-5e1c88aa
      path: /srv/shop/releases/3f2c9a1b7d20-5e1c88aa
      directory: /srv/shop/releases/3f2c9a1b7d20-5e1c88aa/app
      venv: /srv/shop/releases/3f2c9a1b7d20-5e1c88aa/venv
      revision: 3f2c9a1b7d20c9a1b7d203f2c9a1b7d203f2c9a1
      version: v1.4.2
      summary: "shop: release 3f2c9a1b7d20-5e1c88aa is https://git.example.com/acme/shop.git v1.4.2 at 3f2c9a1b7d20c9a1"
unmigrated:
  description: The apps whose release is ready, but for its migration.
  returned: success
  type: list
  elements: str
  sample: [shop]
failures:
  description: An error message for each app that failed, by its name.
  returned: success
  type: dict
  sample: {}
wanted_uploads:
  description: What the controller has to send before the releases can be built, an app's name and a kind each.
  returned: success
  type: list
  elements: str
"""

import contextlib
import json
import os
import pwd
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._host.failures import FailureOf
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import set_umask
from ansible_collections.flask_ops.production.plugins.module_utils._host.lock import RUN, LockedError, Run, Step
from ansible_collections.flask_ops.production.plugins.module_utils._host.secrets import decode_secret
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import App, ReleaseError
from ansible_collections.flask_ops.production.plugins.module_utils._release.builder import Builder
from ansible_collections.flask_ops.production.plugins.module_utils._release.cleanup import obsolete, remove_app
from ansible_collections.flask_ops.production.plugins.module_utils._release.release import Release, find, resolve
from ansible_collections.flask_ops.production.plugins.module_utils._release.sources import has_wheelhouse
from ansible_collections.flask_ops.production.plugins.module_utils._release.uv import ensure_python, interpreter

# The documented options; the action plugin of the same name has taken the secrets out of each app, and added checksums.
OPTIONS: dict[str, dict[str, t.Any]] = {
    "apps": {"type": "list", "elements": "dict", "required": True},
    "step": {"type": "str", "choices": ["build", "migrate"], "default": "build"},
    "lock_timeout": {"type": "int", "default": 300},
    "python": {"type": "str", "default": "/usr/bin/python3"},
    "python_mirror": {"type": "str", "default": ""},
    "proxies": {"type": "raw", "no_log": True},
    "extra_requirements": {"type": "list", "elements": "str", "default": []},
    "extra_requirements_of": {"type": "dict", "default": {}},
    "pinned": {"type": "dict", "default": {}},
    "keep": {"type": "int", "default": 3},
    "uploads": {"type": "dict", "default": {}},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "run": RUN,
}

UNKNOWN = "known-after-the-build"
"""The id in check mode, where it cannot be found out on a host that lacks git or the app's user."""


def main() -> None:
    set_umask()
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    os.environ.update(json.loads(decode_secret(module.params["proxies"]) or "{}"))
    result: dict = {
        "changed": False,
        "releases": {},
        "unmigrated": [],
        "wanted_uploads": [],
        "failures": {},
        "diff": [],
    }
    warnings: list[str] = []
    run = Run(**module.params["run"])
    for entry in module.params["apps"]:
        name, wait = entry["name"], module.params["lock_timeout"]
        with (
            FailureOf(name, result["failures"], ReleaseError, LockedError, CommandError, OSError),
            contextlib.nullcontext(Step(last=True)) if module.check_mode else run.lock(name, wait) as step,
        ):
            goes_on = work_on(entry, module.params, module.check_mode, result, warnings)
            step.last = not goes_on or (step.last and name not in result["unmigrated"])
    for warning in warnings:
        module.warn(warning)
    module.exit_json(**result)


def work_on(entry: dict, params: dict, check_mode: bool, result: dict, warnings: list[str]) -> bool:
    """Do the step with one app, and add to the result. The caller holds the app's lock.

    Return whether there is a release now, and the app's deploy goes on.
    """
    app = app_of(entry, params)
    if entry["state"] == "absent":
        result["changed"] |= remove_app(app, entry["purge"], check_mode)
        return False
    if check_mode and params["step"] == "migrate":
        # The caller has chosen the apps that need a migration. Their releases may not be there yet.
        result["changed"] = True
        return False
    if not check_mode:
        require_user(app)
        if app.name not in params["pinned"]:
            ensure_python(app.python, params["python_mirror"])
    release = release_of(app, params["pinned"].get(app.name), check_mode)
    builder = Builder(release, warnings=warnings)
    wanted = [] if release.complete or check_mode else [f"{app.name}/{kind}" for kind in missing_uploads(app)]
    if wanted:
        result["wanted_uploads"] += wanted
        return False
    if not release.complete:
        result["changed"] = True
        result["diff"].append(
            {
                "before": f"{app.linked_release('current') or 'no release'}\n",
                "after": f"{release.id}\n",
                "before_header": f"release of {app.name}",
                "after_header": f"release of {app.name}",
            }
        )
    if check_mode:
        result["changed"] |= release.complete and bool(obsolete(release))
    elif params["step"] == "migrate":
        builder.migrate()
    else:
        builder.ensure()
    result["changed"] |= builder.changed
    result["releases"][app.name] = release.facts()
    if builder.unmigrated:
        result["unmigrated"].append(app.name)
    return True


def require_user(app: App) -> None:
    """The app's user owns all that a build writes. Only ``site.yml`` creates it."""
    try:
        pwd.getpwnam(app.user)
    except KeyError:
        raise ReleaseError(
            f"{app.name}: this host has no user '{app.user}' yet. Run site.yml first, which prepares the host for the app; "
            "nothing was changed."
        ) from None


def missing_uploads(app: App) -> list[str]:
    """What the controller has to send before a release of an app can be built."""
    kinds = []
    if app.source.get("uploaded") and "source" not in app.uploads:
        kinds.append("source")
    if app.wheelhouse and "wheelhouse" not in app.uploads and not has_wheelhouse(app):
        kinds.append("wheelhouse")
    return kinds


def app_of(entry: dict, params: dict) -> App:
    secrets = {name: decode_secret(word) for name, word in params["secrets"].get(entry["name"], {}).items()}
    build_env = json.loads(secrets.get("build_env") or "{}")
    return App(
        entry,
        user=entry["name"],
        root=entry["paths"]["root"],
        python=interpreter(entry["python"] or params["python"]),
        deploy_key=secrets.get("deploy_key", ""),
        git_token=secrets.get("token", ""),
        extra_index=secrets.get("extra_index", ""),
        server_requirements=(*params["extra_requirements"], *params["extra_requirements_of"].get(entry["name"], ())),
        build_env=tuple(sorted((key, text_of(value)) for key, value in build_env.items())),
        environment_file=entry["paths"]["environment"],
        credentials_directory=entry["paths"]["credentials"],
        keep=params["keep"],
        uploads=params["uploads"].get(entry["name"], {}),
    )


def text_of(value: t.Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def release_of(app: App, pinned: str | None, check_mode: bool) -> Release:
    """The release that is asked for by name, or else the one that the app's inputs give."""
    try:
        return find(app, pinned) if pinned else resolve(app)
    except ReleaseError as error:
        raise ReleaseError(f"{app.name}: {error}") from error
    except (CommandError, KeyError, OSError) as error:
        if check_mode and not (os.path.isdir(app.build_directory) and os.path.exists(app.python)):
            # A fresh host: what the real run installs and creates before this step is not there yet.
            return Release(app, UNKNOWN, UNKNOWN, UNKNOWN)
        raise ReleaseError(f"{app.name}: {error}") from error


if __name__ == "__main__":
    main()
