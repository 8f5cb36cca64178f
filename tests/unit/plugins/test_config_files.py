"""From the files that a task describes to those that the module writes."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._host.secrets import encode_secret
from ansible_collections.flask_ops.production.plugins.modules import config_files
from ansible_collections.flask_ops.production.plugins.modules.config_files import ensure_files
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.files import app_files, described

SHOP: dict[str, Any] = {"name": "shop", "paths": {"site": "/etc/shop.conf", "key": "/srv/shop.key", "run": "/run/shop"}}
OLD = {"name": "old", "state": "absent", "paths": {"site": "/etc/old.conf", "key": "/srv/old.key"}}


def render(source: str, variables: dict[str, Any]) -> str:
    return f"{source} with {sorted(variables)}"


def shown(*files: dict[str, Any]) -> list[dict[str, Any]]:
    entries, secrets = described(list(files), render)
    assert secrets == {}
    return entries


# --- described ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "state"),
    [
        ({"src": "x.j2"}, "file"),
        ({"content": ""}, "file"),
        ({"copy_of": "/y"}, "file"),
        ({"target": "/y"}, "link"),
        ({}, "directory"),
        ({"src": "x.j2", "state": "absent"}, "absent"),
        ({"copy_path": "key", "each": [SHOP]}, "file"),
        ({"target_path": "key", "each": [SHOP]}, "link"),
    ],
)
def test_the_state_follows_from_what_is_given(file: dict[str, Any], state: str):
    assert [entry["state"] for entry in shown({"dest": "/x", **file})] == [state]


def test_a_template_becomes_content_and_an_absent_file_is_not_rendered():
    one, other = shown({"dest": "/x", "src": "x.j2"}, {"dest": "/y", "src": "broken.j2", "state": "absent"})
    assert one["content"] == "x.j2 with []"
    assert "content" not in other


def test_content_is_passed_on_as_it_is_also_with_braces():
    (entry,) = shown({"dest": "/x", "content": "{name}", "each": [SHOP]})
    assert entry["content"] == "{name}"


def test_each_makes_one_entry_per_item_at_its_path_and_the_template_sees_it_under_its_name():
    file = {"path": "site", "src": "x.j2", "as": "log", "app_group": True, "mode": "0600", "each": [SHOP, OLD]}
    shop, old = shown(file)
    assert shop == {
        "dest": "/etc/shop.conf", "state": "file", "content": "x.j2 with ['log']", "group": "shop", "mode": "0600",
        "item": "shop", "secret": False,
    }  # fmt: skip
    assert (old["dest"], old["state"]) == ("/etc/old.conf", "absent")
    assert "content" not in old


def test_without_a_name_the_template_sees_the_item_as_app():
    (entry,) = shown({"dest": "/", "src": "x.j2", "each": [SHOP]})
    assert entry["content"] == "x.j2 with ['app']"


def test_in_a_directory_a_file_has_the_name_of_its_item():
    assert [entry["dest"] for entry in shown({"dest": "/etc/logrotate.d/", "each": [SHOP, OLD]})] == [
        "/etc/logrotate.d/shop",
        "/etc/logrotate.d/old",
    ]


def test_what_is_copied_and_linked_may_be_a_path_of_the_item():
    copied, linked = shown(
        {"path": "site", "copy_path": "key", "each": [SHOP]}, {"path": "site", "target_path": "run", "each": [SHOP]}
    )
    assert (copied["copy_of"], linked["target"]) == ("/srv/shop.key", "/run/shop")


def test_no_item_is_no_entry():
    assert shown({"path": "site", "each": []}) == []


def test_the_content_of_secret_files_is_apart_and_sealed():
    entries, secrets = described(
        [
            {"dest": "/a"},
            {"path": "site", "content": "canary", "secret": True, "each": [SHOP, OLD]},
            {"dest": "/c", "content": "x"},
        ],
        render,
    )
    assert [(entry["dest"], entry["secret"]) for entry in entries] == [
        ("/a", False), ("/etc/shop.conf", True), ("/etc/old.conf", True), ("/c", False),
    ]  # fmt: skip
    assert secrets == {"/etc/shop.conf": encode_secret("canary")}
    assert "canary" not in str(entries)


def test_the_files_of_a_slot_have_its_paths_before_those_of_its_app():
    files: list[dict] = [
        {"path": "site", "src": "x.j2"},
        {"path": "run"},
        {"path": "own", "copy_path": "key", "secret": True},
        {"dest": "/run/flask-ops/"},
    ]
    paths = {"site": "/etc/shop-blue.conf", "own": "/etc/own", "key": "/etc/shop-blue.key"}
    entries = app_files(files, SHOP, paths, {"slot": "blue"}, render)
    assert [entry["dest"] for entry in entries] == [
        "/etc/shop-blue.conf",
        "/run/shop",
        "/etc/own",
        "/run/flask-ops/shop",
    ]
    assert entries[0]["content"] == "x.j2 with ['slot']"
    assert (entries[2]["copy_of"], entries[2]["secret"]) == ("/srv/shop.key", True)


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ({"dest": "/x", "sourc": "y"}, "sourc: is not known"),
        ({"src": "y"}, "needs a dest"),
        ({"dset": "/x"}, "dset: is not known"),
        ({"path": "nope", "each": [SHOP]}, "'nope' is no path of an app; there are site, key, run"),
    ],
)
def test_an_unknown_or_missing_key_is_refused_by_name(file: dict[str, Any], named: str):
    with pytest.raises(AnsibleActionFail, match=named):
        shown(file)


def test_the_module_knows_all_that_is_given_and_sent_to_it():
    everything = {
        "dest": "/x", "mode": "0644", "owner": "root", "app_group": True, "copy_path": "key", "copy_changes": ["/y"],
        "target_path": "run", "content": "", "each": [SHOP],
    }  # fmt: skip
    (entry,) = shown(everything)
    assert entry.keys() <= config_files.FILE.keys()


# --- the module -------------------------------------------------------------------------------------------------------


class Systemd:
    """What the module asks of the host, and what comes of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pending: set[str] = set()
        self.reloads: list[str] = []
        self.refused: dict[str, CommandError] = {}
        self.active: set[str] = set()
        self.told: list[tuple[str, ...]] = []
        monkeypatch.setattr(config_files, "mark_pending", self.pending.add)
        monkeypatch.setattr(config_files, "is_pending", self.pending.__contains__)
        monkeypatch.setattr(config_files, "clear_pending", self.pending.discard)
        self.warnings = ""
        self.wrong: dict[str, Path] = {}
        self.stale: set[str] = set()
        monkeypatch.setattr(config_files, "run", self.run)
        monkeypatch.setattr(config_files, "reload_unit", self.reload)
        monkeypatch.setattr(config_files, "is_active", self.active.__contains__)
        monkeypatch.setattr(config_files, "systemctl", lambda *words: self.told.append(words))

    def run(self, argv: list[str], warnings: bool) -> str:
        self.act(argv[0])
        for word, path in self.wrong.items():
            for number, line in enumerate(path.read_text().splitlines() if path.exists() else (), 1):
                if word in line:
                    warned = f"[warn] duplicate extension in {path.parent}/blog:1\n"
                    raise CommandError(f'{warned}unknown directive "{word}" in {path}:{number}')
        return self.warnings

    def reload(self, unit: str, log: str | None = None) -> None:
        if unit in self.stale:
            raise CommandError(f"{unit} kept its old configuration")
        self.act(unit)
        self.reloads.append(unit)
        self.active.add(unit)

    def act(self, what: str) -> None:
        if what in self.refused:
            self.active.discard(what)
            raise self.refused[what]


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> Systemd:
    return Systemd(monkeypatch)


