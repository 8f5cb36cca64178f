"""What a visitor gets when certificates come, change, move, fail and go. Later tests build on earlier ones.

What differs by distribution (nginx, OpenSSL, Python, the CA's version) runs on both. The rest is one program with
the same certbot, and runs on one.
"""

import json
import re
import socket
import ssl
from pathlib import Path

import pytest

CONVERGE = str(Path(__file__).parents[1] / "converge.yml")
SERVICE = "flask-ops-letsencrypt.service"
EAB = "canary-19b0b03448734e5c29e1bff0ffcc6222c9931c66efb81b550e6b86a4b"
TSIG = "canary+628c07a797e29d52b60293383b8f9e9679224deb12a406d19c6ad96f9"
STAGING = "https://staging.test.example:14100/dir"
OTHER = {
    "letsencrypt_server": "https://ca.test.example:14200/dir",
    "letsencrypt_eab": {"kid": "kid-1", "hmac_key": EAB},
}


@pytest.fixture(autouse=True)
def root(host):
    with host.sudo():
        yield


@pytest.fixture
def once(host):
    if host.backend.host != "debian13":
        pytest.skip("nothing in it differs by distribution: on Debian 13 only")


@pytest.fixture
def served(host):
    """`served("shop.test.example")`: the certificate that nginx shows under this name."""

    def get(name):
        connect = f"openssl s_client -connect 127.0.0.1:443 -servername {name} </dev/null 2>/dev/null"
        return Certificate(host.check_output(f"sh -c '{connect} | openssl x509 -noout -serial -issuer -text'"))

    return get


def first(pattern, text):
    found = re.search(pattern, text, re.MULTILINE)
    assert found, text
    return found[1]


class Certificate:
    def __init__(self, text):
        self.serial = first(r"serial=(\S+)", text)
        self.issuer = first(r"issuer=(.*)", text)
        self.names = set(re.findall(r"DNS:([^,\s]+)", text))
        self.key = "rsa" if "rsaEncryption" in text else "ecdsa"

    @property
    def of_an_authority(self):
        return "Pebble" in self.issuer


@pytest.fixture
def apply(host, play):
    """`apply(shop={...})`: run the play with some options of some apps changed."""
    apps = host.ansible.get_variables()["flask_apps"]

    def run(only=None, variables=None, **changes):
        chosen = [app for app in apps if only is None or app["name"] in only]
        known = {app["name"] for app in chosen}
        given = [{**app, **changes.get(app["name"], {})} for app in chosen]
        given += [{"name": name, **options} for name, options in changes.items() if name not in known]
        done = play(CONVERGE, **(variables or {}), flask_apps=given)
        assert "canary" not in done.output
        return done

    return run


def wait_for(host, port):
    """Until somebody listens: a service that systemd calls started may not do so yet."""
    host.check_output(
        f"timeout 30 sh -c 'until ss --no-header --listening --tcp sport = :{port} | grep -q .; do sleep 0.2; done'"
    )


def look_after(host, later="+0"):
    """Run what the timer runs, at a later time."""
    return host.run(f"faketime -f {later} python3 -I /opt/flask-ops/flask-ops.pyz certificates")


def metric(host, family, **labels):
    text = host.file("/var/lib/metrics/letsencrypt.prom").content_string
    wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return float(first(rf"^letsencrypt_{family}{{{wanted}}} (\S+)$", text))


# --- the first certificates -------------------------------------------------------------------------------------------


def test_the_certificate_of_the_authority_is_served_with_its_chain(host, address, served):
    found = served("shop.test.example")
    assert found.of_an_authority
    assert (found.names, found.key) == ({"shop.test.example", "www.test.example"}, "ecdsa")
    assert host.file("/etc/nginx/certificates/shop").linked_to == "/etc/letsencrypt/live/shop"
    fetch = "import ssl,urllib.request as u; c=ssl._create_unverified_context(); "
    fetch += 'print(u.urlopen("https://127.0.0.1:14001/roots/0", context=c).read().decode())'
    trusted = ssl.create_default_context(cadata=host.check_output(f"python3 -c '{fetch}'"))
    for name in found.names:
        with trusted.wrap_socket(socket.create_connection((address, 443), timeout=20), server_hostname=name):
            pass


