#!/usr/bin/python
# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Manage a set of configuration files in one transaction
version_added: 0.1.0
description:
  - Renders templates on the controller and updates files, directories and symbolic links in one round trip to the host.
  - If O(validate) is given and fails, all new files are rolled back before the task fails, so that a service never
    reads an invalid configuration.
  - When O(reload) is given, the units are reloaded after a change. A run that was interrupted between the change
    and the reload is remembered on the host, and the next run reloads.
  - Runs in check mode and shows a diff, except for the content of secret files.
extends_documentation_fragment:
  - flask_ops.production.common
  - flask_ops.production.common.changes
  - flask_ops.production.common.action
seealso:
  - module: ansible.builtin.template
options:
  files:
    description: The files, directories and links, in this order; a directory comes before its contents.
    type: list
    elements: dict
    required: true
    suboptions:
      dest:
        description:
          - Absolute path on the host.
          - With O(files[].each), one that ends with a slash is a directory, in which the file has the item's name.
        type: str
      path:
        description: With O(files[].each), in place of O(files[].dest), a key of the item's C(paths).
        type: str
      src:
        description: Template in the role's C(templates/) folder that becomes the file's content.
        type: str
      content:
        description: The file's content, where no template is needed.
        type: str
      zipapp:
        description:
          - A module util of this collection, such as C(_timers.main), of which the file is made as a program; C(python3) runs
            it without Ansible.
          - Contains everything that the module util imports from the collection.
        type: str
      copy_of:
        description: A file on the host to copy the content from.
        type: str
      copy_path:
        description: In place of O(files[].copy_of), a key of the C(paths) of the app.
        type: str
      copy_changes:
        description: In check mode, files that a run would have changed before this task copies one of them.
        type: list
        elements: str
      target:
        description: Target of a symbolic link.
        type: str
      target_path:
        description: In place of O(files[].target), a key of the item's C(paths).
        type: str
      state:
        description:
          - The kind of O(files[].dest).
          - The default is V(file) when O(files[].src), O(files[].content), O(files[].zipapp) or O(files[].copy_of) is given,
            V(link) when O(files[].target) is given, else V(directory).
          - V(files) is a directory with the files that its content describes, a JSON object of texts by name, and no others;
            or a copy of another directory's files.
          - V(touch) is a file with whatever others write into it, such as a log. It is made empty where there is none.
          - V(absent) removes a directory with all that is in it.
        type: str
        choices: [file, touch, directory, files, link, absent]
      each:
        description:
          - Makes one entry per item of this list. The template sees the item under the name given as O(files[].as).
          - An item whose key C(state) is V(absent) makes the entry V(absent).
        type: list
        elements: dict
      as:
        description: The name under which the template sees the item of O(files[].each). By default, C(app).
        type: str
      mode:
        description: Permissions as an octal string. The default is V(0755) for a directory and V(0644) for a file.
        type: str
      owner:
        description: Name of the owning user.
        type: str
        default: root
      group:
        description: Name of the owning group.
        type: str
        default: root
      app_group:
        description: Whether the item's name is the name of the owning group.
        type: bool
        default: false
      item:
        description: Set by the action plugin.
        type: str
      binary:
        description: Set by the action plugin.
        type: str
      secret:
        description: Whether the content must never be shown, neither as a diff nor in the task's arguments.
        type: bool
        default: false
  secrets:
    description: Set by the action plugin.
    type: dict
    default: {}
  validate:
    description:
      - A command, run on the host after the files are written, that must exit with status 0.
      - It also runs when no file differs, so that a file that was written by hand and is wrong is noticed.
    type: str
  refuse:
    description: A regular expression. Warnings of O(validate) that match it are errors.
    type: str
  isolate:
    description:
      - Whether an item of O(files[].each) whose files O(validate) refuses is left as it was, and all others are applied.
      - The item's key C(name) identifies it in RV(failures).
    type: bool
    default: false
  reload:
    description:
      - The systemd units that read these files. When a file has changed, one that is active is reloaded.
      - One that is not active is started, also when no file has changed.
      - When one does not run afterwards, or runs with its old configuration, every file is put back, and those that ran
        before are started again.
    type: list
    elements: str
  reload_log:
    description:
      - Log file of a unit whose master process starts new workers after each reload, as nginx does. A reload without new
        workers failed, and this file has the reason.
    type: str
  stop:
    description: Units that are to run no more, once the files are written. One that systemd does not know is fine.
    type: list
    elements: str
attributes:
  diff_mode: {details: The content of secret files is not shown.}
