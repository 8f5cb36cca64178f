"""What holds on every server after every scenario, whatever the role."""

import json
import os
from pathlib import Path

import pytest

# Not those that only play a part beside our servers, such as a Prometheus that asks them.
testinfra_hosts = ["ansible://flask_servers"]

ROOT = Path(__file__).resolve().parents[3]
LOOK = ROOT / "tests" / "leaks" / "on_host.py"
RUNS = Path(os.environ.get("MOLECULE_EPHEMERAL_DIRECTORY", ".")) / "leaks.txt"
MARKER = "Managed by Ansible (flask_ops.production)"


def lines(host, command):
    """The lines a command prints; an exit code says nothing here (grep: 1 for no match)."""
    return host.run(command).stdout.splitlines()


def test_systemd_is_running_and_no_unit_failed(host):
    assert lines(host, "systemctl list-units --failed --plain --no-legend") == []
    assert host.check_output("systemctl is-system-running --wait") == "running"


def test_managed_files_belong_to_root(host):
    wrong = r"\( ! -user root -o -perm /022 \)"
    assert lines(host, f"grep -rlZIF '{MARKER}' /etc | xargs -0r -I@ find @ -maxdepth 0 {wrong}") == []


@pytest.fixture(scope="module")
def faults(host):
    """What one look around the host found wrong, by what must hold. See tests/leaks."""
    with host.sudo():
        return json.loads(host.check_output("python3 -c %s", LOOK.read_text()))


@pytest.mark.parametrize("what", ["secrets", "keys", "setuid", "writable", "of others", "accounts", "sockets"])
def test_nothing_secret_gets_out_and_no_right_is_too_wide(faults, what):
    assert faults[what] == []


def test_no_run_of_ansible_said_a_secret_and_none_was_unwatched(host):
    said = RUNS.read_text().splitlines()
    assert [line for line in said if line.startswith("watched ")]
    assert [line for line in said if not line.startswith("watched ")] == []


def test_secrets_are_for_root_only(host):
    wrong = r"\( ! -user root -o -perm /077 \)"
    secrets = r"\( -path '/etc/*/environment' -o -path '/etc/*/credentials/*' \)"
    assert lines(host, f"find /etc -mindepth 2 -type f {secrets} {wrong}") == []


def test_nothing_is_writable_for_everybody(host):
    with host.sudo("nobody"):
        assert lines(host, "find /etc /srv -xdev ! -type l -writable 2>/dev/null") == []


def test_nothing_is_left_in_tmp(host):
    # namespace-dev-*: systemd 252 leaves it when a unit is stopped while its PrivateDevices= is being set up.
    systemds_own = r"! -name 'systemd-private-*' ! -name 'namespace-dev-*' ! -name '.*-unix'"
    assert lines(host, f"find /tmp -mindepth 1 -maxdepth 1 {systemds_own}") == []
