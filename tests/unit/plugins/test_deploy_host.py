"""What a deploy reads from a real host, and the log that it writes."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._deploy import host as _host
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.host import Host


def test_the_log_is_one_line_for_each_switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "flask-ops" / "deploys.jsonl"
    owned: list[tuple[object, ...]] = []
    monkeypatch.setattr(_host, "DEPLOYS", str(path))
    monkeypatch.setattr(_host, "own", lambda *arguments: owned.append(arguments))
    for number in (1, 2):
        Host().log_deploy({"app": "shop", "reason": f"line\n{number}"})
    assert [json.loads(line)["reason"] for line in path.read_text().splitlines()] == ["line\n1", "line\n2"]
    assert owned == [(str(path), 0o640, "root", "adm")]
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755


@pytest.mark.parametrize(
    ("names", "version"),
    [
        (["gunicorn-27.0.1.dist-info", "gunicorn", "gunicorn_extras-1.0.dist-info"], "27.0.1"),
        (["gunicorn-28.0.0rc1.dist-info"], "28.0.0rc1"),
        (["flask-3.1.0.dist-info"], ""),
    ],
)
def test_the_version_of_a_server_is_that_of_its_metadata(tmp_path: Path, names: list[str], version: str):
    for name in names:
        (tmp_path / "lib" / "python3.13" / "site-packages" / name).mkdir(parents=True)
    assert Host().server_version("gunicorn", str(tmp_path)) == version
