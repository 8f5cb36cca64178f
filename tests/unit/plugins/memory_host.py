"""A host in memory, on which deploys can be interrupted at every change."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ansible_collections.flask_ops.production.plugins.module_utils._deploy.host import Host
from ansible_collections.flask_ops.production.plugins.module_utils._host.lock import Step
from ansible_collections.flask_ops.production.plugins.module_utils._host.systemd import UNITS
from ansible_collections.flask_ops.production.plugins.module_utils._host.transaction import Entry, State


class InterruptedRun(BaseException):
    """The run ends here, as by a kill: nothing after it happens, and nothing is rolled back."""


class MemoryHost(Host):
    """systemd and files in memory. Whatever changes something goes through :meth:`change`."""

    def __init__(self) -> None:
        self.enabled_units: set[str] = set()
        self.failed: set[str] = set()
        self.files: dict[str, State] = {}
        self.loaded: dict[str, State] = {}  # the units' files as systemd read them last
        self.log: list[str] = []
        self.seconds = 0.0
        self.changes_left: float = float("inf")
        self.locked: set[str] = set()
        self.leftovers: set[str] = set()  # beside these files

    def change(self, words: str) -> None:
        """Log the next change, unless the run is interrupted."""
        if self.changes_left <= 0:
            raise InterruptedRun
        self.changes_left -= 1
        self.log.append(words)

    def running(self, unit: str) -> bool:
        raise NotImplementedError

    def state(self, unit: str) -> str:
        return "active" if self.running(unit) else "failed" if unit in self.failed else "inactive"

    def enabled(self, unit: str) -> bool:
        return unit in self.enabled_units

    def any_in_use(self, *units: str) -> bool:
        return any(self.state(unit) != "inactive" or self.enabled(unit) for unit in units)

    def journal(self, unit: str) -> str:
        return f"last words of {unit}"

    def read(self, path: str) -> State:
        return self.files.get(path, State("absent"))

    def write_in_memory(self, entry: Entry) -> None:
        if entry.kind == "absent":
            self.delete(entry.dest)
        else:
            kind = "directory" if entry.kind == "files" else entry.kind
            self.files[entry.dest] = State(kind, entry.content, entry.target, entry.mode, entry.owner, entry.group)

    def delete(self, path: str) -> None:
        for found in [known for known in self.files if f"{known}/".startswith(f"{path}/")]:
            del self.files[found]

    def clean(self, entries: list[Entry]) -> None:
        assert self.locked, "files of another run"
        self.leftovers -= {entry.dest for entry in entries}

    def reload_units(self) -> None:
        self.change("daemon-reload")
        self.load()

    def load(self) -> None:
        self.loaded = {path: state for path, state in self.files.items() if path.startswith(UNITS)}

    @contextlib.contextmanager
    def lock(self, app: str) -> Iterator[Step]:
        assert app not in self.locked
        self.locked.add(app)
        try:
            yield Step(last=True)
        finally:
            self.locked.discard(app)

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
