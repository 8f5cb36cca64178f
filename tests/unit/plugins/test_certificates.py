"""Which certificate is got anew and why, and what a fetch through a name says. The rest runs on test hosts."""

from __future__ import annotations

import dataclasses
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._certificates import (
    certbot,
    lineage,
    manage,
    model,
    serving,
)
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.certbot import certonly_arguments
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.lineage import (
    Lineage,
    reissue_reasons,
    renewal_options,
    renewal_parameters,
)
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.manage import discard, ensure
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.metrics import metrics, write_metrics
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.model import (
    Certificate,
    CertificateError,
    CertificateOutcome,
    Settings,
)
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.precheck import problem_of
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.serving import install
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.x509 import X509
from ansible_collections.flask_ops.production.plugins.module_utils._host import files
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError

NOW = 1_800_000_000.0
SHOP = Certificate("shop", ("shop.example.com", "www.example.com"))
SETTINGS = Settings(server="https://ca.example.com/dir", webroot="/var/www", certificates=(SHOP,))
DNS = dataclasses.replace(SETTINGS, dns_plugin="dns-rfc2136", dns_credentials="/etc/c.ini")
FOUND = Lineage(names=SHOP.names, expires=NOW + 86400, serial="0A", options=renewal_options(SHOP, SETTINGS))

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
    assert reissue_reasons(SHOP, FOUND, SETTINGS, NOW) == []


def test_the_order_of_the_names_does_not_matter():
    turned = dataclasses.replace(SHOP, domains=tuple(reversed(SHOP.domains)))
    assert reissue_reasons(turned, FOUND, SETTINGS, NOW) == []


def test_one_that_ends_soon_is_left_to_certbot():
    assert reissue_reasons(SHOP, dataclasses.replace(FOUND, expires=NOW + 1), SETTINGS, NOW) == []


@pytest.mark.parametrize(
    ("wanted", "found", "settings", "expected"),
    [
        ({}, None, {}, "there was none"),
        ({"domains": ("shop.example.com", "new.example.com")}, {}, {}, "names added: new.example.com"),
        ({"domains": ("shop.example.com",)}, {}, {}, "names removed: www.example.com"),
        ({"ip_addresses": ("2001:db8:0::1",)}, {}, {}, "names added: 2001:db8::1"),
        ({"key_type": "rsa"}, {}, {}, "key type ecdsa instead of rsa"),
        ({"profile": "shortlived"}, {}, {}, "required profile none instead of shortlived"),
        ({}, {}, {"server": "https://b.example.com/dir"}, "server https://ca.example.com/dir instead of https://b.example.com/dir"),
        ({}, {}, {"webroot": "/srv/www"}, "webroot path /var/www instead of /srv/www"),
        ({}, {"expires": NOW - 1}, {}, "expired on 2027-01-15 07:59 UTC"),
    ],
)  # fmt: skip
def test_what_differs_is_a_reason(wanted: dict, found: dict | None, settings: dict, expected: str):
    there = None if found is None else dataclasses.replace(FOUND, **found)
    why = reissue_reasons(dataclasses.replace(SHOP, **wanted), there, dataclasses.replace(SETTINGS, **settings), NOW)
    assert expected in why


def test_another_challenge_is_a_reason():
    wanted = dataclasses.replace(SHOP, challenge="dns-01")
    assert "authenticator webroot instead of dns-rfc2136" in reissue_reasons(wanted, FOUND, DNS, NOW)
    dns = dataclasses.replace(FOUND, options=renewal_options(wanted, DNS))
    assert reissue_reasons(wanted, dns, DNS, NOW) == []


def make_certificate(directory: Path, subject: str, *options: str) -> bytes:
    argv = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-utf8"]
    argv += ["-keyout", "/dev/null", "-out", str(directory / "made.pem"), "-days", "9", "-subj", subject, *options]
    subprocess.run(argv, check=True, capture_output=True)
    return (directory / "made.pem").read_bytes()