def test_metrics_tell_when_certificates_end_and_whether_they_are_served(host):
    end = metric(host, "certificate_expiry_timestamp_seconds", name="shop", domain="www.test.example")
    now = int(host.check_output("date +%s"))
    assert 89 * 86400 < end - now < 91 * 86400
    assert (metric(host, "certificate_served", name="shop"), metric(host, "last_run_success", name="shop")) == (1, 1)
    assert (metric(host, "certificate_served", name="blog"), metric(host, "last_run_success", name="blog")) == (0, 0)


def test_other_names_and_another_key_are_got_and_what_cannot_be_had_is_told(host, apply, served):
    done = apply(
        variables={"letsencrypt_required": True},
        shop={"domains": ["shop.test.example", "new.test.example"], "acme": {"key_type": "rsa"}},
    )
    # The run before this one, which left blog in the same state, ended well.
    assert done.status != 0
    assert "blog: FAILED; no CA-issued certificate." in done.output
    assert "lost.test.example does not resolve" in done.output
    assert "wrong.test.example: 192.0.2.1 gives no answer" in done.output
    assert "HTTP-01 pre-check failed for 2 of 3 names; no certificate was requested" in done.output
    assert "blog.test.example" not in host.check_output("journalctl --unit pebble@main.service")
    assert not served("blog.test.example").of_an_authority
    found = served("new.test.example")
    assert (found.names, found.key) == ({"shop.test.example", "new.test.example"}, "rsa")
    assert "names added: new.test.example; names removed: www.test.example" in done.output


# --- the timer --------------------------------------------------------------------------------------------------------


def test_the_timer_gets_what_the_first_run_could_not_and_is_quiet_then(host, unit, served):
    """Even where the site is closed: for all but a few networks by molecule.yml, for maintenance here."""
    timer = host.service("flask-ops-letsencrypt.timer")
    assert timer.is_enabled
    assert timer.is_running
    here = host.check_output("hostname -I").split()[0]
    # The file is a mount in a container: it is written to, not replaced.
    host.check_output(f"sh -c 'echo {here} wrong.test.example lost.test.example >> /etc/hosts'")
    host.check_output(
        "sh -c 'grep -v ^192.0.2.1 /etc/hosts > /root/hosts; cat /root/hosts > /etc/hosts; rm /root/hosts'"
    )
    flag = "/var/lib/flask-ops/maintenance/blog"
    host.check_output(f"install -D /dev/null {flag}")
    unit(SERVICE)
    host.check_output(f"systemctl start {SERVICE}")
    host.check_output(f"rm {flag}")
    blog = served("blog.test.example")
    assert blog.of_an_authority
    assert metric(host, "last_run_success", name="blog") == 1
    shop = served("shop.test.example")
    host.check_output(f"systemctl start {SERVICE}")
    assert (served("blog.test.example").serial, served("shop.test.example").serial) == (blog.serial, shop.serial)


def test_the_service_can_do_little_besides(host):
    exposure = host.run(f"systemd-analyze security {SERVICE}").stdout.splitlines()[-1]
    assert float(first(r"(\d+\.\d+)", exposure)) <= 5


def test_a_certificate_is_renewed_when_it_is_due_and_not_before(host, served):
    before = served("shop.test.example").serial
    assert look_after(host, "+45d").rc == 0
    assert served("shop.test.example").serial == before
    done = look_after(host, "+88d")
    assert done.rc == 0, done.stdout
    assert "shop: renewed" in done.stdout
    assert served("shop.test.example").serial != before


