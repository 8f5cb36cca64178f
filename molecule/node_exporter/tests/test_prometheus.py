"""What a real Prometheus gets from the servers, and what it makes of the alert rules."""

import json
import re
import time
from pathlib import Path

import pytest
import yaml

testinfra_hosts = ["ansible://prometheus"]

RULES = Path(__file__).parents[3] / "roles" / "node_exporter" / "files" / "alerts.yml"
RULE_TESTS = Path(__file__).parents[1] / "rules" / "alerts_test.yml"
ALERTS = {rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
METRICS = sorted(
    {
        name
        for rule in ALERTS.values()
        for name in re.findall(r"\b(?:flask_ops|letsencrypt|nginx|node)_\w+|\bup\b", rule["expr"])
    }
)
BOTH = {"node-exporter-debian12:9100", "node-exporter-debian13:9100"}
PATIENCE = 180


@pytest.fixture
def prometheus(host):
    """`prometheus("query?query=up")`: ask its HTTP API, on its own host."""
    asked = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=20).read().decode())"

    def ask(path):
        answer = host.check_output("python3 -c %s %s", asked, f"http://127.0.0.1:9090/api/v1/{path}")
        return json.loads(answer)["data"]

    return ask


@pytest.fixture
def instances(prometheus):
    """`instances("up == 1")`: the servers for which Prometheus has what is asked for; asked until it has both.

    What it scraped from itself, before it knew the servers, does not count.
    """

    def ask(query):
        deadline = time.monotonic() + PATIENCE
        while True:
            found = prometheus(f"query?query={query.replace(' ', '%20')}")["result"]
            names = {sample["metric"].get("instance") for sample in found} & BOTH
            if names == BOTH or time.monotonic() > deadline:
                return names
            time.sleep(2)

    return ask


def test_both_servers_are_scraped_through_tls_with_a_user(instances):
    assert instances("up == 1") == BOTH


@pytest.mark.parametrize("metric", [*METRICS, 'gunicorn_requests_total{app="shop"}'])
def test_every_metric_of_a_rule_and_gunicorns_own_have_data_from_both_servers(instances, metric):
    assert instances(metric) == BOTH


@pytest.mark.parametrize("server", ["node-exporter-debian12", "node-exporter-debian13"])
def test_promtool_has_nothing_against_our_metrics(host, server):
    fetch = f"""
import base64, ssl, urllib.request
user = {{"Authorization": "Basic " + base64.b64encode(b"prometheus:canary-9d1f7c20").decode()}}
asked = urllib.request.Request("https://{server}:9100/metrics", headers=user)
trusted = ssl.create_default_context(cafile="/etc/prometheus/targets.pem")
for line in urllib.request.urlopen(asked, context=trusted, timeout=30).read().decode().splitlines():
    if line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith(("flask_ops_", "gunicorn_", "letsencrypt_")):
        print(line)
"""
    written = host.check_output("python3 -c %s", fetch)
    assert "flask_ops_app_healthy" in written
    assert "gunicorn_requests_total" in written
    checked = host.run("echo %s | promtool check metrics", written)
    assert (checked.rc, checked.stdout, checked.stderr) == (0, "", "")


def test_the_rules_are_loaded_and_each_can_be_evaluated(prometheus):
    (group,) = prometheus("rules?type=alert")["groups"]
    assert {rule["name"]: rule["health"] for rule in group["rules"]} == dict.fromkeys(ALERTS, "ok")


def test_each_rule_has_a_test_in_which_it_fires(host):
    tests = yaml.safe_load(RULE_TESTS.read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")}
    assert fired == ALERTS.keys()


def test_promtool_accepts_the_rules_and_their_tests_pass(host):
    with host.sudo():
        host.check_output("mkdir /root/rules")
        for path in (RULES, RULE_TESTS):
            assert host.run("echo %s > /root/rules/%s", path.read_text(), path.name).rc == 0
        checked = host.run(
            "sh -c 'cd /root/rules && promtool check rules alerts.yml && promtool test rules alerts_test.yml'"
        )
        host.check_output("rm -r /root/rules")
    assert checked.rc == 0, checked.stdout + checked.stderr


def test_by_default_the_exporter_listens_on_the_loopback_alone(host):
    assert host.socket("tcp://127.0.0.1:9100").is_listening
    listening = host.check_output("ss --no-header --listening --numeric --tcp 'sport = :9100'").splitlines()
    assert [line.split()[3] for line in listening] == ["127.0.0.1:9100"]


def test_by_default_there_is_no_other_exporter(host):
    for name in ("prometheus-nginx-exporter", "mtail", "collectd-core"):
        assert not host.package(name).is_installed
    # What somebody else may have.
    assert not host.file("/etc/systemd/system/collectd.service").exists
