"""Which certificate is got anew and why, and what a fetch through a name says. The rest runs on test hosts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._certificates import certificates as _certificates
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.certificates import (
    Certificate,
    CertificateError,
    Lineage,
    Result,
    Settings,
    bring,
    certonly,
    discard,
    install,
    metrics,
    parse,
    publish,
    reasons,
    renewal_options,
    verdict,
)
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError

NOW = 1_800_000_000.0
SHOP = Certificate("shop", ("shop.example.com", "www.example.com"))
SETTINGS = Settings(server="https://ca.example.com/dir", webroot="/var/www", certificates=(SHOP,))
DNS = dataclasses.replace(SETTINGS, dns_plugin="dns-rfc2136", dns_credentials="/etc/c.ini")
FOUND = Lineage(
    names=SHOP.names, key_type="ecdsa", expires=NOW + 86400, serial="0A", options=renewal_options(SHOP, SETTINGS)
)

CERTIFICATE = """\
serial=24F27FF6B9
notAfter=Feb 23 22:02:11 2027 GMT
Certificate:
        Subject Public Key Info:
            Public Key Algorithm: id-ecPublicKey
            X509v3 Subject Alternative Name: critical
                DNS:shop.example.com, DNS:*.shop.example.com, IP Address:203.0.113.7, IP Address:2001:DB8:0:0:0:0:0:1
"""
RENEWAL = """\
version = 5.8.0
cert = /etc/letsencrypt/live/shop/cert.pem
[renewalparams]
account = abc
authenticator = webroot
webroot_path = /var/www,
server = https://ca.example.com/dir
key_type = ecdsa
[[webroot_map]]
shop.example.com = /var/www
"""


# --- when another one is needed ----------------------------------------------------------------------------------------


def test_a_certificate_that_is_as_it_should_be_is_left_alone():
    assert reasons(SHOP, FOUND, SETTINGS, NOW) == []


def test_the_order_of_the_names_does_not_matter():
    turned = dataclasses.replace(SHOP, domains=tuple(reversed(SHOP.domains)))
    assert reasons(turned, FOUND, SETTINGS, NOW) == []


def test_one_that_ends_soon_is_left_to_certbot():
    assert reasons(SHOP, dataclasses.replace(FOUND, expires=NOW + 1), SETTINGS, NOW) == []


@pytest.mark.parametrize(
    ("wanted", "found", "settings", "expected"),
    [
        ({}, None, {}, "there was none"),
        ({"domains": ("shop.example.com", "new.example.com")}, {}, {}, "without new.example.com"),
        ({"domains": ("shop.example.com",)}, {}, {}, "with www.example.com, which is not wanted any more"),
        ({"ip_addresses": ("2001:db8:0::1",)}, {}, {}, "without 2001:db8::1"),
        ({"key_type": "rsa"}, {}, {}, "key type ecdsa instead of rsa"),
        ({"profile": "shortlived"}, {}, {}, "required profile none instead of shortlived"),
        ({}, {}, {"server": "https://b.example.com/dir"}, "server https://ca.example.com/dir instead of https://b.example.com/dir"),
        ({}, {}, {"webroot": "/srv/www"}, "webroot path /var/www instead of /srv/www"),
        ({}, {"expires": NOW - 1}, {}, "ended on 2027-01-15 07:59 UTC"),
    ],
)  # fmt: skip
def test_what_differs_is_a_reason(wanted: dict, found: dict | None, settings: dict, expected: str):
    there = None if found is None else dataclasses.replace(FOUND, **found)
    why = reasons(dataclasses.replace(SHOP, **wanted), there, dataclasses.replace(SETTINGS, **settings), NOW)
    assert expected in why


def test_another_challenge_is_a_reason():
    wanted = dataclasses.replace(SHOP, challenge="dns-01")
    assert "authenticator webroot instead of dns-rfc2136" in reasons(wanted, FOUND, DNS, NOW)
    dns = dataclasses.replace(FOUND, options=renewal_options(wanted, DNS))
    assert reasons(wanted, dns, DNS, NOW) == []


def test_a_certificate_and_what_certbot_wrote_about_it_are_understood():
    found = parse(CERTIFICATE, RENEWAL)
    assert found.names == {"shop.example.com", "*.shop.example.com", "203.0.113.7", "2001:db8::1"}
    assert (found.key_type, found.serial, found.expires) == ("ecdsa", "24F27FF6B9", 1803420131)
    assert found.options["webroot_path"] == "/var/www"
    assert parse(CERTIFICATE.replace("id-ecPublicKey", "rsaEncryption")).key_type == "rsa"


# --- what certbot is told ------------------------------------------------------------------------------------------------


def words(argv: list[str]) -> str:
    return " ".join(argv)


def test_the_command_says_all_that_is_wanted():
    wanted = dataclasses.replace(SHOP, profile="shortlived", ip_addresses=("203.0.113.7",), key_type="rsa")
    said = words(certonly(wanted, dataclasses.replace(SETTINGS, email="a@b.example")))
    for part in (
        "certonly --cert-name shop --non-interactive", "--server https://ca.example.com/dir", "--key-type rsa",
        "--required-profile shortlived", "--email a@b.example", "--authenticator webroot --webroot-path /var/www",
        "--domain shop.example.com --domain www.example.com --ip-address 203.0.113.7",
    ):  # fmt: skip
        assert part in said
    assert "--register-unsafely-without-email" in words(certonly(SHOP, SETTINGS))


def test_a_dns_plugin_gets_its_credentials_by_a_file():
    said = words(certonly(dataclasses.replace(SHOP, challenge="dns-01"), DNS))
    assert (
        "--authenticator dns-rfc2136 --dns-rfc2136-credentials /etc/c.ini --dns-rfc2136-propagation-seconds 60" in said
    )
    assert "webroot" not in said


# --- through the names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"192.0.2.1": ""}, ""),
        ({"192.0.2.1": "", "2001:db8::1": "no answer (timed out)"}, ""),
        ({"192.0.2.1": "", "2001:db8::1": "status 404"}, "a.com: 2001:db8::1 gives status 404"),
        ({"192.0.2.1": "no answer (refused)"}, "a.com: 192.0.2.1 gives no answer (refused)"),
        ({"192.0.2.1": "status 404"}, "a.com: 192.0.2.1 gives status 404"),
        ("Name or service not known", "a.com does not resolve: Name or service not known"),
    ],
)
def test_a_name_must_lead_here_and_nowhere_else(found: Any, expected: str):
    assert verdict("a.com", found) == expected


# --- what is served, and what goes wrong -----------------------------------------------------------------------------------


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A place for /etc/letsencrypt, on which nothing is run."""
    monkeypatch.setattr(_certificates, "CONFIG", str(tmp_path))
    monkeypatch.setattr(_certificates, "PATIENCE", 0)
    monkeypatch.setattr(_certificates, "run", lambda argv, **_: "")
    monkeypatch.setattr(_certificates, "systemctl", lambda *_: "")
    return tmp_path


