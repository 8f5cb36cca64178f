"""One run at a time per app, and the second one says who the first is."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils import _lock
from ansible_collections.flask_ops.production.plugins.module_utils._lock import LockedError, lock


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_lock, "LOCKS", str(tmp_path / "locks"))
    return tmp_path / "locks"


def test_a_second_run_gives_up_and_names_the_first():
    first = r"^shop: another run works on this app: ann@laptop, process \d+ on this host"
    with lock("shop", "ann@laptop", 0):
        with pytest.raises(LockedError, match=first), lock("shop", "bob@laptop", 0.3):
            pass
        with lock("blog", "bob@laptop", 0):
            pass
    with lock("shop", "bob@laptop", 0):
        pass


def test_the_lock_of_a_run_that_failed_is_free():
    with pytest.raises(KeyError), lock("shop", "ann@laptop", 0):
        raise KeyError
    with lock("shop", "bob@laptop", 0):
        assert (Path(_lock.LOCKS) / "shop.lock").read_text().startswith("bob@laptop, ")
