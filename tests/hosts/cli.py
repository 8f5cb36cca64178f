"""The commands."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from . import host as hosts
from . import image
from .engine import Engine
from .inventory import as_data, as_yaml
from .machine import Machine
from .state import HostsError

NEED_ROOT = ("up", "clone", "down", "list", "reboot", "purge")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command."""
    options = parser().parse_args(arguments)
    try:
        if options.command in NEED_ROOT and os.geteuid() != 0:
            become_root()
        return int(options.run(options) or 0)
    except HostsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """Describe the commands."""
    top = argparse.ArgumentParser(prog="tests/hosts", description=__import__(__package__).__doc__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser("up", help="have a host running and print an inventory for it")
    command.add_argument("name", metavar="NAME")
    command.add_argument("--dist", type=int, choices=sorted(image.SUITES), default=max(image.SUITES))
    command.add_argument("--domain", action="append", metavar="D", help="a name of the host in DNS; repeatable")
    command.add_argument("--json", action="store_true", help="print data for programs instead")
    command.set_defaults(run=up)

    command = commands.add_parser("clone", help="have copies of a host running, with what is on its disk now")
    command.add_argument("origin", metavar="HOST")
    command.add_argument("names", nargs="+", metavar="NAME")
    command.set_defaults(run=clone)

    command = commands.add_parser("inventory", help="print the inventory of hosts that are up")
    command.add_argument("names", nargs="*", metavar="NAME", help="all, if none is given")
    command.add_argument("--json", action="store_true", help="print data for programs instead")
    command.set_defaults(run=inventory)

    command = commands.add_parser("list", help="show the hosts")
    command.add_argument("--json", action="store_true", help="print data for programs instead")
    command.set_defaults(run=show)

    command = commands.add_parser("reboot", help="restart a host and wait until it is back")
    command.add_argument("name", metavar="NAME")
    command.set_defaults(run=reboot)

    command = commands.add_parser("down", help="remove hosts")
    command.add_argument("names", nargs="*", metavar="NAME")
    command.add_argument("--all", action="store_true", help="all of them")
    command.set_defaults(run=down)

    command = commands.add_parser("purge", help="remove the hosts, the images, the keys: all but the packages")
    command.set_defaults(run=purge)

    return top


def become_root() -> None:
    """Start again through sudo: the engine, its mounts and its network are root's business."""
    sudo = shutil.which("sudo")
    if not sudo:
        raise HostsError("This needs root, and there is no sudo here: run it as root")
    sys.stdout.flush()
    os.execv(sudo, [sudo, "--", sys.executable, str(Path(__file__).parent), *sys.argv[1:]])


def up(options: argparse.Namespace) -> None:
    """Have a host running."""
    domains = tuple(dict.fromkeys(options.domain)) if options.domain else None
    host = hosts.up(Engine(Machine.detect()), options.name, options.dist, domains)
    print(json.dumps(as_data(host), indent=2) if options.json else as_yaml([host]), end="\n" if options.json else "")


def clone(options: argparse.Namespace) -> None:
    """Have copies of a host running."""
    print(as_yaml(hosts.clone(Engine(Machine.detect()), options.origin, tuple(options.names))), end="")


def inventory(options: argparse.Namespace) -> None:
    """Print how to reach hosts, without checking that they answer."""
    known = {host.name: host for host in hosts.load_all()}
    if unknown := set(options.names) - set(known):
        raise HostsError(f"{', '.join(sorted(unknown))}: no such host")
    wanted = [known[name] for name in options.names or known]
    if options.json:
        print(json.dumps([as_data(host) for host in wanted], indent=2))
    else:
        print(as_yaml(wanted), end="")


def show(options: argparse.Namespace) -> None:
    """List the hosts."""
    engine = Engine(Machine.detect())
    engine.prepare()
    rows = [as_data(host) | {"state": state(engine, host)} for host in hosts.load_all()]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    columns = ("name", "dist", "address", "state")
    for row in [{column: column.upper() for column in columns}, *rows]:
        print("{:<24} {:<5} {:<16} {}".format(*(row[column] for column in columns)))


def state(engine: Engine, host: hosts.Host) -> str:
    """Return the state of a host."""
    if not hosts.running(engine, host.name):
        return "dead"
    return "up" if hosts.port_open(host) else "silent"


def reboot(options: argparse.Namespace) -> None:
    """Restart a host."""
    hosts.reboot(Engine(Machine.detect()), options.name)


def down(options: argparse.Namespace) -> None:
    """Remove hosts."""
    names = [host.name for host in hosts.load_all()] if options.all else options.names
    if not names and not options.all:
        raise HostsError("Which hosts? Name them, or say --all")
    engine = Engine(Machine.detect())
    for name in names:
        hosts.down(engine, name)
    hosts.sweep(engine)


def purge(_: argparse.Namespace) -> None:
    """Remove everything."""
    engine = Engine(Machine.detect())
    for host in hosts.load_all():
        hosts.down(engine, host.name)
    engine.prepare()
    engine.purge()
