# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection's action plugins share: rendering the templates of the role that calls them.

This plugin util is private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader
from ansible_collections.flask_ops.production.plugins.module_utils._host.failures import FailureOf
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.run import this_run

NO_RELEASE = (
    "releases: there is no release of '{name}'. In a playbook of this collection, the build comes first: run the whole "
    "playbook, without --start-at-task"
)


def templated(
    templar: t.Any, variables: t.Mapping[str, t.Any], names: t.Container[str] | None = None
) -> tuple[dict[str, t.Any], list[str]]:
    """The values of variables, and an error for each that has none: Ansible would quote the lines around it.

    :param names: the variables to template, by default all of them. The others are returned as they are.
    """
    values, errors = {}, []
    for key, value in variables.items():
        try:
            values[key] = templar.template(value) if names is None or key in names else value
        except AnsibleError as error:
            hint = "; give --ask-vault-pass or --vault-password-file" if "vault" in str(error).lower() else ""
            errors.append(f"{key}: {error.message.rstrip('.')}{hint}")
    return values, errors


def complete_release(release: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """A release with the version that people know; without one, its id."""
    return {"version": release["id"], **release}


class RenderingAction(ActionBase):
    """An action that renders templates on the controller and sends the text along with its module's arguments."""

    def renderer(self, task_vars: dict[str, t.Any]) -> t.Callable[[str, dict[str, t.Any]], str]:
        """Return a function that renders one of the role's templates.

        It goes through the ``template`` lookup, the documented way to use Ansible's templates from a plugin:
        the search path, the variables and the filters are those of the ``template`` module.
        """
        lookup = lookup_loader.get("ansible.builtin.template", loader=self._loader, templar=self._templar)
        task_vars = _Shallow(task_vars)

        def render(source: str, variables: dict[str, t.Any]) -> str:
            # lstrip_blocks cannot be passed to the lookup: the templates say it in their first line.
            return str(lookup.run([source], variables=task_vars, template_vars=variables)[0])

        return render


class AppsAction(RenderingAction):
    """An action that describes each app for the module of the same name. The failure of one app is its own."""

    LAST = False
    """Whether a deploy ends with this action."""

    def for_each_app(
        self,
        apps: t.Iterable[dict[str, t.Any]],
        describe: t.Callable[[dict[str, t.Any]], dict[str, t.Any]],
        task_vars: dict[str, t.Any],
    ) -> dict[str, t.Any]:
        described: list[dict[str, t.Any]] = []
        failures: dict[str, str] = {}
        for app in apps:
            with FailureOf(app["name"], failures, AnsibleError):
                described.append(describe(app))
        arguments = {**self._task.args, "apps": described, "run": this_run(task_vars, last=self.LAST)}
        result = self._execute_module(self._task.action, module_args=arguments, task_vars=task_vars)
        result.setdefault("failures", {}).update(failures)
        return result


class _Shallow(dict[str, t.Any]):
    """Variables of which the lookup gets a shallow copy: it makes a deep one for each template, only to add to it.

    That took 20 ms each, for some 30 templates a run.
    """

    def __deepcopy__(self, memo: t.Any) -> dict[str, t.Any]:
        return dict(self)
