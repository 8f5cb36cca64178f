"""What runs in a build's unit, and what an error says of it. The unit itself is looked at on test hosts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._host.sandbox import BUILD, SANDBOX
from ansible_collections.flask_ops.production.plugins.module_utils._release import (
    agent,
    app_settings,
    probe,
    secret_keys,
    unpack,
)
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import App, ReleaseError
from ansible_collections.flask_ops.production.plugins.module_utils._release.build import Build
from ansible_collections.flask_ops.production.plugins.module_utils._release.program import program

from tests.unit.plugins.releases import app

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def build(build_of: Callable[[App], Build], tmp_path: Path) -> Build:
    return build_of(app(tmp_path, extra_index="https://me:canary-pw@packages.example.com/simple/"))


def test_commands_run_one_after_another_in_the_environment_they_are_given(build: Build, tmp_path: Path):
    assert build.run(["sh", "-c", "echo $A; pwd; umask"], env={**ENVIRONMENT, "A": "1"}, cwd=str(tmp_path)) == (
        f"1\n{tmp_path}\n0022\n"
    )
    assert build.run(["env"], env={"B": "2"}) == "B=2\n"


def test_a_command_reads_the_file_it_is_given(build: Build, tmp_path: Path):
    (tmp_path / "input").write_text("sent")
    with (tmp_path / "input").open("rb") as stream:
        assert build.run(["cat"], env=ENVIRONMENT, stdin=stream) == "sent"
    assert build.run(["cat"], env=ENVIRONMENT) == ""


def test_a_long_output_is_cut_from_its_beginning(build: Build):
    said = build.run(["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; echo end"], env=ENVIRONMENT)
    assert len(said) == 1 << 20
    assert said.endswith("xend\n")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["sh", "-c", "echo out; echo err >&2; exit 3"], "'sh -c echo out; echo err >&2; exit 3' exited with status 3:\nout\nerr"),
        (["no-such-program"], "no-such-program is not installed on this host"),
        (["/etc/passwd"], "'/etc/passwd' exited with status 126:\nPermission denied"),
        (["sh", "-c", "echo https://me:canary-pw@packages.example.com/ >&2; exit 1"], "https://...@packages.example.com/"),
    ],
)  # fmt: skip
def test_an_error_quotes_the_command_and_what_it_said_but_no_secret(build: Build, argv: list[str], words: str):
    with pytest.raises(CommandError) as error:
        build.run(argv, env=ENVIRONMENT)
    assert words in str(error.value)
    assert "canary" not in str(error.value).partition(":\n")[2]


def test_an_error_names_the_command_as_the_user_wrote_it(build: Build):
    with pytest.raises(CommandError, match=r"^'flask translate compile' exited with status 1"):
        build.run(["false"], env=ENVIRONMENT, name="flask translate compile")


def test_a_command_that_does_not_end_is_stopped_and_the_next_one_runs(build: Build):
    began = time.monotonic()
    with pytest.raises(CommandError, match=r"'sleep 60' timed out after 0\.2 s$"):
        build.run(["sleep", "60"], env=ENVIRONMENT, timeout=0.2)
    assert build.run(["echo", "on"], env=ENVIRONMENT) == "on\n"
    assert time.monotonic() - began < 20


def test_what_a_command_leaves_running_is_not_waited_for(build: Build):
    began = time.monotonic()
    assert build.run(["sh", "-c", "sleep 30 & echo done"], env=ENVIRONMENT) == "done\n"
    assert time.monotonic() - began < 20


def test_a_unit_that_ends_early_is_an_error_with_its_last_words(build: Build):
    build.run(["true"], env=ENVIRONMENT)
    with pytest.raises(CommandError, match=r"^flask-ops-build-shop\.service ended early"):
        build.run(["sh", "-c", "kill -9 $PPID; sleep 1"], env=ENVIRONMENT)


def test_a_unit_that_does_not_start_is_an_error_with_the_reason(build: Build, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(build, "command", lambda: ["sh", "-c", "echo Failed to start transient service >&2; exit 1"])
    with pytest.raises(CommandError, match=r"ended early\. Failed to start transient service"):
        build.run(["true"], env=ENVIRONMENT)


# --- reading a source ------------------------------------------------------------------------------------------------


def test_a_file_of_a_source_is_read_and_a_missing_one_is_none(build: Build, tmp_path: Path):
    (tmp_path / "prod.txt").write_text("flask\n")
    (tmp_path / "requirements.txt").symlink_to("prod.txt")
    assert build.read(str(tmp_path / "requirements.txt"), "requirements") == "flask\n"
    assert build.read(str(tmp_path / "uv.lock"), "requirements") is None
    assert build.read(str(tmp_path / "prod.txt" / "below"), "requirements") is None


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: os.mkfifo(path), "it is not a file"),
        (lambda path: path.mkdir(), "it is not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is not a file"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda path: path.write_bytes(bytes((1 << 20) + 1)), "it is larger than 1 MiB"),
    ],
)
def test_what_is_no_text_is_refused_at_once(build: Build, tmp_path: Path, make: Callable[[Path], None], reason: str):
    make(tmp_path / "requirements.txt")
    with pytest.raises(ReleaseError, match=rf"^requirements: {tmp_path}/requirements\.txt cannot be read: {reason}$"):
        build.read(str(tmp_path / "requirements.txt"), "requirements")


# --- the unit ----------------------------------------------------------------------------------------------------------


def test_the_unit_may_write_where_the_release_is_made_and_nowhere_else(tmp_path: Path):
    command = Build(app(tmp_path, user="shop"), "/srv/shop/releases/r1/app", "/srv/shop/environments").command()
    assert (
        f"--property=ReadWritePaths={tmp_path}/.build/work /srv/shop/releases/r1/app /srv/shop/environments" in command
    )
    assert "--property=ProtectSystem=strict" in command
    assert "--property=ProtectProc=invisible" in command
    assert "--gid=nogroup" in command
    assert "--property=SupplementaryGroups=shop" in command


def test_what_a_build_may_do_and_an_app_may_not_is_known():
    names = {name for name, _value in BUILD}
    assert {name for name, _value in SANDBOX} - names == {"ProcSubset", "RestrictSUIDSGID", "UMask"}
    assert dict(BUILD)["KillMode"] == "control-group"
    assert [value for name, value in BUILD if name == "SystemCallFilter"] == ["@system-service", "~@privileged"]


@pytest.mark.parametrize("modules", [(agent,), (unpack,), (secret_keys, app_settings, probe)])
def test_a_program_needs_python_alone(modules: tuple[types.ModuleType, ...]):
    definitions = program(*modules).removesuffix("module.main()\n")
    subprocess.run([sys.executable, "-I", "-S", "-c", definitions], check=True)
