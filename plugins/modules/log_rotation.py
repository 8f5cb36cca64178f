#!/usr/bin/python
# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: log_rotation
short_description: Configure logrotate
version_added: 0.1.0
description:
  - Writes one file per entry into C(/etc/logrotate.d), rendered on the controller, in one round trip.
  - Before anything changes, C(logrotate -d) validates a copy of the whole configuration with the changes. New errors
    are refused; existing errors in other files are not.
  - Refuses a path that another file also covers, even by a wildcard. logrotate would skip one of the two.
  - Replaces the file of a package when an entry has its name, and covers all that the package's file covered.
  - Runs in check mode and shows a diff. In check mode, the user and logrotate need not exist yet.
author: [the flask_ops.production authors (@flask-ops)]
options:
  logs:
    description:
      - The entries, complete, as in the role C(logrotate). In every text, C({name}) stands for the entry's name.
      - The file of an entry whose state is V(absent) is removed.
    type: list
    elements: dict
    required: true
  src:
    description: Template in the role's C(templates/) folder. It sees an entry as C(log).
    type: str
    required: true
attributes:
  check_mode:
    description: Predicts the changes without making them.
    support: full
  diff_mode:
    description: Shows each file before and after.
    support: full
"""

EXAMPLES = r"""
- name: Describe the rotation of each log
  flask_ops.production.log_rotation:
    logs: "{{ __logrotate_logs }}"
    src: rotation.j2
"""

RETURN = r"""
changed_files:
  description: The paths that were changed.
  returned: success
  type: list
  elements: str
"""

import os
import re
import shutil
import tempfile
from itertools import combinations

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import (
    FILE_OPTIONS,
    Entry,
    Transaction,
    ensure_directory,
    set_umask,
)
from ansible_collections.flask_ops.production.plugins.module_utils._logs.rotation import MARKER, Answer, ask, overlap

MAIN = "/etc/logrotate.conf"
DIRECTORY = "/etc/logrotate.d"
INCLUDE = re.compile(rf"^[ \t]*include[ \t]+{re.escape(DIRECTORY)}/?[ \t]*$", re.MULTILINE)


def main() -> None:
    set_umask()
    # The action plugin of the same name has rendered one file for each entry.
    paths = {"type": "list", "elements": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "list", "elements": "dict", "options": {**FILE_OPTIONS, "paths": paths}, "required": True}
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**bring_to_state(module.params["files"], module.check_mode))
    except (CommandError, OSError, KeyError) as error:
        module.fail_json(msg=str(error))


def bring_to_state(files: list[dict], check_mode: bool) -> dict:
    """Plan; ask logrotate about the result; only then make it so."""
    entries = [Entry.from_params(file) for file in files]
    transaction = Transaction(entries)
    changes = transaction.plan()
    # Also when nothing of ours changes: somebody else may have begun to rotate the same file.
    if not check_mode or shutil.which("logrotate"):
        refused = objections(files, entries, check_mode)
        if refused:
            raise CommandError("\n".join(["Nothing was changed.", *(f"- {objection}" for objection in refused)]))
    if not check_mode:
        transaction.apply()
        transaction.commit()
    return {
        "changed": bool(changes),
        "changed_files": [change.entry.dest for change in changes],
        "diff": [change.diff() for change in changes],
    }


def objections(files: list[dict], entries: list[Entry], check_mode: bool) -> list[str]:
    """What speaks against the new files: ours among each other, then beside everybody else's."""
    present = [(entry, file["paths"]) for entry, file in zip(entries, files, strict=True) if entry.kind == "file"]
    before = ask_with({}, leave_out=[entry.dest for entry in entries])
    after = ask_with(
        {entry.dest: entry.content for entry, _rest in present}, leave_out=[entry.dest for entry in entries]
    )
    ours = [(entry.dest, path) for entry, paths in present for path in paths]
    found = [
        f"{path} in {dest} is also covered by {other} in {place}"
        for (dest, path), (place, other) in combinations(ours, 2)
        if overlap(path, other)
    ]
    found += [
        f"{path} in {dest} is also covered by {other} in {whose(other, entries)}; logrotate would skip one of them. "
        "Take it out there, or leave it out here"
        for dest, path in ours
        for other in before.patterns
        if overlap(path, other)
    ]
    found += [
        f"{entry.dest} belongs to somebody else and covers {pattern}, which the entry of this name does not; "
        "add the path, or choose another name"
        for entry, paths in present
        for pattern in theirs(entry.dest)
        if pattern not in paths
    ]
    if not found:
        found = [f"logrotate says: {error}" for error in after.errors if error not in before.errors]
    unknown = re.compile(r"unknown (user|group) '")
    return [objection for objection in found if not (check_mode and unknown.search(objection))]


def ask_with(ours: dict[str, bytes], leave_out: list[str]) -> Answer:
    """What logrotate says about the configuration of the host with our files as given, in a copy."""
    with open(MAIN, encoding="utf-8") as stream:
        main_text = stream.read()
    if not INCLUDE.search(main_text):
        raise CommandError(f"{MAIN} does not say 'include {DIRECTORY}': what is written there would not be read")
    with tempfile.TemporaryDirectory() as copy:
        directory = os.path.join(copy, "logrotate.d")
        ensure_directory(directory)
        for item in os.scandir(DIRECTORY):
            if item.is_file() and item.path not in leave_out:
                shutil.copy(item.path, directory)
        for path, content in ours.items():
            with open(os.path.join(directory, os.path.basename(path)), "wb") as file:
                file.write(content)
        configuration = os.path.join(copy, "logrotate.conf")
        with open(configuration, "w", encoding="utf-8") as stream:
            stream.write(INCLUDE.sub(f"include {directory}", main_text))
        return ask(configuration)


def whose(pattern: str, entries: list[Entry]) -> str:
    """The file of somebody else that says this pattern."""
    ours = {entry.dest for entry in entries}
    for item in sorted(os.scandir(DIRECTORY), key=lambda item: item.name):
        if item.is_file() and item.path not in ours and pattern in ask(item.path).patterns:
            return item.path
    return MAIN


def theirs(path: str) -> list[str]:
    """The patterns of a file that we would replace and did not write."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            ours = MARKER in stream.read()
    except FileNotFoundError:
        return []
    return [] if ours else ask(path).patterns


if __name__ == "__main__":
    main()
