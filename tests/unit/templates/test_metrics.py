"""That what one role writes is what node_exporter reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.flask_ops.production.plugins.module_utils._host.sandbox import HIDDEN_ADDRESS, SANDBOX
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import ROLES

from tests.unit.templates.rendering import lines, published, render

REQUEST = {
    "status": "404",
    "body_bytes_sent": "153",
    "request_time": "4.217",
    "upstream_response_time": "4.216",
    "upstream_status": "500",
    "host": "shop.example.com",
    "request_id": "2f0c9a1b",
    "request": "GET / HTTP/1.1",
}


def log_line(name: str, **values: str) -> str:
    """What nginx writes for a request, by the format of this name."""
    (said,) = re.findall(rf"log_format {name} (.*?)';", render("nginx.conf.j2"), re.DOTALL)
    form = "".join(re.findall("'([^']*)'", f"{said}'"))
    assert "$request_time" in form
    return re.sub(r"\$(\w+)", lambda variable: (REQUEST | values).get(variable[1], "-"), form)


def counted(line: str) -> dict[str, list[str]]:
    """What the program for mtail finds in a line: all values for each name."""
    found: dict[str, list[str]] = {}
    for pattern in re.findall("^  /(.*)/ {$", render("access-log.mtail.j2"), re.MULTILINE):
        match = re.search(pattern, line)
        for name, value in match.groupdict().items() if match else ():
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("name", ["json", "text"])
def test_answers_are_counted_in_both_formats_of_nginx_proxy(name: str):
    assert counted(log_line(name)) == {"code": ["404"], "seconds": ["4.217"]}


@pytest.mark.parametrize("name", ["json", "text"])
@pytest.mark.parametrize("time", ["", "-", "0.001, 4.216", "0.001 : 4.216"])
def test_an_answer_of_none_or_of_several_upstreams_has_one_time(name: str, time: str):
    assert counted(log_line(name, upstream_response_time=time, upstream_status=time)) == {
        "code": ["404"],
        "seconds": ["4.217"],
    }


@pytest.mark.parametrize(
    ("name", "quote"),
    [("json", r"\""), ("text", r"\x22")],
)
def test_what_a_client_sends_is_not_counted(name: str, quote: str):
    """nginx escapes quotes, so no client can write what the patterns look for."""
    forged = '"status":500,"seconds":9.000," 500 1 "x" a b 9.000 -'.replace('"', quote)
    line = log_line(name, http_user_agent=forged, http_referer=forged, request=forged, request_uri=forged)
    assert counted(line) == {"code": ["404"], "seconds": ["4.217"]}


def exporters(debian: str = "13", **variables: str) -> dict[str, dict]:
    """The exporters on the loopback, by name."""
    facts = {"distribution": "Debian", "distribution_major_version": debian}
    listed = published("node_exporter", "__node_exporter_loopback", ansible_facts=facts, **variables)
    return {exporter["name"]: exporter for exporter in listed}


def test_gunicorn_sends_where_collectd_listens():
    sends = render("server.conf.py.j2", metrics={"statsd": "127.0.0.1:8126"})
    listens = render("collectd.conf.j2", node_exporter_statsd="127.0.0.1:8126")
    assert 'statsd_host = "127.0.0.1:8126"' in sends
    assert re.search(r'<Plugin statsd>\n  Host "127.0.0.1"\n  Port "8126"\n', listens)
    assert exporters(node_exporter_statsd="127.0.0.1:8126")["gunicorn"]["before"].count("8126") == 1


def test_collectd_does_nothing_else_and_all_of_it_on_the_loopback():
    written = lines(render("collectd.conf.j2", node_exporter_statsd="127.0.0.1:8125"))
    assert [line for line in written if line.startswith("LoadPlugin")] == [
        "LoadPlugin statsd",
        "LoadPlugin write_prometheus",
    ]
    assert [line for line in written if line.startswith("Host ")] == ['Host "127.0.0.1"', f'Host "{HIDDEN_ADDRESS}"']


@pytest.mark.parametrize(("debian", "library"), [("12", "libmicrohttpd12"), ("13", "libmicrohttpd12t64")])
def test_collectd_comes_with_the_libraries_that_it_only_suggests(debian: str, library: str):
    assert exporters(debian)["gunicorn"]["packages"] == ["collectd-core", "libprotobuf-c1", library]


def test_without_statsd_there_is_no_collectd_and_nobody_elses_is_stopped():
    assert exporters()["gunicorn"]["state"] == "absent"
    assert "collectd-core" not in published("node_exporter", "node_exporter_packages")
    assert "collectd.service" not in published("node_exporter", "node_exporter_masked_units")
    wanted = {"node_exporter_statsd": "127.0.0.1:8125"}
    facts = {"distribution": "Debian", "distribution_major_version": "13"}
    assert "collectd-core" in published("node_exporter", "node_exporter_packages", ansible_facts=facts, **wanted)
    assert "collectd.service" in published("node_exporter", "node_exporter_masked_units", **wanted)


@pytest.mark.parametrize("unit", ["node-exporter", "flask-ops-metrics", "loopback-exporter"])
def test_no_exporter_is_outside_the_sandbox(unit: str):
    sandbox = (ROLES / "node_exporter/templates/sandbox.jinja").read_text(encoding="utf-8").splitlines()
    written = lines(render(f"{unit}.service.j2"))
    assert "NoNewPrivileges=yes" in sandbox
    assert [line for line in written if line in sandbox] == sandbox
    assert written[written.index(sandbox[-1]) + 1].startswith(("SystemCallFilter=", "RestrictAddressFamilies="))


def test_the_pattern_of_the_file_name_has_the_app():
    (pattern,) = re.findall(r"^getfilename\(\) =~ /(.*)/ {$", render("access-log.mtail.j2"), re.MULTILINE)
    found = re.search(pattern, "/var/log/nginx/shop.access.log")
    assert found is not None
    assert found["app"] == "shop"


def test_the_sandbox_of_apps_denies_the_address_of_the_exporters_and_of_nginxs_counters():
    assert ("IPAddressDeny", HIDDEN_ADDRESS) in SANDBOX
    roles = Path(__file__).resolve().parents[3] / "roles"
    exporters = yaml.safe_load((roles / "node_exporter" / "vars" / "main.yml").read_text(encoding="utf-8"))
    assert exporters["__node_exporter_hidden"] == HIDDEN_ADDRESS
    for exporter in exporters["__node_exporter_loopback"]:
        assert exporter["url"].startswith("http://{{ __node_exporter_hidden }}:")
        assert "127.0.0.1:9" not in exporter["command"]
    status = (roles / "nginx_proxy" / "templates" / "flask-ops-status.conf.j2").read_text(encoding="utf-8")
    assert f"listen {HIDDEN_ADDRESS}:" in status
