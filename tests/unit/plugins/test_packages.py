"""Packages: the commands of apt-get, and their results."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.modules import packages


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`program(name, output)`: a program that says this, and the file with what it was called with."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def make(name: str, output: str) -> Path:
        path, calls, answer = tmp_path / name, tmp_path / f"{name}.calls", tmp_path / f"{name}.answer"
        answer.write_text(output)
        path.write_text(f'#!/bin/sh\necho "$*" >> {calls}\ncat {answer}\n')
        path.chmod(0o755)
        return calls

    return make


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A program apt-get that gives the next of these answers each time, and what it was told."""
    calls, answers = tmp_path / "calls", tmp_path / "answers"
    calls.touch()
    program = tmp_path / "apt-get"
    program.write_text(
        f'#!/bin/sh\necho "$DEBIAN_FRONTEND $*" >> {calls}\n'
        f"IFS='|' read -r status said < {answers}; sed -i 1d {answers}\n"
        'echo "$said" >&2\nexit "${status:-0}"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(packages, "POLL_INTERVAL", 0)

    def will(*lines: str) -> Path:
        answers.write_text("".join(f"{line}\n" for line in lines))
        return calls

    return will


LOCKED = "100|E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)"


def test_all_that_is_missing_comes_in_one_transaction_with_the_lists_of_now(apt):
    calls = apt()
    packages.install(["git", "nginx"], {})
    update, install = calls.read_text().splitlines()
    assert update == "noninteractive --quiet update"
    assert install.startswith("noninteractive --quiet install --yes --no-install-recommends ")
    assert "--force-confold" in install
    assert install.endswith(" -- git nginx")


INTERRUPTED = "100|E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem."
BROKEN = "100|E: Unmet dependencies. Try 'apt --fix-broken install' with no packages (or specify a solution)."


@pytest.mark.parametrize("said", [INTERRUPTED, BROKEN])
def test_an_interrupted_installation_is_completed_first(apt, program, said: str):
    configured = program("dpkg", "")
    calls = apt("0|", said)
    packages.install(["git"], {})
    assert configured.read_text() == "--force-confdef --force-confold --configure --pending\n"
    lines = [line.removeprefix("noninteractive --quiet ") for line in calls.read_text().splitlines()]
    assert lines[0] == "update"
    assert lines[1] == lines[3]
    assert lines[2].startswith("--fix-broken install --yes ")
    assert lines[3].endswith(" -- git")


def test_packages_of_apps_come_in_the_same_transaction(apt):
    calls = apt()
    assert packages.install(["git"], {"shop": ["libpq5"], "blog": ["libpq5", "gcc"], "wiki": []}) == {}
    _update, install = calls.read_text().splitlines()
    assert install.endswith(" -- git libpq5 gcc")


UNKNOWN = "100|E: Unable to locate package libfoo"


def test_an_unknown_package_of_one_app_fails_that_app_and_no_other(apt):
    calls = apt("0|", UNKNOWN, "0|", UNKNOWN)
    failures = packages.install(["git"], {"shop": ["libfoo", "gcc"], "blog": ["libpq5"], "wiki": []})
    assert list(failures) == ["shop"]
    assert failures["shop"].startswith("shop: packages: libfoo, gcc cannot be installed. ")
    assert "Unable to locate package libfoo" in failures["shop"]
    installed = [line.partition(" -- ")[2] for line in calls.read_text().splitlines()[1:]]
    assert installed == ["git libfoo gcc libpq5", "git", "libfoo gcc", "libpq5"]


def test_what_all_apps_need_is_still_an_error_of_the_host(apt):
    apt("0|", UNKNOWN, UNKNOWN)
    with pytest.raises(CommandError, match="libfoo"):
        packages.install(["libfoo"], {"blog": ["libpq5"]})


def test_an_error_of_another_kind_is_not_repaired(apt, program):
    configured = program("dpkg", "")
    apt("0|", "100|E: Unable to locate package nginx")
    with pytest.raises(CommandError):
        packages.install(["nginx"], {})
    assert not configured.exists()


DPKG = (
    "git\tinstalled\t\n"
    "gone\tconfig-files\tghost\n"
    "half\thalf-configured\t\n"
    "libmagic1t64\tinstalled\tlibmagic1 (= 1:5.46-5)\n"
    "exim4\tinstalled\tmail-transport-agent, default-mta (= 1)\n"
)
POLICY = (
    "default-mta:\n  Installed: (none)\n  Candidate: 4.98\n  Version table:\n"
    "libmagic1:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n"
)


def test_a_name_that_only_another_package_provides_is_installed_with_that(program):
    program("dpkg-query", DPKG)
    asked = program("apt-cache", POLICY)
    wanted = ["git", "libmagic1", "default-mta", "ghost", "half", "nginx"]
    assert packages.installed_names(wanted) & set(wanted) == {"git", "libmagic1"}
    assert asked.read_text() == "policy default-mta libmagic1\n"


def test_apt_is_not_asked_for_names_that_dpkg_knows(program):
    program("dpkg-query", DPKG)
    asked = program("apt-cache", POLICY)
    assert packages.installed_names(["git", "nginx"]) == {"git", "libmagic1t64", "exim4"}
    assert not asked.exists()


def test_the_lock_of_the_lists_is_waited_for(apt, monkeypatch: pytest.MonkeyPatch):
    calls = apt(LOCKED, LOCKED)
    packages.install(["git"], {})
    assert [line.split()[2] for line in calls.read_text().splitlines()] == ["update", "update", "update", "install"]
    monkeypatch.setattr(packages, "LOCK_TIMEOUT", 0)
    apt(LOCKED)
    with pytest.raises(CommandError, match="held by process 7"):
        packages.install(["git"], {})


def test_lists_that_apt_refuses_are_an_error_before_anything_is_installed(apt):
    calls = apt("100|E: The repository 'http://gone.test stable Release' does not have a Release file.")
    with pytest.raises(CommandError, match=r"gone\.test"):
        packages.install(["git"], {})
    assert len(calls.read_text().splitlines()) == 1


def test_a_mirror_that_does_not_answer_is_told_only_if_something_was_lacking(apt):
    unfetched = "0|W: Failed to fetch http://mirror.test/dists/stable/InRelease  Could not connect"
    apt(unfetched)
    packages.install(["git"], {})
    apt(unfetched, "100|E: Unable to locate package nginx")
    with pytest.raises(CommandError, match=r"(?s)Unable to locate package nginx.*mirror\.test"):
        packages.install(["nginx"], {})
