# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import tempfile

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible_collections.flask_ops.production.plugins.module_utils._host.failures import FailureOf
from ansible_collections.flask_ops.production.plugins.module_utils._host.secrets import encode_secret
from ansible_collections.flask_ops.production.plugins.modules.python_release import OPTIONS
from ansible_collections.flask_ops.production.plugins.plugin_utils._release.archive import (
    checksum,
    file_checksum,
    pack,
    packages_in,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.apps import public
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.action import AppsAction
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.run import this_run


class ActionModule(AppsAction):
    """Sends along what is on the controller, and only what the host lacks: directories, archives, wheels."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _checked, arguments = self.validate_argument_spec(OPTIONS)
        given = {app["name"]: app for app in arguments["apps"]}
        arguments["run"] = this_run(task_vars)
        arguments["proxies"] = encode_secret(json.dumps(arguments.get("proxies") or {}))
        arguments["secrets"] = {name: secrets_of(app) for name, app in given.items()}
        apps, failures = self._described_all(given.values())
        result = self._build({**arguments, "apps": apps}, task_vars)
        wanted = result.get("wanted_uploads")
        if wanted and not result.get("failed"):
            try:
                uploads: dict[str, dict[str, str]] = {}
                for name, _slash, kind in (item.partition("/") for item in wanted):
                    uploads.setdefault(name, {})[kind] = self._send(given[name], kind)
                # Only these: the others are done.
                arguments |= {"apps": [app for app in apps if app["name"] in uploads], "uploads": uploads}
                result = merged(result, self._build(arguments, task_vars))
            finally:
                self._remove_tmp_path(self._connection._shell.tmpdir)
        result.setdefault("failures", {}).update(failures)
        return result

    def _described_all(self, apps):
        """The entries as the module takes them, and the failures of those that the controller cannot describe."""
        described: list[dict] = []
        failures: dict[str, str] = {}
        for app in apps:
            with FailureOf(app["name"], failures, AnsibleError):
                described.append(self._described(app))
        return described, failures

    def _build(self, arguments, task_vars):
        return self._execute_module("flask_ops.production.python_release", module_args=arguments, task_vars=task_vars)

    def _described(self, app):
        """An app as the module takes it, with the checksums of what is on the controller."""
        described = public(app)
        source = {key: value for key, value in (described["source"] or {}).items() if value is not None}
        described["source"] = source
        try:
            if app.get("wheelhouse"):
                described["wheelhouse"] = checksum(app["wheelhouse"], packages_in)
            place = controller_path(source)
            if place:
                source["uploaded"] = True
                source["sha256"] = checksum(place) if "path" in source else file_checksum(place)
        except (OSError, ValueError) as error:
            raise AnsibleActionFail(f"{app['name']}: source: {error}") from error
        expected = source.get("checksum", "").removeprefix("sha256:")
        if expected and source.setdefault("sha256", expected) != expected:
            raise AnsibleActionFail(
                f"{app['name']}: source.checksum: {place} on the controller has sha256:{source['sha256']}"
            )
        return described

    def _send(self, app, kind):
        """Put a file where only root finds it, and return its path there."""
        if not self._connection._shell.tmpdir:
            self._make_tmp_path()
        remote = self._connection._shell.join_path(self._connection._shell.tmpdir, f"{app['name']}-{kind}")
        if kind == "source" and not app["source"].get("path"):
            return self._transfer_file(controller_path(app["source"]), remote)
        with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
            if kind == "source":
                pack(app["source"]["path"], archive.name)
            else:
                pack(app["wheelhouse"], archive.name, packages_in)
            return self._transfer_file(archive.name, remote)


def secrets_of(app):
    """What a build needs of an app that may not be logged, each as one word."""
    source = app["source"] or {}
    texts = {"deploy_key": source.get("deploy_key"), "token": source.get("token"), "extra_index": app["extra_index"]}
    texts["build_env"] = json.dumps(app["build"]["env"])
    return {name: encode_secret(text or "") for name, text in texts.items()}


def merged(first, second):
    """The results of two calls as one."""
    if second.get("failed") or second.get("unreachable"):
        return second
    both = {**second, "changed": first["changed"] or second["changed"]}
    both |= {key: {**first[key], **second[key]} for key in ("releases", "failures")}
    both |= {key: first[key] + second[key] for key in ("unmigrated", "diff")}
    both["warnings"] = first.get("warnings", []) + second.get("warnings", [])
    return both


def controller_path(source):
    """The path of a source that is on the controller, or None."""
    place = source.get("path") or source.get("wheel") or source.get("archive")
    return place if place and os.path.isabs(place) else None
