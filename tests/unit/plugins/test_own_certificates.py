"""A certificate that a site brings along is looked at before nginx is: with a bad one, nginx would not start."""

from __future__ import annotations

import functools
import grp
import os
import pwd
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._certificates import self_signed
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.self_signed import (
    ensure_site,
    own_problems,
    remove_site,
)

ME, GROUP = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
NAMES = "DNS:shop.example.com,DNS:*.shop.example.com"


def make(directory: Path, name: str, *options: str) -> dict[str, str]:
    files = {"fullchain": str(directory / f"{name}.pem"), "privkey": str(directory / f"{name}.key")}
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
    command += ["-subj", f"/CN={name}", "-addext", f"subjectAltName={NAMES}", "-keyout", files["privkey"]]
    subprocess.run([*command, "-out", files["fullchain"], *options], check=True, capture_output=True)
    Path(files["privkey"]).chmod(0o600)
    return files


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make(tmp_path_factory.mktemp("own"), "shop")


def site_in(directory: Path, name: str = "shop", **options: Any) -> dict[str, Any]:
    """A site with all its files in one directory."""
    places = {"self_signed_certificate": "self", "own_certificate": "own"}
    paths = {key: str(directory / place / name) for key, place in places.items()}
    return {
        "name": name, "domains": [f"{name}.example.com"], "paths": paths | {"certificate": str(directory / name)}, **options,
    }  # fmt: skip


def problem(files: dict[str, str] | None, **changes: Any) -> str:
    site = {"name": "shop", "domains": ["shop.example.com"], "certificate": files}
    return "; ".join(own_problems(site | changes))


def test_a_good_pair_is_taken(own: dict[str, str]):
    assert problem(own) == ""
    assert problem(own, domains=["shop.example.com", "a.shop.example.com", "*.shop.example.com"]) == ""
    assert problem(None) == ""


def test_a_pair_that_nobody_could_use_is_refused_by_name(own: dict[str, str], tmp_path: Path):
    other = make(tmp_path, "other")
    text = tmp_path / "text"
    text.write_text("nonsense")
    assert problem(own | {"privkey": other["privkey"]}).endswith(
        f"{other['privkey']} is not the key of {own['fullchain']}"
    )
    assert (
        problem(own | {"fullchain": "/nowhere.pem"}) == "shop: certificate: there is no file /nowhere.pem on the host"
    )
    assert "openssl cannot read" in problem(own | {"fullchain": str(text)})
    assert problem(own, domains=["www.example.com"]).endswith("is not for www.example.com")
    assert problem(own | {"fullchain": "/nowhere.pem"}, state="absent") == ""


def test_a_pair_that_has_ended_is_refused(tmp_path: Path):
    files = make(tmp_path, "ended")
    request = ["openssl", "x509", "-x509toreq", "-in", files["fullchain"], "-signkey", files["privkey"]]
    asked = subprocess.run(request, check=True, capture_output=True).stdout
    signed = ["openssl", "x509", "-req", "-days", "-1", "-signkey", files["privkey"], "-out", files["fullchain"]]
    subprocess.run(signed, input=asked, check=True, capture_output=True)
    assert "has expired: notAfter=" in problem(files)


def test_a_pair_that_is_not_valid_yet_is_refused(own: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 86400)
    assert "is not valid yet: notBefore=" in problem(own)


def test_a_key_that_everybody_can_read_is_refused(tmp_path: Path):
    files = make(tmp_path, "open")
    Path(files["privkey"]).chmod(0o644)
    assert "everybody on the host can read the key" in problem(files)


