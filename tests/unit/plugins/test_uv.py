"""Interpreters that the host does not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._release import uv as _uv


@pytest.fixture
def pythons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_uv, "TOOLS", str(tmp_path))
    monkeypatch.setattr(_uv, "PYTHONS", str(tmp_path / "python"))
    monkeypatch.setattr(_uv, "ensure_uv", lambda: "/uv")
    return tmp_path / "python"


@pytest.mark.usefixtures("pythons")
def test_a_path_is_taken_as_it_is():
    assert _uv.interpreter("/usr/bin/python3") == "/usr/bin/python3"
    _uv.ensure_python("/no/such/python")


def test_a_version_that_the_host_lacks_is_installed_once_from_the_mirror(
    pythons: Path, monkeypatch: pytest.MonkeyPatch
):
    calls: list[list[str]] = []
    real = pythons / "cpython-3.77.1-linux-x86_64-gnu" / "bin" / "python3.77"

    def uv(argv: Sequence[str], *, env: Mapping[str, str], **_rest: object) -> str:
        assert env["UV_PYTHON_INSTALL_DIR"] == str(pythons)
        assert env["UV_PYTHON_INSTALL_MIRROR"] == "https://mirror.example.com"
        calls.append(list(argv[:3]))
        real.parent.mkdir(parents=True, exist_ok=True)
        real.touch()
        return f"{real}\n"

    monkeypatch.setattr(_uv, "run", uv)
    path = _uv.interpreter("3.77")
    assert path == str(pythons / "3.77" / "bin" / "python3.77")
    for _run in (1, 2):
        _uv.ensure_python(path, "https://mirror.example.com")
    assert calls == [["/uv", "python", "install"], ["/uv", "python", "find"]]
    assert Path(path).resolve() == real


def test_a_python_that_cannot_be_installed_is_named_with_a_remedy(pythons: Path, monkeypatch: pytest.MonkeyPatch):
    def uv(*_arguments: object, **_rest: object) -> str:
        raise CommandError("no way to github.com")

    monkeypatch.setattr(_uv, "run", uv)
    with pytest.raises(CommandError, match=r"no Python 3\.77, and uv cannot install it.* set python_app_python_mirror"):
        _uv.ensure_python(_uv.interpreter("3.77"))
