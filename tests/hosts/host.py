"""One host: a container that is reached like any server, and the record of how to reach it."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import ipaddress
import json
import os
import re
import shutil
import socket
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from . import image, names
from .engine import Engine
from .machine import is_alive
from .state import LASTING, VOLATILE, HostsError, lock, run, say, write

RECORDS = LASTING / "hosts"
KEYS = LASTING / "keys"
PORT = 22
NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
DOMAIN = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
BOOT_SECONDS = 90
AUTHORITIES = "usr/local/share/ca-certificates/machine"


@dataclasses.dataclass(frozen=True)
class Host:
    """What has to be known to reach a host; kept in a file from before it starts until it is removed."""

    name: str
    dist: int
    address: str
    domains: tuple[str, ...] = ()
    authorities: str = ""
    """Digest of the CA certificates that the host trusts."""
    user: str = image.USER
    port: int = PORT

    @property
    def record(self) -> Path:
        """Where all this is kept."""
        return RECORDS / self.name / "host.json"

    @property
    def known_hosts(self) -> Path:
        """Where ssh finds the host's key, and no other."""
        return RECORDS / self.name / "known_hosts"

    @property
    def identity_file(self) -> Path:
        """The caller's key."""
        return key_of_caller()

    @property
    def mac(self) -> str:
        """Derived from the address, so that nobody's neighbour table is ever out of date."""
        return "02:00:" + ipaddress.IPv4Address(self.address).packed.hex(":")

    @property
    def ssh_options(self) -> tuple[str, ...]:
        """Trust exactly the key that the host was given, offer exactly the key that it accepts."""
        return (
            *("-o", f"UserKnownHostsFile={self.known_hosts}"),
            *("-o", "StrictHostKeyChecking=yes"),
            *("-o", "IdentitiesOnly=yes"),
        )

    def save(self) -> None:
        """Keep it."""
        write(self.record, json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    def ssh(self, command: str, *, check: bool = True, timeout: float = 60) -> str | None:
        """Run a command on the host; None if it fails and may fail."""
        options = (*self.ssh_options, "-i", str(self.identity_file), "-o", "BatchMode=yes", "-o", "ConnectTimeout=5")
        done = run(
            *("ssh", "-F", "none", *options, "-p", str(self.port), f"{self.user}@{self.address}", command),
            check=check,
            timeout=timeout,
        )
        return None if done.returncode else done.stdout.strip()


def load(name: str) -> Host | None:
    """Read the record of a host, if there is one."""
    try:
        facts = json.loads((RECORDS / name / "host.json").read_text())
    except FileNotFoundError:
        return None
    return Host(**facts | {"domains": tuple(facts["domains"])})


def load_all() -> list[Host]:
    """Read all records."""
    found = (load(folder.name) for folder in sorted(RECORDS.glob("*")))
    return [host for host in found if host]


def up(engine: Engine, name: str, dist: int, domains: tuple[str, ...] | None) -> Host:
    """Have a host of that name running, a new one unless the present one will do."""
    check_names(name, domains or ())
    engine.prepare()
    provide_key()
    with lock(f"host-{name}"):
        host = load(name)
        if host and usable(engine, host, dist):
            say(f"{name}: already up")
        else:
            if domains is None:
                domains = host.domains if host else ()
            discard(engine, name)
            host = create(engine, name, dist, image.ensure(engine, dist), domains)
            wait_until_up(host)
        host = trust_authorities(engine, host)
        return give_domains(engine, host, host.domains if domains is None else domains)


def check_names(name: str, domains: Iterable[str]) -> None:
    """Refuse invalid names, and domains of another host."""
    wrong = [repr(text) for text, form in ((name, NAME), *((d, DOMAIN) for d in domains)) if not form.fullmatch(text)]
    if wrong:
        raise HostsError(f"No host name: {', '.join(wrong)} (lower-case letters, digits, dots and hyphens, please)")
    for other in load_all():
        if other.name != name and (shared := sorted(set(domains) & set(other.domains))):
            raise HostsError(f"{', '.join(shared)}: belongs to the host {other.name}; take that down first")


def usable(engine: Engine, host: Host, dist: int) -> bool:
    """Tell whether a recorded host can be used as it is, saying why if not."""
    if not running(engine, host.name):
        say(f"{host.name}: was started once, but runs no more; replacing it")
    elif host.dist != dist:
        say(f"{host.name}: is Debian {host.dist}; replacing it")
    elif host.ssh("true", check=False, timeout=15) is None:
        say(f"{host.name}: does not answer by SSH; replacing it")
    else:
        return True
    return False


def running(engine: Engine, name: str) -> bool:
    """Tell whether the host's first process lives, whatever the engine recorded."""
    container = engine.inspect("container", name)
    return container is not None and is_alive(container["State"]["Pid"], "systemd")


def create(engine: Engine, name: str, dist: int, image_name: str, domains: tuple[str, ...]) -> Host:
    """Make and start the container; everything that makes it this host goes in before it starts."""
    say(f"{name}: starting Debian {dist}")
    with lock("engine"):
        host = Host(name, dist, free_address(engine), domains)
        seed = make_seed(host)
        engine.podman(
            *("create", "--name", name, "--hostname", name, "--privileged", "--systemd=always"),
            *("--network", engine.network, "--ip", host.address, "--mac-address", host.mac),
            *aliases(domains, "--network-alias"),
            image_name,
        )
        engine.unpack(seed, name)
        engine.podman("start", name)
    return host


def clone(engine: Engine, origin: str, names: tuple[str, ...]) -> list[Host]:
    """Have copies of a host running, with what is on its disk now; address and keys are their own."""
    for name in names:
        check_names(name, ())
    engine.prepare()
    provide_key()
    original = load(origin)
    if not original or not running(engine, origin):
        raise HostsError(f"{origin}: no such host, or it is not up")
    copies, copy = [], f"localhost/flask-ops-clone:{origin}"
    with lock(f"clones-{origin}"):
        with lock("engine"):
            # Not every machine lets a container be paused; what is copied is what a power failure would leave.
            engine.podman("commit", "--pause=false", origin, copy)
        for name in names:
            with lock(f"host-{name}"):
                discard(engine, name)
                host = create(engine, name, original.dist, copy, ())
                copies.append(dataclasses.replace(host, authorities=original.authorities))
                copies[-1].save()
        # Without a name, the image goes when the last copy has gone (see `sweep`).
        engine.podman("untag", copy)
    for host in copies:
        wait_until_up(host)
    return copies


def sweep(engine: Engine) -> None:
    """Remove images that have no name and no container any more."""
    with lock("engine"):
        engine.podman("image", "prune", "--force", check=False)


def free_address(engine: Engine) -> str:
    """Return the first address of the network that no recorded host has."""
    network = engine.inspect("network", engine.network)
    if not network:
        raise HostsError("The hosts' network has vanished; once more, please")
    subnet = ipaddress.IPv4Network(network["subnets"][0]["subnet"])
    taken = {host.address for host in load_all()} | {network["subnets"][0]["gateway"]}
    return next(address for address in map(str, subnet.hosts()) if address not in taken)


def make_seed(host: Host) -> bytes:
    """Make the archive that turns the image into this host, and the record that lets it be recognized.

    The host's key is made here: its fingerprint is known before the host exists, so it is never taken on trust.
    """
    with TemporaryDirectory(prefix="key-", dir=VOLATILE) as folder:
        private = Path(folder) / "ssh_host_ed25519_key"
        make_key(private, host.name)
        public = private.with_suffix(".pub").read_text()
        kind, key, *_ = public.split()
        write(host.known_hosts, f"{host.name},{host.address} {kind} {key}\n")
        host.save()
        files = {
            "etc/ssh/ssh_host_ed25519_key": (private.read_text(), 0o600),
            "etc/ssh/ssh_host_ed25519_key.pub": (public, 0o644),
            f"home/{host.user}/.ssh/authorized_keys": (provide_key().with_suffix(".pub").read_text(), 0o644),
            # Empty in the image, too; a clone must not have that of its origin.
            "etc/machine-id": ("", 0o444),
        }
    return archive(files)


def archive(files: dict[str, tuple[str, int]]) -> bytes:
    """Pack texts, with their modes, into a tar file owned by root."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, (text, mode) in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode, entry.mtime = len(text.encode()), mode, int(time.time())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def wait_until_up(host: Host) -> None:
    """Wait for SSH, then for systemd to have started everything."""
    deadline = time.monotonic() + BOOT_SECONDS
    wait_for(lambda: port_open(host), deadline, f"{host.name} does not listen on port {host.port}")
    # While it boots, the host refuses everybody but root.
    wait_for(
        lambda: host.ssh("true", check=False, timeout=15) is not None, deadline, f"{host.name} does not answer by SSH"
    )
    state = host.ssh("systemctl is-system-running --wait || true")
    if state != "running":
        failed = host.ssh("systemctl --failed --plain --no-legend")
        say(f"{host.name}: systemd says {state}: {failed}")


def wait_for(true: Callable[[], bool], deadline: float, otherwise: str) -> None:
    """Wait until something is true."""
    while not true():
        if time.monotonic() > deadline:
            raise HostsError(f"{otherwise} after {BOOT_SECONDS} s")
        time.sleep(0.1)


def port_open(host: Host) -> bool:
    """Tell whether something listens for SSH."""
    try:
        with socket.create_connection((host.address, host.port), timeout=1):
            return True
    except OSError:
        return False


def trust_authorities(engine: Engine, host: Host) -> Host:
    """Install the machine's additional CA certificates on the host.

    apt and most programs read the system's store; pip and uv bring stores of their own and are configured to read it too.
    """
    texts = {path.name: path.read_text() for path in engine.machine.authorities}
    digest = hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest() if texts else ""
    if digest == host.authorities:
        return host
    files = {f"{AUTHORITIES}/{name}": (text, 0o644) for name, text in texts.items()}
    files["etc/pip.conf"] = ("[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n", 0o644)
    files["etc/uv/uv.toml"] = ("system-certs = true\n", 0o644)
    host.ssh(f"sudo rm -rf /{AUTHORITIES}")
    engine.unpack(archive(files), host.name)
    host.ssh(f"sudo update-ca-certificates {'--fresh' if host.authorities else ''}")
    host = dataclasses.replace(host, authorities=digest)
    host.save()
    return host


def give_domains(engine: Engine, host: Host, domains: tuple[str, ...]) -> Host:
    """Resolve the domains to the host, on the machine and on the other hosts."""
    if domains != host.domains:
        # Aliases are given when a container joins the network, so let it join once more.
        with lock("engine"):
            engine.podman("network", "disconnect", engine.network, host.name)
            place = ("--ip", host.address, "--mac-address", host.mac)
            engine.podman("network", "connect", *place, *aliases(domains), engine.network, host.name)
        host = dataclasses.replace(host, domains=domains)
        host.save()
    with lock("names"):
        names.publish(host.name, host.address, host.domains)
    return host


def aliases(domains: Iterable[str], option: str = "--alias") -> tuple[str, ...]:
    """Give domains as names in the hosts' network."""
    return tuple(word for domain in domains for word in (option, domain))


def down(engine: Engine, name: str) -> None:
    """Remove a host and every trace of it; that there is none is fine."""
    engine.prepare()
    with lock(f"host-{name}"):
        discard(engine, name)


def discard(engine: Engine, name: str) -> None:
    """Remove the container, dead or alive, then the names, then the record."""
    if engine.inspect("container", name):
        say(f"{name}: removing")
        with lock("engine"):
            engine.insist("rm", "--force", "--time", "0", name)
    with lock("names"):
        names.publish(name, "", ())
    shutil.rmtree(RECORDS / name, ignore_errors=True)


def reboot(engine: Engine, name: str) -> Host:
    """Restart the host and wait until it is back."""
    engine.prepare()
    provide_key()
    with lock(f"host-{name}"):
        host = load(name)
        if not host:
            raise HostsError(f"{name}: no such host")
        say(f"{name}: rebooting")
        with lock("engine"):
            engine.podman("restart", "--time", "30", name)
        wait_until_up(host)
    return host


def key_of_caller() -> Path:
    """Return the key that the person who calls may read, also when the tool itself runs through sudo."""
    caller = os.environ.get("SUDO_UID") if os.geteuid() == 0 else None
    return KEYS / (caller or str(os.getuid())) / "id_ed25519"


def provide_key() -> Path:
    """Make the key that opens all hosts, once, and a copy that belongs to the caller: ssh wants one's own file."""
    with lock("keys"):
        master, own = KEYS / "0" / "id_ed25519", key_of_caller()
        if not master.exists():
            with TemporaryDirectory(prefix="key-", dir=VOLATILE) as folder:
                draft = Path(folder) / "id_ed25519"
                make_key(draft, "flask-ops-hosts")
                copy_key(draft, master)
        if not own.exists():
            copy_key(master, own)
        for path in (own.parent, own):
            os.chown(path, int(own.parent.name), -1)
    return own


def copy_key(source: Path, target: Path) -> None:
    """Copy a key pair, the private one last: where it is, the other one is too."""
    write(target.with_suffix(".pub"), source.with_suffix(".pub").read_text())
    write(target, source.read_text(), 0o600)


def make_key(path: Path, comment: str) -> None:
    """Make a key pair without a passphrase."""
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))