def test_the_link_leads_to_the_best_that_there_is(own: dict[str, str], tmp_path: Path):
    params: dict[str, Any] = {"force_self_signed": []}
    link, better, site = tmp_path / "shop", tmp_path / "better", site_in(tmp_path)

    def changed(**changes: Any) -> bool:
        return ensure_site(site | changes, params, check_mode=False)

    assert ensure_site(site, params, check_mode=True)
    assert not (tmp_path / "self").exists()
    assert changed()
    assert link.readlink() == tmp_path / "self" / "shop"
    assert not changed()

    make(tmp_path, "x")
    better.mkdir()
    (better / "fullchain.pem").write_text((tmp_path / "x.pem").read_text())
    (better / "privkey.pem").write_text((tmp_path / "x.key").read_text())
    link.unlink()
    link.symlink_to(better)
    assert not changed(), "somebody else's certificate is left alone"

    assert changed(certificate=own)
    assert link.readlink() == tmp_path / "own" / "shop"
    assert (tmp_path / "own" / "shop" / "privkey.pem").stat().st_mode & 0o777 == 0o600
    assert not changed(certificate=own)
    newer = {"fullchain": str(tmp_path / "x.pem"), "privkey": str(tmp_path / "x.key")}
    assert changed(certificate=newer), "another pair is copied"
    assert not changed(), "until somebody has a better one, the copy stays"

    params["force_self_signed"] = ["shop"]
    assert changed()
    assert link.readlink() == tmp_path / "self" / "shop"
    assert remove_site(site, params, check_mode=False)
    assert not link.is_symlink()
    assert not remove_site(site, params, check_mode=False)


def test_a_wrong_certificate_of_one_site_is_the_failure_of_that_site(own: dict[str, str], tmp_path: Path):
    apps = [
        site_in(tmp_path, certificate=own),
        site_in(tmp_path, "blog", certificate=own),
        site_in(tmp_path, "wiki", certificate=own | {"privkey": "/nowhere.key"}),
        site_in(tmp_path, "news"),
    ]
    params: dict[str, Any] = {"force_self_signed": [], "apps": apps}
    changed, failures = self_signed.ensure_sites(params, check_mode=False)
    assert changed == ["shop", "news"]
    assert failures == {
        "blog": f"blog: certificate: {own['fullchain']} is not for blog.example.com. The site is as it was before.",
        "wiki": "wiki: certificate: there is no file /nowhere.key on the host. The site is as it was before.",
    }
    assert {path.name for path in tmp_path.iterdir()} == {"self", "own", "shop", "news"}
    assert self_signed.ensure_sites(params, check_mode=True) == ([], failures)


class KilledError(BaseException):
    """The run ends here, and no way back is taken."""


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """`kill_at(3)`: before the third change to the file system from now on."""
    real = {name: getattr(self_signed, name) for name in ("write", "link", "remove")}
    left = [1000]

    def step(name: str, path: str, *rest: Any) -> None:
        left[0] -= 1
        if not left[0]:
            raise KilledError
        real[name](path, *rest[:2], *([ME, GROUP] if name == "write" else []))

    for name in real:
        monkeypatch.setattr(self_signed, name, functools.partial(step, name))

    def at(change: int) -> None:
        left[0] = change

    return at


def belong_together(directory: Path) -> bool:
    key = ["openssl", "pkey", "-in", str(directory / "privkey.pem"), "-pubout"]
    certificate = ["openssl", "x509", "-in", str(directory / "fullchain.pem"), "-noout", "-pubkey"]
    return subprocess.check_output(key) == subprocess.check_output(certificate)


@pytest.mark.parametrize("kind", ["self", "own"])
def test_at_no_moment_is_there_no_certificate(
    own: dict[str, str], tmp_path: Path, kill_at: Callable[[int], None], kind: str
):
    """Not even after a run that was killed: the next start of nginx would fail."""
    params: dict[str, Any] = {"force_self_signed": []}
    site, ours = site_in(tmp_path), kind == "own"
    ensure_site(site | ({"certificate": own} if ours else {}), params, check_mode=False)
    later = site | ({"certificate": make(tmp_path, "new")} if ours else {"domains": ["new.example.com"]})
    kills = 0
    for change in range(1, 10):
        kill_at(change)
        try:
            ensure_site(later, params, check_mode=False)
        except KilledError:
            kills += 1
        else:
            break
        assert belong_together(tmp_path / "shop")
    kill_at(1000)
    assert kills >= 4
    assert not ensure_site(later, params, check_mode=False)
    assert belong_together(tmp_path / "shop")
    assert len(list((tmp_path / kind).iterdir())) == 2, "the link and its directory; nothing of a killed run"
