"""A certificate is deleted by a word, never by a variable that is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._certificates import model
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.model import (
    CertificateOutcome,
    Settings,
)
from ansible_collections.flask_ops.production.plugins.module_utils._host import files
from ansible_collections.flask_ops.production.plugins.modules import acme_certificates
from ansible_collections.flask_ops.production.plugins.modules.acme_certificates import OPTIONS, ensure_all

SHOP, BLOG = (
    {"name": name, "domains": [f"{name}.example.com"], "paths": {"certificate": f"/etc/nginx/certificates/{name}"}}
    for name in ("shop", "blog")
)


class Host:
    """A host on which every certificate that is asked for is obtained at once."""

    def __init__(self, wanted: Path) -> None:
        self.wanted = wanted
        self.deleted: list[str] = []
        self.obtained: list[str] = []

    def run(self, *certificates: dict, check_mode: bool = False, **params: Any) -> dict:
        options: Any = OPTIONS
        defaults = {name: option.get("default") for name, option in options.items()}
        given = {"certificates": list(certificates), "server": "https://ca.example.com/dir", **params}
        return ensure_all(defaults | given, check_mode)

    @property
    def renewed(self) -> list[str]:
        """The certificates that the timer renews."""
        settings = Settings.load()
        return [certificate.name for certificate in settings.certificates] if settings else []


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    host = Host(tmp_path / "wanted.json")
    monkeypatch.setattr(model, "SETTINGS_FILE", str(host.wanted))
    monkeypatch.setattr(files, "own", lambda *_: None)

    def ensure(certificate: Any, *_: Any, **__: Any) -> CertificateOutcome:
        host.obtained.append(certificate.name)
        return CertificateOutcome(certificate.name, expires=4e9)

    def discard(name: str, *_: Any) -> CertificateOutcome:
        host.deleted.append(name)
        return CertificateOutcome(name, action="removed")

    monkeypatch.setattr(acme_certificates, "ensure", ensure)
    monkeypatch.setattr(acme_certificates, "discard", discard)
    monkeypatch.setattr(acme_certificates, "inspect", lambda entry, _: CertificateOutcome(entry.name, expires=4e9))
    host.run(SHOP, BLOG, email="ops@flask-shop.com", webroot="/srv/challenges")
    assert host.renewed == ["shop", "blog"]
    host.obtained.clear()
    return host


def test_without_the_variables_all_is_kept_and_renewed_as_before(host: Host):
    before = host.wanted.read_text()
    result = host.run(server="https://another.example.com/dir")
    assert (host.deleted, host.obtained, result["changed"], result["failures"]) == ([], [], False, [])
    assert host.wanted.read_text() == before
    (warning,) = result["warnings"]
    assert "shop, blog are kept and renewed" in warning
    assert "letsencrypt_email is missing" in warning
    assert "letsencrypt_state: absent" in warning


def test_an_app_that_is_not_in_the_list_keeps_its_certificate(host: Host):
    result = host.run(SHOP, email="ops@flask-shop.com", webroot="/srv/challenges")
    assert (host.deleted, host.obtained) == ([], ["shop"])
    assert host.renewed == ["shop", "blog"]
    assert "of blog are kept" in result["warnings"][0]
    assert not host.run(SHOP, email="ops@flask-shop.com", webroot="/srv/challenges")["changed"]


def test_an_app_that_is_absent_loses_its_certificate_even_without_an_address(host: Host):
    result = host.run(absent=["blog", "somebody-else"])
    assert host.deleted == ["blog"]
    assert host.renewed == ["shop"]
    assert "of shop are kept" in result["warnings"][0]


def test_the_word_for_the_host_deletes_all_of_ours(host: Host):
    result = host.run(SHOP, state="absent", email="ops@flask-shop.com")
    assert host.deleted == ["blog", "shop"]
    assert (host.renewed, host.obtained, result["warnings"]) == ([], [], [])
    assert not host.run(state="absent")["changed"]


def test_a_host_that_never_had_one_is_not_warned(host: Host):
    host.wanted.unlink()
    assert host.run() == {"changed": False, "summary": [], "failures": [], "diff": [], "warnings": []}
    assert not host.wanted.exists()


@pytest.mark.parametrize("text", ["", "[]", json.dumps({"certificates": [3]})])
def test_damaged_settings_are_written_anew(host: Host, text: str):
    host.wanted.write_text(text)
    result = host.run(SHOP, BLOG, email="ops@flask-shop.com")
    assert "is damaged" in result["warnings"][0]
    assert (host.deleted, host.renewed) == ([], ["shop", "blog"])
    assert host.run(SHOP, BLOG, email="ops@flask-shop.com")["warnings"] == []


def test_check_mode_saves_nothing(host: Host):
    before = host.wanted.read_text()
    assert host.run(SHOP, absent=["blog"], check_mode=True)["changed"]
    assert host.wanted.read_text() == before
