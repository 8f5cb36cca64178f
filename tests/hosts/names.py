"""The machine's /etc/hosts: domains that resolve to a host on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

HOSTS_FILE = Path("/etc/hosts")


def publish(name: str, address: str, domains: Iterable[str]) -> None:
    """Resolve the domains to the address; without domains, remove the host's entries."""
    before = HOSTS_FILE.read_text()
    after = with_block(before, name, address, domains)
    if after != before:
        # Not replaced by a new file: in a container it is a mount, and elsewhere others may hold it.
        HOSTS_FILE.write_text(after)


def with_block(text: str, name: str, address: str, domains: Iterable[str]) -> str:
    """Return the text of a hosts file with exactly one block for the host, or none if there are no domains."""
    begin, end = f"# BEGIN flask-ops test host {name}", f"# END flask-ops test host {name}"
    text = re.sub(rf"^{re.escape(begin)}\n.*?^{re.escape(end)}\n", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [f"{address} {domain}" for domain in domains]
    if not lines:
        return text
    if text and not text.endswith("\n"):
        text += "\n"
    return text + "\n".join((begin, *lines, end)) + "\n"