def test_a_link_goes_back_when_the_proxy_refuses_its_files(host: Path, monkeypatch: pytest.MonkeyPatch):
    place = host / "link"
    place.symlink_to("/etc/nginx/self-signed/shop")
    wanted = dataclasses.replace(SHOP, link=str(place))

    def refuse(*_: Any, **__: Any) -> str:
        raise CommandError("'nginx -t' exited with status 1")

    monkeypatch.setattr(_certificates, "run", refuse)
    settings = dataclasses.replace(SETTINGS, validate="nginx -t", reload="nginx.service")
    with pytest.raises(CertificateError, match=r"on the disk, but not served: nginx\.service was not reloaded"):
        install(wanted, settings, fresh=True)
    assert place.readlink() == Path("/etc/nginx/self-signed/shop")
    monkeypatch.setattr(_certificates, "run", lambda *_, **__: "")
    assert install(wanted, settings, fresh=True) is True
    assert place.readlink() == host / "live" / "shop"
    assert install(wanted, settings, fresh=False) is False


def test_a_reload_that_does_not_help_is_a_problem(host: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_certificates, "served_otherwise", lambda *_: "for shop.example.com, the serial 01")
    with pytest.raises(CertificateError, match=r"not served: for shop.example.com, the serial 01"):
        install(SHOP, dataclasses.replace(SETTINGS, probe_port=443), fresh=False)