def test_a_certificate_is_read_from_either_form(tmp_path: Path):
    names = "subjectAltName=critical,DNS:shop.example.com,DNS:*.shop.example.com,IP:203.0.113.7,IP:2001:db8::1"
    pem = make_certificate(tmp_path, "/C=DE/O=Zertifikate für alle, Inc/CN=shop", "-addext", names)
    found = X509.read(pem)
    assert found == X509.read(ssl.PEM_cert_to_DER_cert(pem.decode()))
    assert found.names == ("shop.example.com", "*.shop.example.com", "203.0.113.7", "2001:DB8:0:0:0:0:0:1")
    assert (found.issuer, found.self_signed) == ("Zertifikate für alle, Inc", True)
    assert 8 < (found.expires - time.time()) / 86400 < 10
    with_others = X509.read(pem + make_certificate(tmp_path, "/CN=other"))
    assert with_others == found
    other = X509.read(make_certificate(tmp_path, "/CN=other"))
    assert (other.issuer, other.names) == ("other", ())
    assert other.serial != found.serial


def test_a_lineage_is_read_with_its_renewal_parameters(host: Path):
    for name in ("live/shop/fullchain.pem", "live/shop/privkey.pem", "renewal/shop.conf"):
        assert lineage.read_lineage("shop") is None
        (host / name).parent.mkdir(parents=True, exist_ok=True)
        (host / name).write_text(RENEWAL)
    assert lineage.read_lineage("shop") is None, "openssl cannot read it"
    chain = make_certificate(host, "/CN=shop", "-addext", "subjectAltName=DNS:shop.example.com,IP:2001:db8::1")
    (host / "live/shop/fullchain.pem").write_bytes(chain)
    found = lineage.read_lineage("shop")
    assert found is not None
    assert found.names == {"shop.example.com", "2001:db8::1"}
    assert found.options["key_type"] == "ecdsa"
    assert found.options["webroot_path"] == "/var/www"
    assert found.options["server"] == "https://ca.example.com/dir"


@pytest.mark.parametrize("text", ["", "[renewalparams", "version = 5.8.0", "[renewalparams]\nnonsense\n", "\0"])
def test_a_damaged_renewal_configuration_has_no_parameters(text: str):
    assert renewal_parameters(text) == {}


# --- what certbot is told ------------------------------------------------------------------------------------------------


def words(argv: list[str]) -> str:
    return " ".join(argv)


def test_the_command_says_all_that_is_wanted():
    wanted = dataclasses.replace(SHOP, profile="shortlived", ip_addresses=("203.0.113.7",), key_type="rsa")
    said = words(certonly_arguments(wanted, dataclasses.replace(SETTINGS, email="a@b.example")))
    for part in (
        "certonly --cert-name shop --agree-tos", "--server https://ca.example.com/dir", "--key-type rsa",
        "--required-profile shortlived", "--email a@b.example", "--authenticator webroot --webroot-path /var/www",
        "--domain shop.example.com --domain www.example.com --ip-address 203.0.113.7",
    ):  # fmt: skip
        assert part in said
    assert "--register-unsafely-without-email" in words(certonly_arguments(SHOP, SETTINGS))


def test_a_dns_plugin_gets_its_credentials_by_a_file():
    said = words(certonly_arguments(dataclasses.replace(SHOP, challenge="dns-01"), DNS))
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
    assert problem_of("a.com", found) == expected


