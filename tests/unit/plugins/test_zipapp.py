"""The program of the timers: complete, without Ansible, and the same from the same sources."""

from __future__ import annotations

import base64
import subprocess
import sys
import zlib
from pathlib import Path

from ansible_collections.flask_ops.production.plugins.module_utils._host.transaction import Change, Entry, State
from ansible_collections.flask_ops.production.plugins.plugin_utils._task import files
from ansible_collections.flask_ops.production.plugins.plugin_utils._task.zipapp import PACKAGE, sources, zipapp

PROGRAM = "/opt/flask-ops/flask-ops.pyz"


def test_all_that_it_imports_is_in_it(tmp_path: Path):
    path = tmp_path / "flask-ops.pyz"
    path.write_bytes(zipapp("_timers.main"))
    python = [sys.executable, "-I", "-S"]
    imports = "".join(f"import {PACKAGE}.{name}\n" for name in sources("_timers.main"))
    subprocess.run(
        [*python, "-c", f"import sys\nsys.path.insert(0, {str(path)!r})\n{imports}"], check=True, cwd=tmp_path
    )
    done = subprocess.run(
        [*python, path, "metrics", "/none.json"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert "No such file or directory: '/none.json'" in done.stderr
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_sources_give_the_same_bytes():
    assert zipapp("_timers.main") == zipapp("_timers.main")
    assert zipapp("_host.advice") != zipapp("_timers.main")


def test_it_travels_in_a_module_s_arguments_and_is_written_as_it_was_built():
    (described,), _ = files.described([{"dest": PROGRAM, "zipapp": "_timers.main"}], lambda *_: "")
    entry = Entry.from_params(described)
    assert (entry.kind, entry.mode, entry.content) == ("file", 0o644, zipapp("_timers.main"))
    assert zlib.decompress(base64.b64decode(described["binary"])) == entry.content


def test_a_diff_has_its_checksum_alone():
    entry = Entry(PROGRAM, content=zipapp("_timers.main"))
    diff = Change(entry, State("absent")).diff()
    assert diff["after"].startswith("(archive, SHA-256 ")
    assert len(diff["after"]) < 100