def test_whatever_the_server_of_one_name_answers_the_others_are_renewed(host, put, served):
    odd = {
        "relative": "301 $request_uri/",
        "bad": "301 http://[bad",
        "file": "301 file:///root/odd-fifo",
        "port": "301 http://127.0.0.1:22/",
        "none": "444",
    }
    sites = (
        f"server {{ listen 80; server_name {name}.odd.example; absolute_redirect off; return {answer}; }}\n"
        for name, answer in odd.items()
    )
    put("/etc/nginx/sites-enabled/odd", "".join(sites))
    host.check_output("nginx -s reload")
    host.check_output("mkfifo /root/odd-fifo")
    here = host.check_output("hostname -I").split()[0]
    host.check_output(f"sh -c 'echo {here} {' '.join(f'{name}.odd.example' for name in odd)} >> /etc/hosts'")
    path = "/etc/flask-ops/letsencrypt.json"
    saved = host.file(path).content_string
    wanted = json.loads(saved)
    shop = wanted["certificates"][0]
    bad = [{**shop, "name": f"odd-{name}", "domains": [f"{name}.odd.example"], "link": ""} for name in odd]
    put(path, json.dumps({**wanted, "certificates": [*bad, *wanted["certificates"]]}))
    before = served("shop.test.example").serial
    done = look_after(host, "+88d")
    put(path, saved)
    host.check_output("rm /etc/nginx/sites-enabled/odd /root/odd-fifo")
    host.check_output("nginx -s reload")
    assert done.rc == 1
    assert "more than 10 redirects" in done.stdout
    assert "a redirect to 'http://[bad', which is no URL" in done.stdout
    assert "a redirect to 'file:///root/odd-fifo', which is neither HTTP nor HTTPS" in done.stdout
    assert "a redirect to 'http://127.0.0.1:22/': only the ports 80 and 443 are followed" in done.stdout
    assert done.stdout.count("FAILED") == len(odd)
    assert "shop: renewed" in done.stdout
    assert served("shop.test.example").serial != before
    assert metric(host, "last_run_success", name="shop") == 1
    for name in odd:
        assert metric(host, "last_run_success", name=f"odd-{name}") == 0


def test_without_the_variables_the_same_certificate_is_served(host, apply, served):
    """As on a host that has left the group in which they are set."""
    before = {name: served(name).serial for name in ("shop.test.example", "blog.test.example")}
    wanted = host.file("/etc/flask-ops/letsencrypt.json").content_string
    lost = {"letsencrypt_email": "", "letsencrypt_server": "https://acme-v02.api.letsencrypt.org/directory"}
    # The site as the test before has changed it.
    shop = {"domains": ["shop.test.example", "new.test.example"]}
    done = apply(variables=lost, shop=shop)
    assert done.status == 0, done.output
    assert "The certificates of shop, blog are kept and renewed" in re.sub(r"\s+", " ", done.output)
    assert host.file("/etc/flask-ops/letsencrypt.json").content_string == wanted
    without_blog = apply(only=["shop"], variables=lost, shop=shop)
    assert without_blog.status == 0, without_blog.output
    assert {name: served(name).serial for name in before} == before
    assert look_after(host, "+88d").rc == 0
    assert served("shop.test.example").of_an_authority


def test_each_lifetime_is_renewed_in_its_last_part_and_not_on_every_run(host):
    """By certbot alone, which is what the timer leaves it to, with and without ARI: Debian 12's CA has none.

    Only certbot's clock is set. What a CA makes anew begins now, and so is due at each later clock.
    """
    certbot = "env REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt /opt/flask-ops/certbot/bin/certbot"
    places = "--config-dir /root/lives --work-dir /root/lives/work --logs-dir /root/lives/logs"
    get = f"certonly {places} --non-interactive --agree-tos --register-unsafely-without-email"
    get += " --webroot --webroot-path /var/lib/flask-ops/challenges --domain shop.test.example"
    for name, port in {"160h": 14300, "45d": 14100, "64d": 14400, "90d": 14000}.items():
        host.check_output(f"{certbot} {get} --cert-name {name} --server https://ca.test.example:{port}/dir")
    seen: dict[str, str] = {}
    renewed = []
    for clock in ("+0", "+78h", "+152h", "+27d", "+40d", "+55d", "+80d"):
        host.check_output(f"faketime -f {clock} {certbot} renew {places} --non-interactive --no-random-sleep-on-renew")
        links = host.check_output("sh -c 'cd /root/lives/live; readlink */cert.pem'").split()
        now = {first(r"archive/([^/]+)", path): path for path in links}
        renewed.append({name for name in now if seen and now[name] != seen[name]})
        seen = now
    host.check_output("rm -r /root/lives")
    assert renewed == [
        set(), set(), {"160h"}, {"160h"}, {"160h", "45d"}, {"160h", "45d", "64d"}, {"160h", "45d", "64d", "90d"},
    ]  # fmt: skip


