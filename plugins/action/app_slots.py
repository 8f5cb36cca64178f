# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible_collections.flask_ops.production.plugins.module_utils._host.sandbox import sandbox
from ansible_collections.flask_ops.production.plugins.modules.app_slots import OPTIONS
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.apps import public
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.action import (
    NO_RELEASE,
    AppsAction,
    complete_release,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.files import app_files


class ActionModule(AppsAction):
    """Renders the files of both slots of every app; the module on the host decides which slot gets them."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _checked, args = self.validate_argument_spec(OPTIONS)
        render = self.renderer(task_vars)
        return self.for_each_app(args["apps"], lambda app: self._described(app, args, render), task_vars)

    def _described(self, app, args, render):
        release = {}
        if app["state"] == "present":
            if app["name"] not in args["releases"]:
                raise AnsibleActionFail(NO_RELEASE.format(**app))
            release = complete_release(args["releases"][app["name"]])
        described = {"app": public(app), "release": release}
        for slot in app["slots"].values():
            variables = {
                "app": app,
                "slot": slot,
                "release": release,
                "sandbox": sandbox(**app["sandbox"], limits=app["limits"]),
            }
            described[slot["name"]] = {
                "files": app_files(args["files"], app, slot["paths"], variables, render),
                "boot": app_files([args["boot"]], app, app["paths"], variables, render)[0],
            }
        return described