def nginx_files(path: Path, content: str = "new", secret: bool = False) -> dict[str, Any]:
    file = {
        "dest": str(path), "state": "file", "secret": secret,
        "owner": pwd.getpwuid(os.geteuid()).pw_name, "group": grp.getgrgid(os.getegid()).gr_name,
    } | ({} if secret else {"content": content})  # fmt: skip
    return {
        "files": [file], "secrets": {str(path): encode_secret(content)} if secret else {}, "validate": "nginx -t", "refuse": "conflicting", "isolate": True, "reload": ["nginx.service"],
        "reload_log": "/var/log/nginx/error.log", "stop": None,
    }  # fmt: skip


def sites(directory: Path, **contents: str) -> dict[str, Any]:
    """The file of each site, by its name."""
    params = nginx_files(directory / "unused")
    (file,) = params["files"]
    params["files"] = [
        {**file, "dest": str(directory / name), "content": content, "item": name} for name, content in contents.items()
    ]
    return params


def test_changed_files_are_written_checked_and_read(tmp_path: Path, systemd: Systemd):
    result = ensure_files(nginx_files(tmp_path / "site"), check_mode=False)
    assert (result["changed"], result["reloaded"]) == (True, True)
    assert result["changed_files"] == [str(tmp_path / "site")]
    assert ((tmp_path / "site").read_text(), systemd.reloads) == ("new", ["nginx.service"])
    assert systemd.pending == set()
    again = ensure_files(nginx_files(tmp_path / "site"), check_mode=False)
    assert (again["changed"], again["reloaded"], len(systemd.reloads)) == (False, False, 1)


