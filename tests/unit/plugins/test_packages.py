"""The action of the module packages: a host is asked once in a play, however many roles ask."""

import types
from pathlib import Path

import pytest
from ansible import constants
from ansible_collections.flask_ops.production.plugins.action import packages
from ansible_collections.flask_ops.production.plugins.action.packages import ActionModule


class Host:
    """Stands for the module on a host and for apt, and counts what is asked of them."""

    def __init__(self, *installed: str) -> None:
        self.installed = set(installed)
        self.asked: list[str] = []
        self.breaks = False
        self.locked = 0

    def answer(self, module_name, module_args, task_vars):
        self.asked.append(module_name.rpartition(".")[2])
        if module_name == "ansible.builtin.apt":
            if self.breaks:
                return {"failed": True}
            if self.locked:
                self.locked -= 1
                return {"failed": True, "msg": "E: Could not get lock /var/lib/apt/lists/lock."}
            self.installed |= set(module_args["name"])
            return {"changed": True}
        missing = [name for name in module_args["names"] if name not in self.installed]
        return {"changed": bool(missing), "missing": missing, "installed": sorted(self.installed)}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    monkeypatch.setattr(ActionModule.__mro__[1], "run", lambda self, tmp, task_vars: {})

    def call(host: Host, *names: str, name="web1", play="one", check_mode=False):
        action = ActionModule.__new__(ActionModule)
        action._task = types.SimpleNamespace(
            args={"names": list(names)},
            check_mode=check_mode,
            delegate_to=None,
            get_play=lambda: types.SimpleNamespace(_uuid=play),
        )
        action._execute_module = host.answer
        return action.run(task_vars={"inventory_hostname": name})

    return call


def test_a_host_is_asked_once(install):
    host = Host("git", "nginx")
    assert install(host, "git") == {"changed": False, "missing": []}
    assert install(host, "nginx", "git") == {"changed": False, "missing": []}
    assert host.asked == ["packages"]


def test_what_was_installed_is_remembered_too(install):
    host = Host("git")
    assert install(host, "nginx") == {"changed": True, "missing": ["nginx"]}
    assert not install(host, "nginx")["changed"]
    assert host.asked == ["packages", "apt"]


def test_another_host_and_another_play_are_asked_again(install):
    host = Host("git")
    for name, play in (("web1", "one"), ("web2", "one"), ("web1", "two")):
        install(host, "git", name=name, play=play)
    assert host.asked == ["packages"] * 3


def test_a_failed_installation_is_not_taken_for_one(install):
    host = Host("git")
    host.breaks = True
    assert install(host, "nginx")["failed"]
    host.breaks = False
    assert install(host, "nginx")["changed"]


def test_a_lock_that_somebody_holds_is_waited_for(install, monkeypatch: pytest.MonkeyPatch):
    waits: list[float] = []
    monkeypatch.setattr(packages.time, "sleep", waits.append)
    host = Host("git")
    host.locked = 3
    assert install(host, "nginx") == {"changed": True, "missing": ["nginx"]}
    assert waits == [packages.SECONDS] * 3
    host.locked = 1000
    assert install(host, "redis")["failed"]
    assert len(waits) == 3 + packages.ATTEMPTS - 1


def test_check_mode_installs_nothing_and_announces_a_package_once_as_a_run_installs_it(install):
    host = Host("git")
    assert install(host, "nginx", check_mode=True) == {"changed": True, "missing": ["nginx"]}
    # It is missing still: a role may have to know.
    assert install(host, "nginx", "git", check_mode=True) == {"changed": False, "missing": ["nginx"]}
    assert install(host, "redis", check_mode=True) == {"changed": True, "missing": ["redis"]}
    assert host.asked == ["packages"] * 2