# --- what is served, and what goes wrong -----------------------------------------------------------------------------------


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A place for /etc/letsencrypt, on which nothing is run."""
    monkeypatch.setattr(model, "CERTBOT_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(serving, "RELOAD_TIMEOUT", 0)
    monkeypatch.setattr(serving, "run", lambda argv, **_: "")
    monkeypatch.setattr(serving, "systemctl", lambda *_: "")
    return tmp_path


def test_a_link_goes_back_when_the_proxy_refuses_its_files(host: Path, monkeypatch: pytest.MonkeyPatch):
    place = host / "link"
    place.symlink_to("/etc/nginx/self-signed/shop")
    wanted = dataclasses.replace(SHOP, link=str(place))

    def refuse(*_: Any, **__: Any) -> str:
        raise CommandError("'nginx -t' exited with status 1")

    monkeypatch.setattr(serving, "run", refuse)
    settings = dataclasses.replace(SETTINGS, validate="nginx -t", reload="nginx.service")
    with pytest.raises(CertificateError, match=r"on disk is not served: nginx\.service was not reloaded"):
        install(wanted, settings, fresh=True)
    assert place.readlink() == Path("/etc/nginx/self-signed/shop")
    monkeypatch.setattr(serving, "run", lambda *_, **__: "")
    assert install(wanted, settings, fresh=True) is True
    assert place.readlink() == host / "live" / "shop"
    assert install(wanted, settings, fresh=False) is False


def test_a_reload_that_does_not_help_is_a_problem(host: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(serving, "served_mismatch", lambda *_: "for shop.example.com, the serial 01")
    with pytest.raises(CertificateError, match=r"is not served: for shop.example.com, the serial 01"):
        install(SHOP, dataclasses.replace(SETTINGS, probe_port=443), fresh=False)


def test_a_failure_is_a_result_and_what_is_there_is_served_still(host: Path, monkeypatch: pytest.MonkeyPatch):
    old = dataclasses.replace(FOUND, names=frozenset({"shop.example.com"}), expires=4e9)
    monkeypatch.setattr(manage, "read_lineage", lambda _: old)
    monkeypatch.setattr(manage, "install", lambda *_: False)

    def fail(*_: Any) -> None:
        raise CertificateError("too many certificates already issued")

    monkeypatch.setattr(certbot, "obtain", fail)
    outcome = ensure(SHOP, SETTINGS)
    assert (outcome.action, outcome.served) == ("unchanged", True)
    assert "FAILED; expires 2096-10-02" in outcome.summary
    assert "too many certificates" in outcome.summary


def test_check_mode_asks_nobody(host: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(certbot, "obtain", None)
    assert ensure(SHOP, SETTINGS, check_mode=True).action == "issued"
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

    def run(arguments: list[str], _: Settings) -> None:
        asked.append(arguments[0])
        if (account / "regr.json").exists():
            raise CertificateError(said)

    monkeypatch.setattr(certbot, "certbot", run)
    monkeypatch.setattr(certbot, "check_ca", lambda *_: None)
    certbot.obtain(SHOP, dataclasses.replace(SETTINGS, webroot=str(host), precheck=False))
    assert asked == ["certonly", "certonly"]
    assert not account.exists()


def test_a_certificate_that_is_still_used_is_not_deleted(host: Path):
    place = host / "link"
    place.symlink_to(host / "live" / "shop")
    outcome = discard("shop", str(place), SETTINGS, revoke=False)
    assert (outcome.action, outcome.changed) == ("unchanged", False)
    assert "still points to it" in outcome.problem


def test_the_timer_reads_the_settings_that_a_run_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "own", lambda *_: None)
    monkeypatch.setattr(model, "SETTINGS_FILE", str(tmp_path / "etc" / "letsencrypt.json"))
    assert Settings.load() is None
    SETTINGS.save()
    assert Settings.load() == SETTINGS


def test_metrics_have_a_sample_for_each_name():
    text = map(
        str,
        metrics(
            [CertificateOutcome("shop", expires=NOW, served=True), CertificateOutcome("gone", action="removed")],
            SETTINGS,
            NOW,
        ),
    )
    assert [line for line in "".join(text).splitlines() if not line.startswith("#")] == [
        'letsencrypt_certificate_expiry_timestamp_seconds{name="shop",domain="shop.example.com"} 1800000000',
        'letsencrypt_certificate_expiry_timestamp_seconds{name="shop",domain="www.example.com"} 1800000000',
        'letsencrypt_certificate_served{name="shop"} 1',
        'letsencrypt_last_run_success{name="shop"} 1',
        "letsencrypt_last_run_timestamp_seconds 1800000000",
    ]


def test_a_host_without_certificates_has_no_metrics_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "own", lambda *_: None)
    settings = dataclasses.replace(SETTINGS, textfile_directory=str(tmp_path))
    write_metrics([CertificateOutcome("shop")], settings)
    assert 'letsencrypt_last_run_success{name="shop"} 1' in (tmp_path / "letsencrypt.prom").read_text()
    write_metrics([CertificateOutcome("shop", action="removed")], dataclasses.replace(settings, certificates=()))
    assert not (tmp_path / "letsencrypt.prom").exists()
    write_metrics(
        [CertificateOutcome("shop")], dataclasses.replace(settings, textfile_directory=str(tmp_path / "none"))
    )
