#!/usr/bin/python
# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: packages
short_description: Install Debian packages that are missing
version_added: 0.1.0
description:
  - Finds missing packages with C(dpkg-query), and installs them with C(apt-get), without recommended packages and with
    up-to-date package lists, in one transaction. Modified configuration files are kept.
  - Needs no python3-apt, unlike M(ansible.builtin.apt), which installs that first, in a transaction of its own, and then
    reads all lists of packages once more. On a new server, that would be a third of the time.
  - A name that no package has, and that an installed package provides, is not missing. So is C(libmagic1) on Debian 13, where
    C(libmagic1t64) provides it.
  - Completes an installation that was interrupted, by C(dpkg --configure -a) and C(apt-get --fix-broken install), when C(apt-get)
    asks for that.
  - Waits up to five minutes for another process that holds a lock of apt or dpkg. The timers of a new server do, in its
    first minutes.
extends_documentation_fragment:
  - flask_ops.production.common
  - flask_ops.production.common.changes
seealso:
  - module: ansible.builtin.apt
options:
  names:
    description: Names of packages, without versions and architectures.
    type: list
    elements: str
    required: true
  apps:
    description:
      - The packages that each app needs in addition, by the app's name.
      - Where apt-get cannot install all of them with O(names), it installs those of each app by themselves. An app whose packages
        cannot be installed, such as one that names an unknown package, is in RV(failures).
    type: dict
    default: {}
  masked:
    description:
      - Units to mask (C(systemctl mask)) before anything is installed. Debian starts the services of a package when it
        installs it.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Install nginx
  flask_ops.production.packages:
    names: [nginx, openssl]
"""

RETURN = r"""
missing:
  description: The packages that were missing.
  returned: always
  type: list
  elements: str
failures:
  description: By the app's name, why its packages cannot be installed. All others are.
  returned: success
  type: dict
  sample: {}
"""

import os
import re
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import link, set_umask
from ansible_collections.flask_ops.production.plugins.module_utils._host.systemd import systemctl

UNITS = "/etc/systemd/system"
LOCK_TIMEOUT = 300
"""Seconds to wait for another process that holds a lock."""

POLL_INTERVAL = 2
"""Seconds between two attempts to lock the lists, for which apt does not wait."""

APT_ENV = {"DEBIAN_FRONTEND": "noninteractive", "DEBIAN_PRIORITY": "critical", "LC_ALL": "C.UTF-8"}
"""No questions, and messages in English: those about locks are matched."""

INTERRUPTED = re.compile(r"dpkg --configure -a|--fix-broken install")
"""The remedies that apt names after an interrupted installation."""

APT_TIMEOUT = 3600
"""Seconds for apt: a mirror may be slow, and dpkg must not be killed."""


def main() -> None:
    set_umask()
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "apps": {"type": "dict", "default": {}},
            "masked": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    names, apps, failures = module.params["names"], module.params["apps"], {}
    wanted = list(dict.fromkeys([*names, *(name for packages in apps.values() for name in packages)]))
    try:
        installed = installed_names(wanted)
        missing = [name for name in wanted if name not in installed]
        unmasked = [unit for unit in module.params["masked"] if not is_masked(unit)]
        if unmasked and not module.check_mode:
            mask(unmasked)
        if missing and not module.check_mode:
            lacking = {app: [name for name in packages if name in missing] for app, packages in apps.items()}
            failures = install([name for name in names if name in missing], lacking)
    except (CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    after = "".join([*(f"mask {unit}\n" for unit in unmasked), *(f"{name}\n" for name in missing)])
    diff = {"before": "", "after": after, "after_header": "packages to install"} if after else {}
    module.exit_json(changed=bool(missing or unmasked), missing=missing, failures=failures, diff=diff)


def installed_names(wanted: t.Collection[str] = ()) -> set[str]:
    """The names of all packages that the host has, and of those wanted ones that only others provide."""
    shown = run(["dpkg-query", "--show", "--showformat=${Package}\t${db:Status-Status}\t${Provides}\n"])
    lines = (line.split("\t") for line in shown.splitlines())
    present = [(name, provides) for name, status, provides in lines if status == "installed"]
    names = {name for name, _provides in present}
    provided = {item.split()[0] for _name, provides in present for item in provides.split(",") if item.strip()}
    return names | only_provided(sorted((provided & set(wanted)) - names))


def only_provided(names: list[str]) -> set[str]:
    """Those names that no package has. Of a name that a package has, apt installs that package, whatever provides it."""
    if not names:
        return set()
    policy = run(["apt-cache", "policy", *names], env={**os.environ, **APT_ENV})
    real = re.findall(r"(?m)^(\S+):\n  Installed: .*\n  Candidate: (?!\(none\))", policy)
    return set(names) - set(real)


def install(names: list[str], apps: t.Mapping[str, list[str]]) -> dict[str, str]:
    """Install packages, and those of apps, in one transaction, or in one for each app where that does not work.

    :return: by the app's name, why its packages cannot be installed.
    :raises CommandError: with what apt-get said; with the lists that it could not fetch, if it then lacked something.
    """
    unfetched = update()
    of_apps = {app: packages for app, packages in apps.items() if packages}
    together = list(dict.fromkeys([*names, *(name for packages in of_apps.values() for name in packages)]))
    try:
        transaction(together, unfetched)
        return {}
    except CommandError:
        if not of_apps:
            raise
    if names:
        transaction(names, unfetched)
    failures = {}
    for app, packages in of_apps.items():
        try:
            transaction(packages, unfetched)
        except CommandError as error:
            failures[app] = f"{app}: packages: {', '.join(packages)} cannot be installed. {error}"
    return failures


def transaction(names: list[str], unfetched: str) -> None:
    """Install packages in one transaction.

    :param unfetched: what apt-get said of the lists that it could not fetch.
    """
    keep = ["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"]
    wait = ["-o", f"DPkg::Lock::Timeout={LOCK_TIMEOUT}"]
    options = ["--yes", "--no-install-recommends", *keep, *wait]
    try:
        try:
            apt_get("install", *options, "--", *names)
        except CommandError as error:
            if not INTERRUPTED.search(str(error)):
                raise
            dpkg = ["dpkg", "--force-confdef", "--force-confold", "--configure", "--pending"]
            run(dpkg, env={**os.environ, **APT_ENV}, timeout=APT_TIMEOUT)
            apt_get("--fix-broken", "install", *options)
            apt_get("install", *options, "--", *names)
    except CommandError as error:
        raise CommandError(f"{error}\n{unfetched}".rstrip()) from error


def update() -> str:
    """Fetch the lists of packages, and return what was said of those that cannot be had now.

    ``DPkg::Lock::Timeout`` is not for their lock.
    """
    end = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            output = apt_get("update", warnings=True)
        except CommandError as error:
            if "Could not get lock" not in str(error) or time.monotonic() >= end:
                raise
            time.sleep(POLL_INTERVAL)
        else:
            return "\n".join(line for line in output.splitlines() if line.startswith(("W:", "E:")))


def apt_get(*words: str, warnings: bool = False) -> str:
    return run(["apt-get", "--quiet", *words], env={**os.environ, **APT_ENV}, timeout=APT_TIMEOUT, warnings=warnings)


def is_masked(unit: str) -> bool:
    path = os.path.join(UNITS, unit)
    return os.path.islink(path) and os.readlink(path) == "/dev/null"


def mask(units: list[str]) -> None:
    """What ``systemctl mask`` does, which refuses a unit that is not there yet."""
    for unit in units:
        link(os.path.join(UNITS, unit), "/dev/null")
    systemctl("daemon-reload")


if __name__ == "__main__":
    main()
