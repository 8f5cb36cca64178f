# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.slots import SLOTS
from ansible_collections.flask_ops.production.plugins.module_utils._host.sandbox import sandbox
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.action import NO_RELEASE, AppsAction
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.files import in_order


class ActionModule(AppsAction):
    """Renders the files of both slots of every app; the module on the host decides which slot gets them."""

    _VALID_ARGS = frozenset(("apps", "releases", "files", "boot", "release_link", "probe_socket"))

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        args, render = self._task.args, self.renderer(task_vars)
        return self.for_each_app(args["apps"], lambda app: self._described(app, args, render), task_vars)

    def _described(self, app, args, render):
        described_app = {
            "name": app["name"],
            "state": app.get("state", "present"),
            "host": (app.get("domains") or ["localhost"])[0],
            "path": app.get("path", "/"),
            "health": app["health"],
            "server": app["server"],
            "instances": app["instances"],
            "release_link": args.get("release_link", "").format_map(app),
            "probe_socket": args.get("probe_socket", "").format_map(app),
        }
        release = {}
        if described_app["state"] == "present":
            if app["name"] not in args["releases"]:
                raise AnsibleActionFail(NO_RELEASE.format(**app))
            release = args["releases"][app["name"]]
            described_app["release"] = release["path"]
            described_app["venv"] = release["venv"]
        for slot in SLOTS:

            def render_slot(source, variables, slot=slot):
                known = {"app": app, "slot": slot, "release": release}
                return render(
                    source, {**known, "sandbox": sandbox(**app["sandbox"], limits=app["limits"]), **variables}
                )

            described_app[slot] = {
                "files": in_order(args["files"], {**app, "slot": slot}, render_slot),
                "boot": in_order([args["boot"]], {**app, "slot": slot}, render_slot)[0],
            }
        return described_app
