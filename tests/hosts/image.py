"""The image of a bare Debian server, made from the distribution's own packages: no container registry needed."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from .engine import Engine
from .state import LASTING, lock, run, say

SUITES = {12: "bookworm", 13: "trixie"}

USER = "admin"

PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "python3",
    "ca-certificates",
    "openssh-server",
    "sudo",
    "iproute2",
    "procps",
)

CUSTOMIZE = f"""
set -eu
# A login that is not root, as on any well-kept server; its key comes with the host, not with the image.
useradd --create-home --shell /bin/bash --user-group {USER}
install -d -m 0700 -o {USER} -g {USER} /home/{USER}/.ssh
echo '{USER} ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/{USER}
chmod 0440 /etc/sudoers.d/{USER}
printf 'PermitRootLogin no\\nPasswordAuthentication no\\n' > /etc/ssh/sshd_config.d/test-host.conf
# What makes a host itself must not be shared by all hosts.
rm -f /etc/ssh/ssh_host_*
: > /etc/machine-id
# The machine's kernel is not the host's to configure.
systemctl mask systemd-modules-load.service systemd-sysctl.service
"""

IMPORT = (
    *("--change", 'CMD ["/lib/systemd/systemd"]'),
    *("--change", "STOPSIGNAL SIGRTMIN+3"),
)
"""How the image starts, and the signal that shuts systemd down."""


def reference(dist: int) -> str:
    """Name the image; the name changes with the recipe, so a new recipe means a new image."""
    recipe = "\n".join((SUITES[dist], *PACKAGES, CUSTOMIZE, *IMPORT))
    return f"localhost/flask-ops-host:{dist}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def ensure(engine: Engine, dist: int) -> str:
    """Return the image of a Debian release, building it if this is the first time."""
    name = reference(dist)
    with lock(f"image-{dist}"):
        if engine.podman("image", "exists", name, check=False).returncode:
            build(engine, dist, name)
    return name


def build(engine: Engine, dist: int, name: str) -> None:
    """Build an image in a folder that no other build uses, and import it only when it is complete."""
    say(f"Building the image of Debian {dist} (once, about half a minute)")
    workshop = LASTING / "builds"
    workshop.mkdir(exist_ok=True)
    for leftover in workshop.glob(f"{dist}-*"):
        shutil.rmtree(leftover)
    with TemporaryDirectory(prefix=f"{dist}-", dir=workshop) as folder:
        tar = Path(folder) / "root.tar"
        bootstrap(dist, tar)
        engine.podman("import", *IMPORT, str(tar), name, scratch=tar.parent)


def bootstrap(dist: int, tar: Path) -> None:
    """Put Debian's packages into a tar file.

    All of it happens in namespaces that die with this process, even by kill -9: no half-built root stays mounted.
    """
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "TMPDIR": str(tar.parent)}
    run(
        *("setpriv", "--pdeathsig", "KILL"),
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
        f"--customize-hook=chroot \"$1\" sh -c '{shell_quoted(CUSTOMIZE)}'",
        *(SUITES[dist], str(tar)),
        env=env,
    )


def shell_quoted(text: str) -> str:
    """Prepare a text to stand between single quotes in a shell command."""
    return text.replace("'", "'\\''")
