# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible_collections.flask_ops.production.plugins.module_utils._host.sandbox import sandbox
from ansible_collections.flask_ops.production.plugins.modules.app_processes import OPTIONS
from ansible_collections.flask_ops.production.plugins.plugin_utils._deploy.processes import on_host
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.action import (
    NO_RELEASE,
    AppsAction,
    complete_release,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.files import app_files


class ActionModule(AppsAction):
    """Renders the files of every process that this host should run; the module deploys them."""

    LAST = True

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _checked, args = self.validate_argument_spec(OPTIONS)
        render, host = self.renderer(task_vars), task_vars["inventory_hostname"]
        return self.for_each_app(
            args["apps"], lambda app: self._described(app, on_host(app, host), args, render), task_vars
        )

    def _described(self, app, processes, args, render):
        if not processes:
            return {"name": app["name"], "processes": []}
        if app["name"] not in args["releases"]:
            raise AnsibleActionFail(NO_RELEASE.format(**app))
        release = complete_release(args["releases"][app["name"]])
        return {
            "name": app["name"],
            "release": release["id"],
            "processes": [self._process(app, process, release, args, render) for process in processes],
        }

    def _process(self, app, process, release, args, render):
        variables = {
            "app": app,
            "process": process,
            "release": release,
            "sandbox": sandbox(**app["sandbox"], limits=app["limits"]),
        }
        files = [*args["files"], *([args["timer"]] if process["kind"] == "timer" else [])]
        return {
            "name": process["name"],
            "units": process["units"],
            "start_seconds": process["start_seconds"],
            "files": app_files(files, app, process["paths"], variables, render),
        }