def test_in_two_years_no_lifetime_ends_or_is_renewed_too_often_even_when_the_authority_is_often_down(host, once, put):
    """certbot decides at each run of the timer, at a clock that goes from run to run. Lifetimes are in hours."""
    down = {160: 48, 45 * 24: 10 * 24, 64 * 24: 14 * 24, 90 * 24: 21 * 24}
    # A CA that is down suggests nothing, so the first of each pair is also without ARI, for a while.
    cases = [
        {"lifetime": lifetime, "suggests": suggests, "down": hours}
        for lifetime, longest in down.items()
        for suggests, hours in ((True, longest), (False, 0))
    ]
    library = host.check_output("sh -c 'ls /usr/lib/*/faketime/libfaketime.so.1'")
    host.check_output("mkdir /root/years")
    put("/root/years/two_years.py", Path(__file__).parents[1].joinpath("two_years.py").read_text())
    host.check_output("sh -c 'echo \"@2027-01-01 00:00:00\" > /root/years/clock'")
    output = host.check_output(
        f"env LD_PRELOAD={library} FAKETIME_NO_CACHE=1 FAKETIME_TIMESTAMP_FILE=/root/years/clock "
        "/opt/flask-ops/certbot/bin/python /root/years/two_years.py %s",
        json.dumps(cases),
    )
    host.check_output("rm -r /root/years")
    results = [json.loads(line) for line in output.splitlines()]
    assert len(results) == len(cases)
    for result in results:
        # Two runs of the timer are never more than 23 hours apart.
        assert result["due"] <= result["youngest"] <= result["due"] + 23, result
        assert result["left"] >= result["lifetime"] - result["due"] - result["down"] - 23 > 0, result
        most = 2 * 365 * 24 / (result["due"] + result["down"])
        assert most >= result["renewals"] > most * 0.7 - 1, result


# --- another certificate -----------------------------------------------------------------------------------------------


def test_from_one_authority_to_another_to_an_own_certificate(host, once, apply, served):
    first = served("shop.test.example")
    staging = apply(only=["shop"], variables={"letsencrypt_server": STAGING})
    assert staging.status == 0, staging.output
    second = served("shop.test.example")
    assert second.of_an_authority
    assert second.issuer != first.issuer

    other = apply(only=["shop"], variables=OTHER)
    assert other.status == 0, other.output
    third = served("shop.test.example")
    assert third.of_an_authority
    assert third.issuer not in (first.issuer, second.issuer)

    own = {"fullchain": "/root/shop.pem", "privkey": "/root/shop.key"}
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 30 -subj /CN=own"
    names = "DNS:shop.test.example,DNS:www.test.example"
    host.check_output(f"{make} -addext subjectAltName={names} -keyout {own['privkey']} -out {own['fullchain']}")
    by_path = apply(shop={"certificate": own}, blog={"acme": {"enabled": False}})
    assert by_path.status == 0, by_path.output
    assert served("shop.test.example").issuer.endswith("own")
    assert served("blog.test.example").issuer.endswith("blog.test.example")
    for name in ("shop", "blog"):
        assert not host.file(f"/etc/letsencrypt/live/{name}").exists


def test_and_back_and_a_wildcard_by_dns_while_a_profile_that_is_not_offered_is_told(host, once, apply, served):
    credentials = {
        "dns_rfc2136_server": "127.0.0.1",
        "dns_rfc2136_name": "acme",
        "dns_rfc2136_secret": TSIG,
        "dns_rfc2136_algorithm": "HMAC-SHA256",
    }
    variables = {
        "letsencrypt_dns_plugin": "dns-rfc2136",
        "letsencrypt_dns_packages": ["certbot-dns-rfc2136==5.8.0"],
        "letsencrypt_dns_credentials": credentials,
        "letsencrypt_dns_propagation": 1,
    }
    domains = ["wildcard.test.example", "*.wildcard.test.example"]
    done = apply(
        variables=variables,
        blog={"acme": {"profile": "shortlived"}},
        api={"domains": domains, "acme": {"challenge": "dns-01"}},
    )
    assert done.status == 0, done.output
    # From a certificate of one's own, and from none at all.
    assert served("shop.test.example").of_an_authority, done.output
    assert "The CA does not offer the profile" in done.output
    assert served("blog.test.example").issuer.endswith("blog.test.example")
    found = served("anything.wildcard.test.example")
    assert found.of_an_authority, done.output
    assert found.names == set(domains)
    assert host.file("/etc/letsencrypt/credentials/dns-rfc2136.ini").mode == 0o600


