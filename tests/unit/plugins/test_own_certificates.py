"""A certificate that a site brings along is looked at before nginx is: with a bad one, nginx would not start."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.modules.self_signed_certificates import (
    ensure_site,
    own_problems,
    remove_site,
)

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
    assert "has ended: notAfter=" in problem(files)


def test_a_key_that_everybody_can_read_is_refused(tmp_path: Path):
    files = make(tmp_path, "open")
    Path(files["privkey"]).chmod(0o644)
    assert "everybody on the host can read the key" in problem(files)


def test_the_link_leads_to_the_best_that_there_is(own: dict[str, str], tmp_path: Path):
    params = {
        "directory": str(tmp_path / "self"),
        "own_directory": str(tmp_path / "own"),
        "link": str(tmp_path / "{name}"),
        "only_here": [],
    }
    link, better = tmp_path / "shop", tmp_path / "better"
    site: dict[str, Any] = {"name": "shop", "domains": ["shop.example.com"]}

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

    params["only_here"] = ["shop"]
    assert changed()
    assert link.readlink() == tmp_path / "self" / "shop"
    assert remove_site(site, params, check_mode=False)
    assert not link.is_symlink()
    assert not remove_site(site, params, check_mode=False)
