"""Ten thousand values that the rules accept, read by the host's own nginx, systemd and logrotate. See tests/fuzz."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_what_the_rules_accept_is_read_as_it_was_meant(host, tmp_path):
    release, made = host.system_info.release.split(".")[0], tmp_path / "made"
    command = [sys.executable, "-m", "tests.fuzz", str(made), release]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, check=True, capture_output=True, text=True)
    assert int(done.stdout) >= 10_000

    with tarfile.open(tmp_path / "made.tar.gz", "w:gz") as archive:
        archive.add(made, ".")
    there = "/run/flask-ops-fuzz"
    host.ansible("ansible.builtin.file", f"path={there} state=directory", check=False, become=True)
    host.ansible("ansible.builtin.unarchive", f"src={tmp_path}/made.tar.gz dest={there}", check=False, become=True)
    with host.sudo():
        wrong = json.loads(host.check_output(f"python3 {there}/read.py"))
        host.check_output(f"rm -r {there}")
    assert wrong == {}
