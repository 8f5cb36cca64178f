#!/usr/bin/python
# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Bring a set of configuration files to its state as one transaction
version_added: 0.1.0
description:
  - Renders templates on the controller and brings files, directories and symbolic links to their state in
    one round trip to the host.
  - When O(validate) is given and refuses the new files, all of them are taken back before the task fails,
    so that a service never meets a configuration that it would refuse.
  - When O(reload) is given, the units are reloaded after a change. A run that was interrupted between the change
    and the reload is remembered on the host, and the next run reloads.
  - Runs in check mode and shows a diff, except for the content of secret files.
author: [the flask_ops.production authors (@flask-ops)]
options:
  files:
    description: What should be there, in this order; a directory comes before what it holds.
    type: list
    elements: dict
    required: true
    suboptions:
      dest:
        description:
          - Absolute path on the host.
          - With O(files[].each), C({key}) stands for that key of the item.
        type: str
        required: true
      src:
        description:
          - Template in the role's C(templates/) folder that becomes the file's content; C({key}) as in
            O(files[].dest).
        type: str
      content:
        description: The file's content, where no template is needed.
        type: str
      copy_of:
        description: A file on the host whose content this one should have.
        type: str
      copy_changes:
        description: In check mode, files that a run would have changed before this task copies one of them.
        type: list
        elements: str
      target:
        description: What a symbolic link points to.
        type: str
      state:
        description:
          - What should be at O(files[].dest).
          - The default is V(file) when O(files[].src), O(files[].content) or O(files[].copy_of) is given,
            V(link) when O(files[].target) is given, else V(directory).
          - V(touch) is a file with whatever others write into it, such as a log. It is made empty where there is none.
          - V(absent) removes a directory with all that is in it.
        type: str
        choices: [file, touch, directory, link, absent]
      each:
        description:
          - Makes one entry per item of this list. The template sees the item under the name given as O(files[].as).
          - An item whose key C(state) is V(absent) makes the entry V(absent).
        type: list
        elements: dict
      as:
        description: The name under which the template sees the item of O(files[].each).
        type: str
        default: item
      mode:
        description: Permissions as an octal string. The default is V(0755) for a directory and V(0644) for a file.
        type: str
      owner:
        description: Name of the owning user; C({key}) as in O(files[].dest).
        type: str
        default: root
      group:
        description: Name of the owning group; C({key}) as in O(files[].dest).
        type: str
        default: root
      secret:
        description: Whether the content must never be shown, neither as a diff nor in the task's arguments.
        type: bool
        default: false
  validate:
    description: A command, run on the host after the files are written, that must end with status 0.
    type: str
  refuse:
    description: A regular expression for what O(validate) only warns about. Files about which it says that are refused, too.
    type: str
  reload:
    description:
      - The systemd units that read these files. When a file has changed, one that is active is reloaded.
      - One that is not active is started, also when no file has changed.
      - When one does not run afterwards, every file is put back, and those that ran before are started again.
    type: list
    elements: str
  stop:
    description: Units that are to run no more, once the files are written. One that systemd does not know is fine.
    type: list
    elements: str
attributes:
  check_mode:
    description: Predicts the changes without making them.
    support: full
  diff_mode:
    description: Shows each file before and after.
    support: full
"""

EXAMPLES = r"""
- name: Write nginx's files, test them, reload nginx
  flask_ops.production.config_files:
    files:
      - src: nginx.conf.j2
        dest: /etc/nginx/nginx.conf
      - src: site.conf.j2
        dest: /etc/nginx/sites-enabled/{name}.conf
        each: "{{ nginx_proxy_sites }}"
        as: site
    validate: nginx -t
    reload: nginx.service
"""

RETURN = r"""
changed_files:
  description: The paths that were not what they should be.
  returned: always
  type: list
  elements: str
reloaded:
  description: Whether the units were reloaded or started.
  returned: always
  type: bool
