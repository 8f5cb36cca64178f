# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import os
import tempfile

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.flask_ops.production.plugins.plugin_utils._archive import checksum, pack

PASSED_ON = (
    "name", "state", "purge", "wsgi", "requirements", "shared_paths", "migrate", "migrate_timeout"
)  # fmt: skip


class ActionModule(ActionBase):
    """Sends along the sources that are directories on the controller, and only those that the host lacks."""

    TRANSFERS_FILES = True

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        arguments["apps"] = [self._described(app) for app in arguments["apps"]]
        result = self._build(arguments, task_vars)
        wanted = result.get("wanted_archives")
        if wanted and not result.get("failed"):
            try:
                sources = {app["name"]: app["source"]["path"] for app in arguments["apps"] if app["name"] in wanted}
                arguments["archives"] = {name: self._send(path) for name, path in sources.items()}
                result = self._build(arguments, task_vars)
            finally:
                self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _build(self, arguments, task_vars):
        return self._execute_module("flask_ops.production.python_release", module_args=arguments, task_vars=task_vars)

    def _described(self, app):
        """An entry of the role as the module takes it, with the checksum of a source that is a directory here."""
        described = {key: app[key] for key in PASSED_ON if app.get(key) is not None}
        static = app.get("static") or {}
        described |= {f"static_{key}": static[key] for key in ("path", "keep") if static.get(key) is not None}
        described["source"] = {key: value for key, value in (app.get("source") or {}).items() if value is not None}
        if "path" in described["source"]:
            path = described["source"]["path"]
            if not os.path.isdir(path):
                raise AnsibleActionFail(f"{app['name']}: source.path: there is no directory {path} on the controller")
            try:
                described["source"]["archive_sha256"] = checksum(path)
            except (OSError, ValueError) as error:
                raise AnsibleActionFail(f"{app['name']}: source.path: {error}") from error
        return described

    def _send(self, path):
        if not self._connection._shell.tmpdir:
            self._make_tmp_path()
        with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
            pack(path, archive.name)
            remote = self._connection._shell.join_path(self._connection._shell.tmpdir, os.path.basename(archive.name))
            return self._transfer_file(archive.name, remote)