@pytest.mark.parametrize(("refuser", "marked"), [("nginx", set()), ("nginx.service", {"nginx.service"})])
def test_what_is_refused_is_taken_back(tmp_path: Path, systemd: Systemd, refuser: str, marked: set[str]):
    (tmp_path / "site").write_text("old")
    systemd.active.add("nginx.service")
    systemd.refused[refuser] = CommandError("unknown directive")
    with pytest.raises(CommandError, match=r"every file is as it was before\.\nunknown directive"):
        ensure_files(nginx_files(tmp_path / "site"), check_mode=False)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
    assert (systemd.reloads, systemd.pending) == ([], marked)


def test_a_unit_that_does_not_survive_its_new_files_runs_on_with_the_old_ones(tmp_path: Path, systemd: Systemd):
    params = {**nginx_files(tmp_path / "site"), "reload": ["first.service", "second.service", "new.service"]}
    systemd.active.update({"first.service", "second.service"})
    systemd.refused["second.service"] = CommandError("it is not active")
    with pytest.raises(CommandError, match="it is not active"):
        ensure_files(params, check_mode=False)
    assert systemd.told == [("reload-or-restart", "first.service"), ("reload-or-restart", "second.service")]
    assert systemd.pending == {"first.service", "second.service"}


def test_a_reload_that_was_not_taken_is_taken_back_and_repeated_by_the_next_run(tmp_path: Path, systemd: Systemd):
    (tmp_path / "site").write_text("old")
    systemd.active.add("nginx.service")
    systemd.stale.add("nginx.service")
    with pytest.raises(
        CommandError, match=r"The reload failed; every file .* before\.\nnginx.service kept its old conf"
    ):
        ensure_files(nginx_files(tmp_path / "site"), check_mode=False)
    assert ((tmp_path / "site").read_text(), systemd.told) == ("old", [])
    systemd.stale.clear()
    assert ensure_files(nginx_files(tmp_path / "site", "old"), check_mode=False)["reloaded"]
    assert systemd.pending == set()


def test_a_broken_file_of_somebody_else_is_noticed_though_none_of_ours_differs(tmp_path: Path, systemd: Systemd):
    params = nginx_files(tmp_path / "site")
    ensure_files(params, check_mode=False)
    foreign = tmp_path / "foreign"
    foreign.write_text("fine;\nnonsense;\n")
    systemd.wrong["nonsense"] = foreign
    for check_mode in (False, True):
        with pytest.raises(CommandError, match=rf"in {foreign}:2\n{foreign} was not written by this collection"):
            ensure_files(params, check_mode)
    assert len(systemd.reloads) == 1


def test_a_refusal_quotes_the_line_that_it_names_unless_the_file_is_secret(tmp_path: Path, systemd: Systemd):
    systemd.wrong["nonsense"] = tmp_path / "site"
    for secret in (False, True):
        with pytest.raises(CommandError) as error:
            ensure_files(nginx_files(tmp_path / "site", "a;\n  nonsense canary;\n", secret), check_mode=False)
        assert (f"\nLine 2 of {tmp_path}/site: nonsense canary;" in str(error.value)) is not secret
        assert ("canary" in str(error.value)) is not secret


def test_the_files_of_an_item_that_is_refused_stay_as_they_were_and_the_others_are_applied(
    tmp_path: Path, systemd: Systemd
):
    (tmp_path / "shop").write_text("old")
    systemd.wrong |= {"nonsense": tmp_path / "shop", "rubbish": tmp_path / "new"}
    params = sites(tmp_path, blog="blog", shop="nonsense", new="rubbish", wiki="wiki")
    result = ensure_files(params, check_mode=False)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "blog": "blog",
        "shop": "old",
        "wiki": "wiki",
    }
    assert {name: reason.splitlines()[0] for name, reason in result["failures"].items()} == {
        "shop": f'unknown directive "nonsense" in {tmp_path}/shop:1',
        "new": f'unknown directive "rubbish" in {tmp_path}/new:1',
    }
    assert result["changed_files"] == [str(tmp_path / "blog"), str(tmp_path / "wiki")]
    assert [change["after"] for change in result["diff"]] == ["blog", "wiki"]
    assert (systemd.reloads, systemd.pending) == (["nginx.service"], set())
    again = ensure_files(params, check_mode=False)
    assert (again["changed"], again["reloaded"], set(again["failures"])) == (False, False, {"shop", "new"})


def test_an_item_whose_old_files_are_refused_too_stops_the_run(tmp_path: Path, systemd: Systemd):
    (tmp_path / "shop").write_text("nonsense, as before")
    systemd.wrong["nonsense"] = tmp_path / "shop"
    with pytest.raises(CommandError, match=r"every file is as it was before\.\nunknown directive"):
        ensure_files(sites(tmp_path, blog="blog", shop="more nonsense"), check_mode=False)
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]
    assert systemd.pending == set()


