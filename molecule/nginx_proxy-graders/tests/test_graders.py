"""What programs of other people say about nginx: its TLS, its headers. Of its configuration: see nginx_proxy."""

import json

import pytest

from tests import graders


@pytest.fixture
def platform(host):
    return host.backend.host


@pytest.fixture
def ca_certificate(host, tmp_path):
    """The certificate of the CA that prepare.yml has created on this host."""
    path = tmp_path / "ca.pem"
    path.write_text(host.file("/etc/ssl/test/ca.pem").content_string)
    return path


def test_tls_complies_with_the_guidelines(platform, ca_certificate):
    done = graders.sslyze(f"demo.{platform}.test.example", ca_certificate)
    assert done.returncode == 0, done.stdout
    assert "Compliant" in done.stdout


def test_testssl_rates_tls_a_plus(host, platform, record_property):
    if platform == "debian12":
        pytest.skip("the testssl.sh of Debian 12 rates nothing")
    # What its rating takes into account; a simulation of clients is left out. Without the ciphers of each protocol it
    # gives a score all the same, but too low a one.
    parts = "--protocols --std --fs --server-defaults --headers --vulnerable --cipher-per-proto"
    with host.sudo():
        host.run(
            f"testssl {parts} --quiet --color 0 --warnings off --ip 127.0.0.1 --nodns none --jsonfile /run/testssl.json "
            f"--add-ca /etc/ssl/test/ca.pem https://demo.{platform}.test.example:443"
        )
        found = json.loads(host.file("/run/testssl.json").content_string)
        host.check_output("rm /run/testssl.json")
    values = {item["id"]: item["finding"] for item in found}
    record_property("testssl", f"{values['overall_grade']} {values['final_score']}")
    assert values["overall_grade"] == "A+"
    assert int(values["final_score"]) >= 90
    # The certificate is of our own CA, which has no list of revoked ones, and is valid for 90 days. BREACH: the
    # answers are compressed; an app masks its secrets, or sends cookies to its own pages only (SameSite).
    reasoned = {"cert_revocation", "cert_expirationStatus", "BREACH", "DNS_CAArecord", "cert_chain_of_trust"}
    bad = {item["id"].split()[0] for item in found if item["severity"] in ("MEDIUM", "HIGH", "CRITICAL")}
    assert bad - reasoned == set()


@pytest.mark.parametrize(("site", "least"), [("plain", 75), ("demo", 130)])
def test_the_observatory_rates_the_headers(platform, ca_certificate, record_property, site, least):
    if platform == "debian13":
        pytest.skip("rated on Debian 12; the headers are the same")
    rated = graders.observatory(f"{site}.{platform}.test.example", ca_certificate)
    record_property(f"observatory {site}", rated["scan"]["score"])
    assert rated["scan"]["score"] >= least, rated
