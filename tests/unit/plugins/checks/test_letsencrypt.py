"""What a CA would refuse is refused before it is asked, and before any host changes."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.apps import Placed
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.checks.letsencrypt import final_errors

ON = {"letsencrypt_email": "webmaster@flask-shop.com"}
PRIVATE = {**ON, "letsencrypt_server": "https://ca.flask-shop.com/dir"}
DNS = {
    **ON,
    "letsencrypt_dns_plugin": "dns-rfc2136",
    "letsencrypt_dns_credentials": {"dns_rfc2136_server": "192.0.2.53"},
}
MANY = [f"a{number}.flask-shop.com" for number in range(101)]


def errors_of(entry: dict[str, Any], **variables: Any) -> list[str]:
    shop = {"name": "shop", "domains": ["flask-shop.com"]}
    return final_errors([("flask_apps[0]", shop | entry)], ON | variables, "flask_apps")


@pytest.mark.parametrize(
    ("entry", "variables", "expected"),
    [
        ({"domains": ["*.flask-shop.com"]}, {}, "domains[0]: '*.flask-shop.com' needs the challenge dns-01"),
        ({"domains": ["shop.test"]}, {}, "domains[0]: no public CA knows the name 'shop.test'"),
        ({"domains": ["a.com", "shop.local"]}, {}, "domains[1]: no public CA knows the name 'shop.local'"),
        ({"domains": ["shop.example.com"]}, {}, "no public CA knows the name 'shop.example.com'"),
        ({"domains": MANY}, {}, "101 names are more than the 100 that a certificate may have"),
        (
            {"domains": MANY[:26], "acme": {"profile": "tlsserver"}},
            {},
            "26 names are more than the 25 that a certificate of",
        ),
        ({"domains": MANY[:26]}, {"letsencrypt_profile": "shortlived"}, "26 names are more than the 25"),
        ({"acme": {"ip_addresses": ["203.0.113.7"]}}, {}, "ip_addresses: need the profile shortlived"),
        (
            {"acme": {"ip_addresses": ["203.0.113.7"], "challenge": "dns-01", "profile": "shortlived"}},
            DNS,
            "ip_addresses: go with the challenge http-01 only",
        ),
        ({"acme": {"challenge": "dns-01"}}, {}, "the challenge dns-01 needs letsencrypt_dns_plugin"),
        ({}, {"letsencrypt_dns_plugin": "dns-rfc2136"}, "letsencrypt_dns_credentials: are missing"),
        ({}, {"letsencrypt_eab": {"kid": "k"}}, "letsencrypt_eab.hmac_key: is missing"),
        (
            {},
            {"letsencrypt_staging": True, "letsencrypt_server": "https://ca.flask-shop.com/dir"},
            "letsencrypt_staging: is the staging server of Let's Encrypt; leave it out",
        ),
    ],
)
def test_what_a_ca_would_refuse_is_refused_before_it_is_asked(entry: dict, variables: dict, expected: str):
    (error,) = errors_of(entry, **variables)
    assert expected in error


def test_an_account_that_is_bound_needs_an_address():
    eab = {"letsencrypt_eab": {"kid": "k", "hmac_key": "canary"}, "letsencrypt_email": ""}
    (error,) = final_errors([], eab, "letsencrypt_apps")
    assert error == "letsencrypt_email: an account that is bound by letsencrypt_eab needs one"


@pytest.mark.parametrize(
    ("entry", "variables"),
    [
        ({}, {}),
        ({"domains": MANY[:100]}, {}),
        ({"domains": ["flask-shop.com", "*.flask-shop.com"]}, {**DNS, "letsencrypt_challenge": "dns-01"}),
        ({"domains": ["flask-shop.com", "*.flask-shop.com"], "acme": {"challenge": "dns-01"}}, DNS),
        ({"domains": ["shop.test", "shop.lan"]}, PRIVATE),
        ({"acme": {"ip_addresses": ["203.0.113.7", "2001:db8::1"], "profile": "shortlived"}}, {}),
        ({"domains": ["shop.test"], "acme": {"enabled": False}}, {}),
        ({"domains": ["*.shop.test"], "certificate": {"fullchain": "/a", "privkey": "/b"}}, {}),
        ({"domains": ["shop.test"], "state": "absent"}, {}),
    ],
)
def test_what_a_ca_would_do_is_not_refused(entry: dict, variables: dict):
    assert errors_of(entry, **variables) == []


def test_the_playbook_asks_no_ca_without_an_address_and_the_role_alone_does():
    shop: Placed = [("x[0]", {"name": "shop", "domains": ["shop.test"]})]
    assert final_errors(shop, {}, "flask_apps") == []
    assert len(final_errors(shop, {}, "letsencrypt_apps")) == 1


def test_an_app_at_a_path_gets_no_certificate():
    assert errors_of({"domains": ["shop.test"]})
    assert errors_of({"domains": ["shop.test"], "path": "/admin"}) == []
