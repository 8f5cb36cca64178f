#!/usr/bin/env python3
"""Run a command in the project's own environment: `python3 tests/env.py ansible-playbook ...`

The environment is the folder .venv: a virtual environment with exactly what requirements.txt pins,
and a link through which Ansible and Python find this checkout as the installed collection. It is
made when it is missing, and made again when the pins or the Python change.
Without a command, it is only made. Needs nothing but Python; everything else is fetched.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST_PYTHON = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "stamp"
PINS = ROOT / "tests" / "requirements.txt"
COLLECTIONS = VENV / "collections"
SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def variables() -> dict[str, str]:
    """The environment of every command: our tools first, this checkout and no other copy of it."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return inherited | {
        "PATH": f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "VIRTUAL_ENV": str(VENV),
        "PYTHONPATH": str(COLLECTIONS),
        # Ansible starts a process for each task, which reads a hundred modules: a tenth less time if they are compiled.
        "PYTHONPYCACHEPREFIX": str(VENV / "compiled"),
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_HOME": str(VENV / "ansible"),
        "MOLECULE_COMMAND_BORDERS": "0",  # they fold lines at 80 columns
        "MOLECULE_GLOB": "molecule/*/molecule.yml",
    }


def wanted_stamp() -> str:
    return f"{hashlib.sha256(PINS.read_bytes()).hexdigest()} {sys.version} {ROOT}"


def is_current() -> bool:
    return STAMP.exists() and STAMP.read_text() == wanted_stamp()


def make() -> None:
    """Make .venv anew. The stamp is written last: an interrupted attempt is never taken for good."""
    print(f"Making {VENV.relative_to(ROOT)} with Python {sys.version.split()[0]} ...", file=sys.stderr)
    ensure_venv_module()
    shutil.rmtree(VENV, ignore_errors=True)
    run(sys.executable, "-m", "venv", VENV)
    install_pins()
    link_collection()
    STAMP.write_text(wanted_stamp())


def ensure_venv_module() -> None:
    """Debian splits `venv` from Python: a fresh server has to install it first."""
    probe = [sys.executable, "-c", "import ensurepip, venv"]
    if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", "python3-venv"]
    sudo = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    try:
        run(*sudo, "apt-get", "update", "--quiet")
        run(*sudo, *command)
    except (OSError, subprocess.CalledProcessError) as error:
        advice = f"Install it as root ({' '.join(command)}), or choose another Python: make PYTHON3=..."
        sys.exit(f"{sys.executable} has no `venv` module, and it could not be installed: {error}\n{advice}")


def install_pins() -> None:
    """pip installs uv, uv the rest: 2 + 1 seconds where pip alone takes 21. Hashes are checked by both."""
    uv_pin = re.search(r"^uv==.*(\n +--hash=.*)+", PINS.read_text(), re.MULTILINE)
    if uv_pin is None:
        sys.exit(f"{PINS} does not pin uv: run `make pins`.")
    uv_only = VENV / "uv.txt"
    uv_only.write_text(uv_pin[0])
    certificates = {"UV_SYSTEM_CERTS": "1"}  # a company's own CA is trusted as by any other program
    if SYSTEM_CERTIFICATES.exists():
        certificates["PIP_CERT"] = str(SYSTEM_CERTIFICATES)
    environment = variables() | certificates
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(*pip, "--require-hashes", "--requirement", uv_only, env=environment)
    run(VENV / "bin" / "uv", "pip", "sync", "--quiet", "--require-hashes", PINS, env=environment)


def link_collection() -> None:
    """ansible_collections.flask_ops.production IS this checkout; a copy could be stale."""
    link = COLLECTIONS / "ansible_collections" / "flask_ops" / "production"
    link.parent.mkdir(parents=True)
    link.symlink_to(os.path.relpath(ROOT, link.parent), target_is_directory=True)


def run(*command: str | Path, env: dict[str, str] | None = None) -> None:
    subprocess.run([str(word) for word in command], check=True, env=env)


def main(command: list[str]) -> None:
    if sys.version_info < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        this = sys.version.split()[0]
        sys.exit(f"Python {oldest} or newer is needed, {sys.executable} is {this}: make PYTHON3=python{oldest} ...")
    if not is_current():
        with PINS.open() as lock:  # two commands started at once make it once
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not is_current():
                make()
    if command:
        os.chdir(ROOT)
        os.execvpe(command[0], command, variables())


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except subprocess.CalledProcessError as error:
        sys.exit(str(error))