# --- faults -----------------------------------------------------------------------------------------------------------


def test_an_authority_that_is_down_takes_nothing_with_it(host, once, apply, served):
    host.check_output("systemctl stop pebble@main.service")
    before = served("shop.test.example").serial
    first = apply(api={"state": "absent"}, late={"domains": ["api.test.example"]})
    assert first.status == 0
    assert "The CA does not answer at https://ca.test.example:14000/dir" in first.output
    assert not served("api.test.example").of_an_authority
    renewal = look_after(host, "+88d")
    assert renewal.rc == 1
    assert "shop: FAILED; expires" in renewal.stdout
    assert served("shop.test.example").serial == before
    assert metric(host, "last_run_success", name="shop") == 0
    # It has forgotten all accounts, as a new one would. They are made anew.
    host.check_output("systemctl start pebble@main.service")
    wait_for(host, 14000)
    later = look_after(host)
    assert later.rc == 0, later.stdout
    assert "late: issued" in later.stdout
    assert served("api.test.example").of_an_authority


def test_a_proxy_that_refuses_its_files_keeps_the_old_certificate_until_they_are_right(host, once, served):
    before = served("shop.test.example").serial
    host.check_output("sh -c 'echo nonsense > /etc/nginx/sites-enabled/foreign'")
    broken = look_after(host, "+88d")
    host.check_output("rm /etc/nginx/sites-enabled/foreign")
    assert broken.rc == 1
    assert "The certificate on disk is not served: nginx.service was not reloaded" in broken.stdout
    assert "/etc/nginx/sites-enabled/foreign" in broken.stdout
    assert served("shop.test.example").serial == before
    assert metric(host, "certificate_served", name="shop") == 0
    mended = look_after(host)
    assert "shop: installed" in mended.stdout, mended.stdout
    assert served("shop.test.example").serial != before
    assert metric(host, "certificate_served", name="shop") == 1


def test_a_certificate_that_has_ended_is_got_again(host, once, served):
    before = served("shop.test.example").serial
    ended = look_after(host, "+95d")
    assert "(expired on" in ended.stdout, ended.stdout
    # To that clock, the new one has ended as well. To this one it has not, and is served.
    done = look_after(host)
    assert done.rc == 0, done.stdout
    assert served("shop.test.example").serial != before


def test_what_was_deleted_is_restored(host, once, apply, served):
    host.check_output("rm -r /etc/letsencrypt")
    done = apply(late={"domains": ["api.test.example"]})
    assert done.status == 0, done.output
    for name in ("shop.test.example", "blog.test.example", "api.test.example"):
        assert served(name).of_an_authority, done.output


def test_an_absent_app_loses_its_certificate_and_one_of_somebody_else_stays(host, once, apply):
    host.check_output("cp -a /etc/letsencrypt/live/late /etc/letsencrypt/live/foreign")
    gone = apply(variables={"letsencrypt_revoke": True}, late={"state": "absent"}, foreign={"state": "absent"})
    assert gone.status == 0, gone.output
    assert "late: removed" in gone.output
    assert not host.file("/etc/letsencrypt/live/late").exists
    assert host.file("/etc/letsencrypt/live/foreign").exists
    assert "revoke" in host.check_output("journalctl --unit pebble@main.service").lower()
    wanted = json.loads(host.file("/etc/flask-ops/letsencrypt.json").content_string)
    assert [entry["name"] for entry in wanted["certificates"]] == ["shop", "blog"]
    host.check_output("rm -r /etc/letsencrypt/live/foreign")


def test_all_of_ours_are_deleted_by_a_word(host, once, apply, served):
    done = apply(variables={"letsencrypt_state": "absent"})
    assert done.status == 0, done.output
    for app, name in {"shop": "shop.test.example", "blog": "blog.test.example"}.items():
        assert served(name).issuer.endswith(name)
        assert not host.file(f"/etc/letsencrypt/live/{app}").exists
