"""What the ecosystem asks of a collection, asked of the package as it is published: `python tests/sanity`

ansible-test sanity reads the installed package; galaxy-importer is what Galaxy runs when a package is uploaded. What
other steps of `make lint` check more strictly is left out here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.package import build

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flask-ops-tests"
"""ansible-test installs tools of its own, at first use: kept for all checkouts."""

CHECKED_BY_LINT = ["changelog", "pep8", "yamllint"]

# ansible-test gets pip from a host that only the internet has. Python brings a pip, which fetches the wanted one.
GET_PIP = """\
import subprocess, sys
subprocess.check_call([sys.executable, "-m", "ensurepip", "--default-pip"], stdout=subprocess.DEVNULL)
subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "pip==24.2"])
"""


def ansible_test(package: Path, folder: Path) -> int:
    """Run the sanity tests on the package as it is once installed; their exit status."""
    # Without --force, this checkout counts as an installation already.
    install = ["ansible-galaxy", "collection", "install", str(package), "-p", str(folder), "--force"]
    subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
    collection = folder / "ansible_collections" / "flask_ops" / "production"
    (collection / "tests" / "sanity").mkdir(parents=True)
    shutil.copy(HERE / "ignore.txt", collection / "tests" / "sanity" / "ignore-2.19.txt")
    bootstrap = CACHE / ".ansible" / "test" / "cache" / "get_pip_24_2.py"
    bootstrap.parent.mkdir(parents=True, exist_ok=True)
    bootstrap.write_text(GET_PIP)
    skipped = [word for name in CHECKED_BY_LINT for word in ("--skip-test", name)]
    this = f"{sys.version_info.major}.{sys.version_info.minor}"
    return subprocess.run(
        ["ansible-test", "sanity", "--python", this, "--color", "no", *skipped],
        cwd=collection,
        env=os.environ | {"HOME": str(CACHE)},
        check=False,
    ).returncode


def galaxy_importer(package: Path, folder: Path) -> int:
    """Ask what Galaxy would say to the package; the exit status."""
    settings = folder / "galaxy-importer.cfg"
    settings.write_text("[galaxy-importer]\nRUN_ANSIBLE_LINT = False\nRUN_FLAKE8 = False\nCHECK_REQUIRED_TAGS = True\n")
    return subprocess.run(
        [sys.executable, "-m", "galaxy_importer.main", str(package)],
        cwd=folder,
        env=os.environ | {"GALAXY_IMPORTER_CONFIG": str(settings)},
        check=False,
    ).returncode


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        built = build(Path(scratch))
        sys.exit(ansible_test(built, Path(scratch)) or galaxy_importer(built, Path(scratch)))