def test_a_warning_about_a_name_of_an_item_is_the_failure_of_this_item(tmp_path: Path, systemd: Systemd):
    systemd.warnings = '[warn] conflicting server name "shop.example.com" on 0.0.0.0:443, ignored'
    params = sites(tmp_path, blog="server_name blog.example.com;", shop="server_name shop.example.com;")
    result = ensure_files(params, check_mode=False)
    assert result["failures"] == {"shop": systemd.warnings}
    assert [path.name for path in tmp_path.iterdir()] == ["blog"]


def test_an_error_that_names_no_file_belongs_to_the_item_that_holds_the_path(tmp_path: Path, systemd: Systemd):
    entries = config_files.entries(sites(tmp_path, shop="a /x/key.pem;", blog="b"), must_exist=True)
    assert config_files.items_of('cannot load certificate "/x/key.pem": no such file', entries) == {"shop"}
    assert config_files.items_of('"server" directive is not allowed here in /else:1', entries) == set()


def test_systemd_reads_units_that_changed_before_one_is_started(
    tmp_path: Path, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(config_files, "UNITS", str(tmp_path))
    ensure_files(nginx_files(tmp_path / "nginx.service"), check_mode=False)
    assert systemd.told == [("daemon-reload",)]


def test_what_the_check_only_warns_about_may_be_refused_too(tmp_path: Path, systemd: Systemd):
    systemd.warnings = "[warn] something else\n[warn] conflicting server name"
    with pytest.raises(CommandError, match=r"as it was before\.\n\[warn\] conflicting server name$"):
        ensure_files(nginx_files(tmp_path / "site"), check_mode=False)
    assert (list(tmp_path.iterdir()), systemd.reloads) == ([], [])
    systemd.warnings = "[warn] conflicting server name\n[warn] conflicting port"
    with pytest.raises(CommandError, match=r"server name\n\[warn\] conflicting port$"):
        ensure_files(nginx_files(tmp_path / "site") | {"isolate": False}, check_mode=False)
    systemd.warnings = "[warn] something else"
    assert ensure_files(nginx_files(tmp_path / "site"), check_mode=False)["reloaded"]


def test_a_reload_that_an_interrupted_run_owes_is_made_up_for(tmp_path: Path, systemd: Systemd):
    params = nginx_files(tmp_path / "site")
    ensure_files(params, check_mode=False)
    systemd.pending.add("nginx.service")
    assert ensure_files(params, check_mode=True)["changed"]
    result = ensure_files(params, check_mode=False)
    assert (result["changed"], result["reloaded"], result["changed_files"]) == (True, True, [])
    assert not ensure_files(params, check_mode=False)["changed"]


def test_a_unit_that_does_not_run_is_started_though_its_files_are_right(tmp_path: Path, systemd: Systemd):
    params = nginx_files(tmp_path / "site")
    ensure_files(params, check_mode=False)
    systemd.active.clear()
    assert ensure_files(params, check_mode=True)["changed"]
    result = ensure_files(params, check_mode=False)
    assert (result["changed"], result["changed_files"], systemd.active) == (True, [], {"nginx.service"})
    systemd.active.clear()
    systemd.refused["nginx.service"] = CommandError("it is not active")
    with pytest.raises(CommandError, match=r"^it is not active$"):
        ensure_files(params, check_mode=False)


def test_what_is_not_wanted_any_more_is_stopped_once_the_files_are_right(tmp_path: Path, systemd: Systemd):
    params = {**nginx_files(tmp_path / "site"), "stop": ["old.service", "unknown.service"]}
    systemd.active.add("old.service")
    systemd.refused["nginx"] = CommandError("unknown directive")
    with pytest.raises(CommandError):
        ensure_files(params, check_mode=False)
    assert systemd.told == []
    systemd.refused.clear()
    assert ensure_files(params, check_mode=True)["changed"]
    assert ensure_files(params, check_mode=False)["changed"]
    assert systemd.told == [("stop", "old.service")]
    systemd.active.discard("old.service")
    assert not ensure_files(params, check_mode=False)["changed"]


def test_check_mode_changes_nothing(tmp_path: Path, systemd: Systemd):
    assert ensure_files(nginx_files(tmp_path / "site"), check_mode=True)["changed"]
    assert (list(tmp_path.iterdir()), systemd.reloads, systemd.pending) == ([], [], set())


def test_a_secret_file_is_written_and_not_shown(tmp_path: Path, systemd: Systemd):
    result = ensure_files(nginx_files(tmp_path / "key", "canary", secret=True), check_mode=False)
    assert (tmp_path / "key").read_text() == "canary"
    assert "canary" not in str(result)