"""

import contextlib
import re
import shlex
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flask_ops.production.plugins.module_utils._command import (
    CommandError,
    journal,
    run,
    systemctl,
    unit_properties,
)
from ansible_collections.flask_ops.production.plugins.module_utils._files import (
    FILE_OPTIONS,
    Change,
    Entry,
    Transaction,
    set_umask,
)
from ansible_collections.flask_ops.production.plugins.module_utils._pending import forget, remember, remembered

UNITS = "/etc/systemd/system/"
"""systemd reads what is here only when it is told to."""


def main() -> None:
    set_umask()
    # The action plugin of the same name has expanded `each`, rendered `src` and told secret files from others.
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "list", "elements": "dict", "options": FILE_OPTIONS},
            "secret_files": {
                "type": "list",
                "elements": "dict",
                "options": {**FILE_OPTIONS, "content": {"type": "str", "no_log": True}},
            },
            "validate": {"type": "str"},
            "refuse": {"type": "str"},
            "reload": {"type": "list", "elements": "str"},
            "stop": {"type": "list", "elements": "str"},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**bring_to_state(module.params, module.check_mode))
    except (CommandError, OSError, KeyError) as error:
        module.fail_json(msg=str(error))


def bring_to_state(params: dict, check_mode: bool) -> dict:
    """Plan, apply, validate, reload; or take everything back."""
    transaction, units = Transaction(entries(params, must_exist=not check_mode)), params["reload"] or []
    changes, idle = transaction.plan(), [unit for unit in units if not is_active(unit)]
    unread = [unit for unit in units if remembered(unit)]
    unwanted = [unit for unit in params["stop"] or [] if is_active(unit)]
    result = {
        "changed": bool(changes or unread or idle or unwanted),
        "changed_files": [change.entry.dest for change in changes],
        "diff": [change.diff() for change in changes],
        "reloaded": False,
    }
    if check_mode or not result["changed"]:
        return result
    if changes or unread or idle:
        carry_out(transaction, changes, params, idle, unread)
        result["reloaded"] = bool(units)
    for unit in unwanted:
        systemctl("stop", unit)
    return result


def carry_out(
    transaction: Transaction, changes: list[Change], params: dict, idle: list[str], unread: list[str]
) -> None:
    """Write, validate, reload or start; or take everything back.

    :param changes: what the transaction has planned.
    :param idle: units that do not run before.
    :param unread: units that have not read what an interrupted run wrote.
    """
    units = params["reload"] or []
    new_units = any(change.entry.dest.startswith(UNITS) for change in changes)
    for unit in units:
        remember(unit)
    transaction.apply()
    try:
        if params["validate"]:
            said = run(shlex.split(params["validate"]), warnings=True)
            refused = [line for line in said.splitlines() if params["refuse"] and re.search(params["refuse"], line)]
            if refused:
                raise CommandError("\n".join(refused))
        if new_units:
            systemctl("daemon-reload")
        for unit in units:
            reload_unit(unit)
    except CommandError as error:
        transaction.revert()
        if new_units:
            systemctl("daemon-reload")
        for unit in units:
            if unit not in unread:
                forget(unit)
            if unit not in idle and not is_active(unit):
                with contextlib.suppress(CommandError):
                    systemctl("restart", unit)
        what = "The new configuration was refused, and every file is as it was before. " if changes else ""
        raise CommandError(f"{what}{error}") from error
    transaction.commit()
    for unit in units:
        forget(unit)


def entries(params: dict, must_exist: bool) -> list[Entry]:
    described = [(item, False) for item in params["files"] or []]
    described += [(item, True) for item in params["secret_files"] or []]
    described.sort(key=lambda pair: pair[0]["position"])
    return [Entry.from_params(item, secret, must_exist) for item, secret in described]


def reload_unit(unit: str) -> None:
    """Make a unit read its files, systemd those of the unit. A unit that reloads badly still runs, so ask systemd for the result."""
    began = time.time()
    try:
        if unit_properties(unit, "NeedDaemonReload").get("NeedDaemonReload") == "yes":
            systemctl("daemon-reload")
        systemctl("reload-or-restart", unit)
    except CommandError as error:
        raise CommandError(f"{error}\n{journal(unit, began)}") from error
    if not is_active(unit):
        raise CommandError(f"{unit} is not active after its reload:\n{journal(unit, began)}")


def is_active(unit: str) -> bool:
    return unit_properties(unit, "ActiveState").get("ActiveState") in ("active", "reloading")


if __name__ == "__main__":
    main()
