"""The container engine: a podman with storage, configuration and network of its own.

The user's own podman never sees the hosts, nor the hosts it.
"""

from __future__ import annotations

import json
import os
import resource
import secrets
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .machine import ORDINARY_MTU, Machine, cgroup_tree, is_alive
from .state import LASTING, VOLATILE, HostsError, lock, run, say, write

ADDRESS_POOL = "10.213.0.0/16"

CONTAINERS_CONF = VOLATILE / "containers.conf"
STORAGE_CONF = VOLATILE / "storage.conf"
BOOT_ID = VOLATILE / "boot_id"
NETWORK_NAME = VOLATILE / "network"
NAME_SERVER = Path("/run/containers/networks/aardvark-dns")  # podman's own place: every podman of root shares it
NAME_SERVER_PID = NAME_SERVER / "aardvark.pid"
NAMESPACE = VOLATILE / "namespace" / "mount"

Settings = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Engine:
    """Podman, as this machine needs it to be called."""

    machine: Machine

    def podman(
        self,
        *arguments: str,
        check: bool = True,
        stdin: bytes = b"",
        timeout: float = 300,
        scratch: Path = VOLATILE,
    ) -> subprocess.CompletedProcess[str]:
        """Run one podman command."""
        command = (*self.entrance, "podman", *arguments)
        env = {
            "PATH": os.environ["PATH"],
            "HOME": "/root",
            "CONTAINERS_CONF": str(CONTAINERS_CONF),
            "CONTAINERS_STORAGE_CONF": str(STORAGE_CONF),
            "TMPDIR": str(scratch),
        }
        return run(*command, check=check, stdin=stdin, timeout=timeout, env=env)

    def inspect(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return what podman knows of a container, image or network, or None."""
        done = self.podman(kind, "inspect", name, check=False)
        found: list[dict[str, Any]] = json.loads(done.stdout or "[]") if done.returncode == 0 else []
        return found[0] if found else None

    def unpack(self, archive: bytes, container: str) -> None:
        """Put the files of a tar archive into a container, running or not."""
        with TemporaryDirectory(prefix="unpack-", dir=VOLATILE) as scratch:  # podman leaves its own behind
            self.podman("cp", "-", f"{container}:/", stdin=archive, scratch=Path(scratch))

    def insist(self, *arguments: str) -> None:
        """Run a podman command, again if it fails.

        Processes may have been killed behind podman's back; it may need a first, failing attempt to notice.
        """
        for attempts_left in (3, 2, 1, 0):
            if self.podman(*arguments, check=not attempts_left).returncode == 0:
                return
            time.sleep(0.5)

    @property
    def network(self) -> str:
        """The hosts' network, a new one for each boot: podman may never forget the leases of an earlier one."""
        return NETWORK_NAME.read_text()

    @property
    def entrance(self) -> tuple[str, ...]:
        """What to put before every command, so that all of them see the same mounts."""
        return ("nsenter", f"--mount={NAMESPACE}", "--") if needs_namespace(self.machine) else ()

    def prepare(self) -> None:
        """Bring the engine from whatever state it was left in to one in which hosts can be started."""
        with lock("engine"):
            self.machine.install_missing()
            forget_earlier_boot()
            write(CONTAINERS_CONF, toml(engine_settings(self.machine)))
            write(STORAGE_CONF, toml(storage_settings()))
            if needs_namespace(self.machine):
                make_namespace()
            self._prepare_network()
            if not lives(NAME_SERVER_PID, "aardvark-dns"):
                # Podman believes its file, even if the process is a zombie by now, or another one altogether.
                NAME_SERVER_PID.unlink(missing_ok=True)
                self.podman("network", "reload", "--all", check=False)

    def purge(self) -> None:
        """Remove everything that the tool ever put on the machine, except for the packages."""
        with lock("engine"):
            self.podman("network", "rm", "--force", self.network)
            unmount_namespace()
            for folder in (VOLATILE, LASTING):
                shutil.rmtree(folder)

    def _prepare_network(self) -> None:
        """Make the network of the hosts; make it again if the packet size is no longer right."""
        wanted = str(self.machine.mtu) if self.machine.mtu < ORDINARY_MTU else None
        network = self.inspect("network", self.network)
        if network and network.get("options", {}).get("mtu") == wanted:
            return
        in_use = bool(self.podman("ps", "-q").stdout.strip())
        if network and in_use:
            say("The MTU of this machine has changed; the running hosts keep the old one until all are down.")
            return
        earlier = self.podman("network", "ls", "--quiet", "--filter", "name=flask-ops-hosts").stdout.split()
        for name in () if in_use else earlier:
            self.podman("network", "rm", "--force", name)
        self.podman("network", "create", *(("--opt", f"mtu={wanted}") if wanted else ()), self.network)


def lives(pid_file: Path, program: str) -> bool:
    """Tell whether the process that a file names is that program."""
    try:
        return is_alive(int(pid_file.read_text()), program)
    except (FileNotFoundError, ValueError):
        return False


def needs_namespace(machine: Machine) -> bool:
    """Tell whether podman must be shown another control group tree than the machine's own."""
    return machine.cgroups != "unified"


def engine_settings(machine: Machine) -> Settings:
    """Choose what containers.conf says: nothing unusual, unless the machine is unusual.

    File locks and a folder for volatile things of its own keep this podman apart from the user's, whose locks live in
    shared memory under one name for all.
    """
    # A host runs a whole operating system, so its processes are not counted; nor has every tree the controller for
    # that. 0 is "none": -1 would be taken for "not set".
    containers: dict[str, Any] = {"base_hosts_file": "none", "pids_limit": 0}
    engine: dict[str, Any] = {
        "events_logger": "none",
        "lock_type": "file",
        "tmp_dir": str(VOLATILE / "libpod"),
    }
    network: dict[str, Any] = {
        "network_backend": "netavark",
        "network_config_dir": str(LASTING / "networks"),
        "default_subnet_pools": [{"base": ADDRESS_POOL, "size": 24}],
    }
    if needs_namespace(machine):
        # crun refuses such trees, and there is no systemd to ask for groups.
        engine |= {"runtime": "runc", "cgroup_manager": "cgroupfs"}
    if not machine.may_raise_limits:
        # crun asks for unlimited locked memory, podman for its own limits: both above the hard limits.
        engine |= {"runtime": "runc"}
        limits = {"nofile": machine.nofile, "nproc": machine.nproc}
        containers |= {
            "default_ulimits": [
                f"{name}={hard}:{hard}" for name, hard in limits.items() if hard != resource.RLIM_INFINITY
            ]
        }
    return {"containers": containers, "engine": engine, "network": network}


def storage_settings() -> Settings:
    """Say where images and containers are kept."""
    return {
        "storage": {
            "driver": "overlay",
            "graphroot": str(LASTING / "storage"),
            "runroot": str(VOLATILE / "storage"),
        }
    }


def toml(settings: Settings) -> str:
    """Render settings as TOML."""
    sections = (
        f"[{name}]\n" + "".join(f"{key} = {toml_value(value)}\n" for key, value in values.items())
        for name, values in settings.items()
    )
    return "\n".join(sections)


def toml_value(value: object) -> str:
    """Render one value; only tables need something else than JSON."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(value)


def forget_earlier_boot() -> None:
    """Drop what an earlier boot of the machine left, where /run is not emptied by itself."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text()
    if BOOT_ID.exists() and BOOT_ID.read_text() == boot_id and NETWORK_NAME.exists():
        return
    if VOLATILE.exists():
        unmount_namespace()
        shutil.rmtree(VOLATILE)
    for names in NAME_SERVER.glob("flask-ops-hosts*"):
        names.unlink()
    write(NETWORK_NAME, f"flask-ops-hosts-{secrets.token_hex(4)}")
    write(BOOT_ID, boot_id)


def make_namespace() -> None:
    """Keep a mount namespace in which the control group tree is version 2 and nothing else.

    It lives as long as the file it is mounted on, without any process; the machine's own mounts are not changed.
    """
    if namespace_is_sound():
        return
    folder = str(NAMESPACE.parent)
    NAMESPACE.parent.mkdir(exist_ok=True)
    unmount_namespace()
    # A namespace can only be pinned to a file on a mount that is not shared with others.
    run("mount", "--bind", folder, folder)
    run("mount", "--make-private", folder)
    NAMESPACE.touch()
    script = "umount --recursive /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup"
    run("unshare", f"--mount={NAMESPACE}", "sh", "-c", script)
    if not namespace_is_sound():
        raise HostsError("This machine does not let a pure cgroup2 tree be mounted; the hosts cannot run here.")


def unmount_namespace() -> None:
    """Let go of the namespace, whole or half-made; the kernel removes it with its last user."""
    while run("umount", "--recursive", str(NAMESPACE.parent), check=False).returncode == 0:
        pass


def namespace_is_sound() -> bool:
    """Tell whether the namespace is there and shows what it should."""
    if not NAMESPACE.exists():
        return False
    done = run("nsenter", f"--mount={NAMESPACE}", "--", "cat", "/proc/self/mounts", check=False)
    return done.returncode == 0 and cgroup_tree(done.stdout) == "unified"