"""

EXAMPLES = r"""
- name: Write nginx's files, test them, reload nginx
  flask_ops.production.config_files:
    files:
      - src: nginx.conf.j2
        dest: /etc/nginx/nginx.conf
      - src: site.conf.j2
        path: site
        each: "{{ prepared.apps }}"
    validate: nginx -t
    isolate: true
    reload: nginx.service
    reload_log: /var/log/nginx/error.log
"""

RETURN = r"""
changed_files:
  description: The paths that were changed.
  returned: always
  type: list
  elements: str
reloaded:
  description: Whether the units were reloaded or started.
  returned: always
  type: bool
failures:
  description: By name of the item, the reason why its files are as they were before. Only O(isolate) fills it.
  returned: always
  type: dict
"""

import contextlib
import re
import shlex
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import set_umask
from ansible_collections.flask_ops.production.plugins.module_utils._host.reload import (
    clear_pending,
    is_active,
    is_pending,
    mark_pending,
    reload_unit,
)
from ansible_collections.flask_ops.production.plugins.module_utils._host.systemd import systemctl
from ansible_collections.flask_ops.production.plugins.module_utils._host.transaction import (
    Change,
    Entry,
    Transaction,
)

UNITS = "/etc/systemd/system/"
"""systemd reads the files below it only at a daemon-reload."""

PLACE = re.compile(r"(/[^\s:\"']+):([0-9]+)")
"""A file and a line, as programs name them in their errors."""


# The documented options; the action plugin of the same name has rendered each file, with its path and state.
FILE = {
    **{
        key: {"type": "str"}
        for key in "dest path src content zipapp copy_of copy_path target target_path as mode item".split()
    },
    "state": {"type": "str", "choices": ["file", "touch", "directory", "files", "link", "absent"]},
    "copy_changes": {"type": "list", "elements": "str"},
    "each": {"type": "list", "elements": "dict"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "app_group": {"type": "bool", "default": False},
    "secret": {"type": "bool", "default": False},
    # Compressed, and in base64. Nobody wants to read it in a log.
    "binary": {"type": "str", "no_log": True},
}
OPTIONS = {
    "files": {"type": "list", "elements": "dict", "options": FILE, "required": True},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "validate": {"type": "str"},
    "refuse": {"type": "str"},
    "isolate": {"type": "bool", "default": False},
    "reload": {"type": "list", "elements": "str"},
    "reload_log": {"type": "str"},
    "stop": {"type": "list", "elements": "str"},
}


def main() -> None:
    set_umask()
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    try:
        module.exit_json(**ensure_files(module.params, module.check_mode))
    except (CommandError, OSError, KeyError) as error:
        module.fail_json(msg=str(error))


class Refused(CommandError):
    """The files that are on the host now are refused."""

    def __init__(self, message: str, items: set[str]) -> None:
        super().__init__(message)
        self.items = items
        """The items whose files the message is about."""


def ensure_files(params: dict, check_mode: bool) -> dict:
    """Plan, apply, validate, reload; or take everything back."""
    wanted, units = entries(params, must_exist=not check_mode), params["reload"] or []
    changes, idle = Transaction(wanted).plan(), [unit for unit in units if not is_active(unit)]
    unread = [unit for unit in units if is_pending(unit)]
    unwanted = [unit for unit in params["stop"] or [] if is_active(unit)]
    result: dict[str, t.Any] = {
        "changed": bool(changes or unread or idle or unwanted),
        "changed_files": [change.entry.dest for change in changes],
        "diff": [change.diff() for change in changes],
        "reloaded": False,
        "failures": {},
    }
    if not check_mode:
        Transaction(wanted).clean()
    if not changes:
        validate(params, wanted)
    if check_mode or not result["changed"]:
        return result
    if changes or unread or idle:
        changes, result["failures"] = carry_out(wanted, params, idle, unread)
        result["reloaded"] = bool(units) and bool(changes or unread or idle)
        result["changed"] = bool(changes or unread or idle or unwanted)
        result["changed_files"] = [change.entry.dest for change in changes]
        result["diff"] = [change.diff() for change in changes]
    for unit in unwanted:
        systemctl("stop", unit)
    return result


def carry_out(
    wanted: list[Entry], params: dict, idle: list[str], unread: list[str]
) -> tuple[list[Change], dict[str, str]]:
    """Write, validate, reload or start; or take everything back.

    :param idle: units that do not run before.
    :param unread: units that have not read the files of an interrupted run.
    :return: the changes that were made, and the items that were left as they were, each with the reason.
    """
    units = params["reload"] or []
    for unit in units:
        mark_pending(unit)
    try:
        transaction, changes, failures = apply_valid(wanted, params)
    except CommandError as error:
        forget_all(units, unread)
        raise CommandError(f"The new configuration was refused; every file is as it was before.\n{error}") from error
    new_units = any(change.entry.dest.startswith(UNITS) for change in changes)
    asked: list[str] = []
    try:
        if new_units:
            systemctl("daemon-reload")
        for unit in units if changes or unread or idle else []:
            asked.append(unit)
            reload_unit(unit, params["reload_log"])
    except CommandError as error:
        transaction.revert()
        if new_units:
            with contextlib.suppress(CommandError):
                systemctl("daemon-reload")
        # One that refused the new files may still be at them: its mark stays, and the next run reloads it.
        forget_all([unit for unit in units if unit not in asked], unread)
        for unit in asked:
            if unit not in idle and (unit != asked[-1] or not is_active(unit)):
                with contextlib.suppress(CommandError):
                    systemctl("reload-or-restart", unit)
        taken_back = "The reload failed; every file is as it was before.\n" if changes else ""
        raise CommandError("\n".join([f"{taken_back}{error}", *failures.values()])) from error
    transaction.commit()
    forget_all(units, [])
    return changes, failures


def apply_valid(wanted: list[Entry], params: dict) -> tuple[Transaction, list[Change], dict[str, str]]:
    """Write the files, without those of items that are refused; or nothing, if the rest is refused too."""
    failures: dict[str, str] = {}
    while True:
        transaction = Transaction([entry for entry in wanted if entry.item not in failures])
        changes = transaction.plan()
        transaction.apply()
        try:
            validate(params, wanted, set(failures))
            return transaction, changes, failures
        except Refused as error:
            transaction.revert()
            changed = {change.entry.item for change in changes}
            blamed = error.items & changed - {""}
            if not params["isolate"] or not blamed:
                raise CommandError("\n".join(dict.fromkeys([*failures.values(), str(error)]))) from error
            failures |= dict.fromkeys(blamed, str(error))


def validate(params: dict, wanted: list[Entry], tolerated: t.Collection[str] = ()) -> None:
    """Ask the command whether the files that are on the host now are right.

    :param tolerated: items whose warnings are known: their files are as they were before.
    :raises Refused: with the lines that the message names, which may be gone a moment later.
    """
    if not params["validate"]:
        return
    try:
        said = run(shlex.split(params["validate"]), warnings=True)
    except CommandError as error:
        message = "\n".join(line for line in str(error).splitlines() if "[warn]" not in line)
        raise Refused(explained(message, wanted), items_of(message, wanted)) from error
    if params["refuse"]:
        lines = [line for line in said.splitlines() if re.search(params["refuse"], line)]
        lines = [line for line in lines if not items_of(line, wanted) & set(tolerated)]
        if lines:
            message = "\n".join(lines[:1] if params["isolate"] else lines)
            raise Refused(message, items_of(message, wanted))


def items_of(message: str, wanted: list[Entry]) -> set[str]:
    """The items that a message is about: of the file that it names, or of the files that hold the path or name it quotes."""
    places = {path for path, _line in PLACE.findall(message)}
    named = {entry.item for entry in wanted if entry.dest in places} - {""}
    quoted = places or {text for text in re.findall(r'"([^"\s]+)"', message) if re.search(r"[/.]", text)}
    return named or {entry.item for entry in wanted if any(text.encode() in entry.content for text in quoted)} - {""}


def explained(message: str, wanted: list[Entry]) -> str:
    """A message with the lines that it names, or with a word on whose file it is."""
    ours = {entry.dest: entry for entry in wanted}
    for path, number in dict.fromkeys(PLACE.findall(message)):
        if path not in ours:
            message += f"\n{path} was not written by this collection: correct it, or remove it."
        elif not ours[path].secret:
            with contextlib.suppress(OSError, IndexError), open(path, encoding="utf-8", errors="replace") as stream:
                message += f"\nLine {number} of {path}: {stream.read().splitlines()[int(number) - 1].strip()}"
    return message


def forget_all(units: list[str], unread: list[str]) -> None:
    for unit in units:
        if unit not in unread:
            clear_pending(unit)


def entries(params: dict, must_exist: bool) -> list[Entry]:
    return [Entry.from_params(file, must_exist, params["secrets"]) for file in params["files"]]


if __name__ == "__main__":
    main()
