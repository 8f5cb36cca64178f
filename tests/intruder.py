"""What somebody tries who has taken over an app. Runs as the app's user, under its sandbox; every try must be refused.

Takes a JSON object: app, other (another app), pid (a process of the other's), seen (a file in the host's /tmp).
Prints a JSON object: each try, and how it was refused, or null where it was not.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
# x86_64 and aarch64 number them differently.
CALLS = {
    "x86_64": {"ptrace": 101, "bpf": 321, "perf_event_open": 298, "keyctl": 250, "init_module": 175, "kexec_load": 246},
    "aarch64": {
        "ptrace": 117,
        "bpf": 280,
        "perf_event_open": 241,
        "keyctl": 219,
        "init_module": 105,
        "kexec_load": 104,
    },
}[os.uname().machine]


def system_call(name: str, *arguments: int) -> None:
    checked(LIBC.syscall(CALLS[name], *arguments))


def checked(result: int) -> None:
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def write(path: str) -> None:
    Path(path).write_text("x")


def connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(path)


def reach(port: int) -> None:
    """Reach a service of the host's: also a port that nobody listens on is in reach."""
    with contextlib.suppress(ConnectionRefusedError):
        socket.create_connection(("127.0.9.1", port), timeout=3).close()


def fill(directory: str) -> None:
    """Write more than the memory of the host has."""
    path = Path(directory, "intruder")
    try:
        with path.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 3)
    finally:
        path.unlink()


def command(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise PermissionError(f"status {done.returncode}: {done.stderr.strip()[-100:]}")


def listed(path: str) -> None:
    if not list(Path(path).iterdir()):
        raise PermissionError("it is empty")


def make_setuid(directory: str) -> None:
    path = Path(directory, "setuid")
    path.write_text("#!/bin/sh\n")
    try:
        path.chmod(0o4755)
        if not path.stat().st_mode & stat.S_ISUID:
            raise PermissionError("the bit is not set")
    finally:
        path.unlink()


def tries(app: str, other: str, pid: int, seen: str) -> dict[str, Callable[[], Any]]:
    data = f"/srv/{app}/shared"
    return {
        # What belongs to others, and to root.
        "read the passwords of the host": lambda: Path("/etc/shadow").read_bytes(),
        "read its own environment file": lambda: Path(f"/etc/flask-ops/{app}/environment").read_bytes(),
        "read another app's environment": lambda: Path(f"/etc/flask-ops/{other}/environment").read_bytes(),
        "list another app's configuration": lambda: listed(f"/etc/flask-ops/{other}"),
        "list another app's data": lambda: listed(f"/srv/{other}/shared"),
        "list another app's code": lambda: listed(f"/srv/{other}/current/app"),
        "read another app's logs": lambda: Path(f"/var/log/nginx/{other}.access.log").read_bytes(),
        "list root's home": lambda: listed("/root"),
        "list the homes": lambda: listed("/home"),
        "list what its builds keep": lambda: listed(f"/srv/{app}/.build/work"),
        "list the keys of builds": lambda: listed("/run/flask-ops/.build"),
        "see the host's /tmp": lambda: Path(seen).stat(),
        "read the journal": lambda: command("sh", "-c", "journalctl --quiet --lines 1 | grep ."),
        "read a certificate's key": lambda: Path(f"/etc/nginx/certificates/{app}/privkey.pem").read_bytes(),
        # Writing where it must not.
        "change its own code": lambda: write(f"/srv/{app}/current/app/intruder.py"),
        "change its own environment of Python": lambda: write(f"/srv/{app}/current/venv/intruder.py"),
        "write what a login runs": lambda: write("/etc/profile.d/intruder.sh"),
        "write a program": lambda: write("/usr/local/bin/intruder"),
        "write a unit": lambda: write("/run/systemd/system/intruder.service"),
        "write into /var": lambda: write("/var/lib/intruder"),
        "write a setting of the kernel": lambda: write("/proc/sys/kernel/core_pattern"),
        "write into the control groups": lambda: Path("/sys/fs/cgroup/intruder").mkdir(),
        "make a setuid program": lambda: make_setuid(data),
        # Other processes.
        "see another app's process": lambda: listed(f"/proc/{pid}"),
        "read another app's environment in /proc": lambda: Path(f"/proc/{pid}/environ").read_bytes(),
        "read the environment of process 1": lambda: Path("/proc/1/environ").read_bytes(),
        "signal another app's process": lambda: os.kill(pid, signal.SIGCONT),
        "trace another app's process": lambda: system_call("ptrace", 16, pid, 0, 0),
        "connect to its own slots": lambda: connect(f"/run/flask-ops/{app}/current/1.sock"),
        "connect to another app": lambda: connect(f"/run/flask-ops/{other}/current/1.sock"),
        "talk to systemd itself": lambda: connect("/run/systemd/private"),
        "ask nginx's counters": lambda: reach(9112),
        "ask the exporter of nginx": lambda: reach(9113),
        "read the profiles of mtail": lambda: reach(3903),
        "ask the exporter of gunicorn": lambda: reach(9103),
        "stop a service": lambda: command("systemctl", "--no-ask-password", "stop", "cron.service", "nginx.service"),
        # What all share.
        "fill the shared memory of the host": lambda: fill("/dev/shm"),
        "write into /run": lambda: write("/run/flask-ops/intruder"),
        "take the lock of certificates": lambda: os.open("/run/flask-ops/.letsencrypt.lock", os.O_RDONLY),
        # More rights.
        "become root": lambda: os.setuid(0),
        "become root by sudo": lambda: command("sudo", "-n", "true"),
        "change its groups": lambda: os.setgroups([0]),
        "change its root": lambda: os.chroot(data),
        "make a namespace of users": lambda: checked(LIBC.unshare(0x10000000)),
        "make a namespace of mounts": lambda: checked(LIBC.unshare(0x00020000)),
        "mount": lambda: checked(LIBC.mount(b"none", data.encode(), b"tmpfs", 0, None)),
        "open a raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        "open a packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "open a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
        "get real-time priority": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)),
        # The kernel and the host.
        "read the kernel's log": lambda: checked(LIBC.klogctl(3, ctypes.create_string_buffer(100), 100)),
        "read the kernel's log by its device": lambda: os.open("/dev/kmsg", os.O_RDONLY),
        "read the memory of the host": lambda: os.open("/dev/mem", os.O_RDONLY),
        "load a module": lambda: system_call("init_module", 0, 0, 0),
        "load another kernel": lambda: system_call("kexec_load", 0, 0, 0, 0),
        "load a program into the kernel": lambda: system_call("bpf", 0, 0, 0),
        "measure other processes": lambda: system_call("perf_event_open", 0, 0, -1, -1, 0),
        "use the kernel's keys": lambda: system_call("keyctl", 0, 0, 0),
        "change the host's name": lambda: socket.sethostname("intruder"),
    }


def refusal(attempt: Callable[[], Any]) -> str | None:
    try:
        attempt()
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None


def main() -> None:
    given = json.loads(sys.argv[1])
    print(json.dumps({name: refusal(attempt) for name, attempt in tries(**given).items()}))


if __name__ == "__main__":
    main()
