"""What is wrong on a host after a scenario: secrets where others can see them, rights that are too wide.

Runs on the host, as root, in one go; needs nothing but Python. Prints a list of faults for each thing that must hold.
"""

from __future__ import annotations

import gzip
import json
import os
import pwd
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

CANARY = re.compile(rb"canary[-+][0-9a-f]{6,}")  # base64 has plus signs
KEY = re.compile(rb"^-----BEGIN ([A-Z]+ )*PRIVATE KEY", re.MULTILINE)
PLACES = ("/etc", "/home", "/opt", "/root", "/run", "/srv", "/tmp", "/usr/local", "/var", "/dev/shm")
LARGEST = 20_000_000
OF_TESTS = {"/etc/bind/named.conf.local"}
"""The key of a scenario's name server, whose own user has to read it."""
OF_DEBIANS = {"/etc/ssl/private/ssl-cert-snakeoil.key", "/etc/testssl/tls_data.txt"}

Found = tuple[str, os.stat_result, bool]


def walk(top: str, others: bool = True) -> Iterator[Found]:
    """Everything below a directory, and whether those who are neither its owner nor in its group get there."""
    try:
        entries = list(os.scandir(top))
    except OSError:
        return
    for entry in entries:
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        yield entry.path, status, others
        if entry.is_dir(follow_symlinks=False) and (entry.path == "/run/lock" or not os.path.ismount(entry.path)):
            yield from walk(entry.path, others and bool(status.st_mode & 0o001))


def content(path: str) -> bytes:
    try:
        if path.endswith(".gz"):
            with gzip.open(path) as stream:
                return stream.read(LARGEST)
        with Path(path).open("rb") as stream:
            return stream.read(LARGEST)
    except (OSError, EOFError):
        return b""


def output(*command: str) -> bytes:
    return subprocess.run(command, capture_output=True, check=False).stdout


def leaks(found: list[Found]) -> Iterator[str]:
    """Secrets in the journal, in logs, in units, in command lines, and in files that not root alone can read."""
    journal = output("journalctl", "--no-pager", "--output=json", "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_COMM")
    for line in journal.splitlines():
        # What the tests themselves look for stands in a line of sudo's.
        if CANARY.search(line) and not (b'"SYSLOG_IDENTIFIER":"sudo"' in line and b"BECOME-SUCCESS" not in line):
            yield f"journal: {line.decode()[:200]}"
    if CANARY.search(output("systemctl", "show", "--all", "*")):
        yield "systemctl show"
    for pid in (path.name for path in Path("/proc").glob("[0-9]*")):
        if CANARY.search(content(f"/proc/{pid}/cmdline")):
            yield f"arguments of process {pid}: {content(f'/proc/{pid}/comm').decode().strip()}"
    for path, status, others in found:
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            continue
        if path.startswith("/var/log/journal/") or path in OF_TESTS:
            continue
        if (
            not for_root(status, others) or path.startswith(("/var/log/", "/tmp/", "/var/tmp/", "/root/.ansible/"))
        ) and CANARY.search(content(path)):
            yield f"{path} ({stat.filemode(status.st_mode)})"


def for_root(status: os.stat_result, others: bool) -> bool:
    return status.st_uid == 0 and (not status.st_mode & 0o077 or (not others and status.st_gid == 0))


def open_keys(found: list[Found]) -> Iterator[str]:
    """Private keys, but for those that a Python package tests itself with."""
    for path, status, others in found:
        wide = stat.S_ISREG(status.st_mode) and not for_root(status, others) and "/site-packages/" not in path
        if wide and 100 < status.st_size < 20_000 and path not in OF_DEBIANS and KEY.match(content(path)):
            yield f"{path} ({stat.filemode(status.st_mode)})"


def setuid(found: list[Found]) -> Iterator[str]:
    """Debian's own are below /usr."""
    for path, status, _ in found:
        if stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
            yield f"{path} ({stat.filemode(status.st_mode)})"


def apps() -> dict[str, pwd.struct_passwd]:
    """The users of apps: those of python_app, and in scenarios without it, those that a slot runs as."""
    slots = {path.name.removesuffix("-blue.socket") for path in Path("/etc/systemd/system").glob("*-blue.socket")}
    return {
        user.pw_name: user
        for user in pwd.getpwall()
        if user.pw_gecos == f"Flask app {user.pw_name}" or user.pw_name in slots
    }