def test_a_failure_is_a_result_and_what_is_there_is_served_still(host: Path, monkeypatch: pytest.MonkeyPatch):
    old = dataclasses.replace(FOUND, names=frozenset({"shop.example.com"}), expires=4e9)
    monkeypatch.setattr(_certificates, "read", lambda _: old)
    monkeypatch.setattr(_certificates, "install", lambda *_: False)

    def fail(*_: Any) -> None:
        raise CertificateError("too many certificates already issued")

    monkeypatch.setattr(_certificates, "obtain", fail)
    result = bring(SHOP, SETTINGS)
    assert (result.action, result.served) == ("unchanged", True)
    assert "NOT as it should be; ends 2096-10-02" in result.summary
    assert "too many certificates" in result.summary


def test_check_mode_asks_nobody(host: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_certificates, "obtain", None)
    assert bring(SHOP, SETTINGS, check_mode=True).action == "issued"
    assert discard("shop", "", SETTINGS, revoke=True, check_mode=True).action == "removed"


@pytest.mark.parametrize(
    "said",
    [
        "urn:ietf:params:acme:error:accountDoesNotExist :: unknown",
        "An unexpected error occurred:\nAccount https://ca.test.example:14000/my-account/2a1 not found.",
        'Account "https://ca.example.com/acct/1" not found',
        "The request specified an account that does not exist",
        "Account at /etc/letsencrypt/accounts/ca.example.com/dir/abc does not exist",
    ],
)
def test_an_account_that_the_authority_forgot_is_made_anew(host: Path, monkeypatch: pytest.MonkeyPatch, said: str):
    account = host / "accounts" / "ca.example.com" / "dir" / "abc"
    account.mkdir(parents=True)
    (account / "regr.json").write_text("{}")
    asked = []

    def certbot(argv: list[str], _: Settings) -> str:
        asked.append(argv[1])
        if (account / "regr.json").exists():
            raise CertificateError(said)
        return ""

    monkeypatch.setattr(_certificates, "certbot", certbot)
    monkeypatch.setattr(_certificates, "ask_directory", lambda *_: None)
    _certificates.obtain(SHOP, dataclasses.replace(SETTINGS, webroot=str(host), precheck=False))
    assert asked == ["certonly", "certonly"]
    assert not account.exists()


def test_a_certificate_that_is_still_used_is_not_deleted(host: Path):
    place = host / "link"
    place.symlink_to(host / "live" / "shop")
    result = discard("shop", str(place), SETTINGS, revoke=False)
    assert (result.action, result.changed) == ("unchanged", False)
    assert "still leads to it" in result.problem


def test_what_is_wanted_survives_the_way_to_the_timer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_certificates, "write", lambda path, text, *_: Path(path).write_bytes(text))
    path = tmp_path / "etc" / "wanted.json"
    assert Settings.load(str(path)) is None
    SETTINGS.save(str(path))
    assert Settings.load(str(path)) == SETTINGS


def test_metrics_have_a_sample_for_each_name():
    text = metrics([Result("shop", expires=NOW, served=True), Result("gone", action="removed")], SETTINGS, NOW)
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        'letsencrypt_certificate_expiry_timestamp_seconds{name="shop",domain="shop.example.com"} 1800000000',
        'letsencrypt_certificate_expiry_timestamp_seconds{name="shop",domain="www.example.com"} 1800000000',
        'letsencrypt_certificate_served{name="shop"} 1',
        'letsencrypt_last_run_success{name="shop"} 1',
        "letsencrypt_last_run_timestamp_seconds 1800000000",
    ]


def test_a_host_without_certificates_has_no_metrics_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_certificates, "write", lambda path, text, *_: Path(path).write_bytes(text))
    settings = dataclasses.replace(SETTINGS, textfile_directory=str(tmp_path))
    publish([Result("shop")], settings)
    assert 'letsencrypt_last_run_success{name="shop"} 1' in (tmp_path / "letsencrypt.prom").read_text()
    publish([Result("shop", action="removed")], dataclasses.replace(settings, certificates=()))
    assert not (tmp_path / "letsencrypt.prom").exists()
    publish([Result("shop")], dataclasses.replace(settings, textfile_directory=str(tmp_path / "none")))