def may(user: pwd.struct_passwd, status: os.stat_result, right: int) -> bool:
    """Whether a user has a right (4 read, 2 write, 1 search), by the mode."""
    shift = 6 if status.st_uid == user.pw_uid else 3 if status.st_gid == user.pw_gid else 0
    return bool(status.st_mode >> shift & right)


def reachable(user: pwd.struct_passwd, top: str) -> Iterator[tuple[str, os.stat_result]]:
    try:
        status = os.lstat(top)
    except OSError:
        return
    yield top, status
    if stat.S_ISDIR(status.st_mode) and may(user, status, 1):
        for path in sorted(Path(top).iterdir()):
            yield from reachable(user, str(path))


def writable(users: dict[str, pwd.struct_passwd]) -> Iterator[str]:
    """What an app could change of its code, its environment, and of what systemd and root run. Its own data it may."""
    for name, user in users.items():
        units = (
            output("systemctl", "show", f"{name}-blue.service", "--property=ReadWritePaths", "--value").decode().split()
        )
        data = (*units, f"/srv/{name}/.build", f"/srv/{name}/shared", f"/var/log/flask-ops/{name}")
        for top in (
            f"/srv/{name}",
            f"/etc/flask-ops/{name}",
            f"/run/flask-ops/{name}",
            "/opt/flask-ops",
            "/etc/flask-ops",
            "/etc/systemd/system",
        ):
            for path, status in reachable(user, top):
                own = any(path == place or path.startswith(f"{place}/") for place in data)
                if not own and not stat.S_ISLNK(status.st_mode) and may(user, status, 2):
                    yield f"{name} may write {path} ({stat.filemode(status.st_mode)})"


def of_others(users: dict[str, pwd.struct_passwd]) -> Iterator[str]:
    """What one app can read of another's; static files are for everybody."""
    ours = {name: user for name, user in users.items() if user.pw_gecos == f"Flask app {name}"}
    for name, user in ours.items():
        for other in ours.keys() - {name}:
            for top in (
                f"/srv/{other}",
                f"/etc/flask-ops/{other}",
                f"/run/flask-ops/{other}",
                f"/var/log/flask-ops/{other}",
                f"/var/log/nginx/{other}.access.log",
            ):
                for path, status in reachable(user, top):
                    public = re.match(rf"/srv/{other}/(releases/[^/]+/static|old-static)(/|$)", path)
                    if stat.S_ISREG(status.st_mode) and status.st_size and may(user, status, 4) and not public:
                        yield f"{name} may read {path}"
                    if stat.S_ISSOCK(status.st_mode) and may(user, status, 2):
                        yield f"{name} may connect to {path}"


def accounts(users: dict[str, pwd.struct_passwd]) -> Iterator[str]:
    """A user of an app is in no other group, and nobody logs in as it."""
    for name, user in users.items():
        if os.getgrouplist(name, user.pw_gid) != [user.pw_gid]:
            yield f"{name} is in the groups {os.getgrouplist(name, user.pw_gid)}"
        if not user.pw_shell.endswith(("nologin", "false")):
            yield f"{name} has the shell {user.pw_shell}"


def sockets(found: list[Found], users: dict[str, pwd.struct_passwd]) -> Iterator[str]:
    """Sockets of apps are for nginx and for nobody else."""
    for path, status, _ in found:
        if stat.S_ISSOCK(status.st_mode) and path.split("/")[2] in users and status.st_mode & 0o117:
            yield f"{path} ({stat.filemode(status.st_mode)})"


def main() -> None:
    found = [entry for place in PLACES for entry in walk(place)]
    users = apps()
    faults = {
        "secrets": leaks(found),
        "keys": open_keys(found),
        "setuid": setuid(found),
        "writable": writable(users),
        "of others": of_others(users),
        "accounts": accounts(users),
        "sockets": sockets(found, users),
    }
    json.dump({name: sorted(set(said)) for name, said in faults.items()}, sys.stdout)


if __name__ == "__main__":
    main()
