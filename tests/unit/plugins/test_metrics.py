"""What the collector tells Prometheus of apps, units and deploys, also where things are missing or broken."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._metrics import collect, exporters
from ansible_collections.flask_ops.production.plugins.module_utils._metrics.deploys import deploys_by_app
from ansible_collections.flask_ops.production.plugins.module_utils._metrics.exposition import Metric

APP = {"name": "shop", "paths": {"current": "/srv/shop/current"}, "health": {"path": "/", "status": None}}
SEEN = {
    "slot": "green", "release": "r2", "healthy": True, "seconds": 0.012, "reachable": True, "maintenance": None,
    "worker_deaths": 2,
}  # fmt: skip


def lines(metrics: list[Metric]) -> list[str]:
    return [line for metric in metrics for line in str(metric).splitlines() if not line.startswith("#")]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch):
    def say(answer: dict[str, Any] | Exception, environment: str = "") -> None:
        def app_status(app: dict, port: int) -> dict[str, Any]:
            assert (app["name"], port) == ("shop", 443)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(collect, "app_status", app_status)
        monkeypatch.setattr(collect, "unit_named", lambda unit: {"Environment": environment})

    return say


def test_an_app_in_traffic_with_its_versions(looks, tmp_path: Path):
    (tmp_path / "lib/python3.13/site-packages/gunicorn-27.0.1.dist-info").mkdir(parents=True)
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\nversion_info = 3.13.5\n")
    looks(SEEN, f"FLASK_OPS_WORKERS=5 PATH={tmp_path}/bin:/usr/bin 'FLASK_OPS_VERSION=a b'")
    metrics, units = collect.app_metrics([APP], 443)
    assert units == ["shop-green.service"]
    assert lines(metrics) == [
        'flask_ops_app_info{app="shop",slot="green",release="r2"} 1',
        'flask_ops_app_healthy{app="shop"} 1',
        'flask_ops_app_reachable{app="shop"} 1',
        'flask_ops_app_maintenance{app="shop"} 0',
        'flask_ops_app_worker_deaths{app="shop"} 2',
        'flask_ops_app_health_duration_seconds{app="shop"} 0.012',
        'flask_ops_app_configured_workers{app="shop"} 5',
        'flask_ops_gunicorn_info{app="shop",version="27.0.1"} 1',
        'flask_ops_python_info{app="shop",version="3.13.5"} 1',
    ]


def test_an_app_without_a_live_slot_is_neither_healthy_nor_reachable(looks):
    looks({"slot": None, "healthy": False, "reachable": False, "maintenance": None})
    metrics, units = collect.app_metrics([APP], 443)
    assert lines(metrics) == [
        'flask_ops_app_healthy{app="shop"} 0',
        'flask_ops_app_reachable{app="shop"} 0',
        'flask_ops_app_maintenance{app="shop"} 0',
    ]
    assert units == []


def test_what_is_not_known_is_no_figure(looks):
    looks(SEEN | {"reachable": None, "worker_deaths": None, "maintenance": 1764000000.0})
    metrics, _ = collect.app_metrics([APP], 443)
    assert 'flask_ops_app_maintenance{app="shop"} 1' in lines(metrics)
    assert not [line for line in lines(metrics) if "reachable" in line or "deaths" in line]


def test_an_app_of_which_systemd_does_not_answer_is_not_healthy(looks):
    looks(CommandError("no systemd"))
    metrics, units = collect.app_metrics([APP], 443)
    assert lines(metrics) == ['flask_ops_app_healthy{app="shop"} 0', 'flask_ops_app_maintenance{app="shop"} 0']
    assert units == []


@pytest.mark.parametrize(
    ("text", "version"), [("version = 3.11.2\n", "3.11.2"), ("home = /usr/bin\n\n", ""), (None, "")]
)
def test_the_version_of_python_is_the_one_that_made_the_environment(tmp_path: Path, text: str | None, version: str):
    if text is not None:
        (tmp_path / "pyvenv.cfg").write_text(text)
    assert collect.python_version(str(tmp_path)) == version


def test_a_unit_is_in_one_state_and_a_timer_counts_no_restarts(monkeypatch: pytest.MonkeyPatch):
    told = {
        "a.service": {"ActiveState": "failed", "NRestarts": "3"},
        "b.timer": {"ActiveState": "active"},
    }
    monkeypatch.setattr(collect, "unit_properties", lambda unit, *_: told[unit])
    found = lines(collect.unit_metrics(list(told)))
    assert [line for line in found if not line.endswith(" 0")] == [
        'flask_ops_unit_state{unit="a.service",state="failed"} 1',
        'flask_ops_unit_state{unit="b.timer",state="active"} 1',
        'flask_ops_unit_restarts_total{unit="a.service"} 3',
    ]
    assert len(found) == 2 * len(collect.UNIT_STATES) + 1


def deploy(app: str, result: str = "ok", time: str = "2026-11-24T18:36:12+00:00") -> str:
    return json.dumps(
        {
            "app": app,
            "result": result,
            "time": time,
            "seconds": 3.5,
            "to": "r2",
            "from": "r1",
            "by": "me",
            "reason": None,
        }
    )


def test_the_last_deploy_of_each_app_counts(tmp_path: Path):
    log = tmp_path / "deploys.jsonl"
    log.write_text(
        "\n".join([deploy("shop"), deploy("blog"), deploy("shop", "failed", "2026-11-25T00:00:00Z"), deploy("gone")])
    )
    assert lines(collect.deploy_metrics(str(log), ["shop", "blog", "new"])) == [
        'flask_ops_last_deploy_timestamp_seconds{app="shop"} 1795564800',
        'flask_ops_last_deploy_timestamp_seconds{app="blog"} 1795545372',
        'flask_ops_last_deploy_success{app="shop"} 0',
        'flask_ops_last_deploy_success{app="blog"} 1',
        'flask_ops_last_deploy_duration_seconds{app="shop"} 3.5',
        'flask_ops_last_deploy_duration_seconds{app="blog"} 3.5',
    ]


@pytest.mark.parametrize(
    "broken", ["", "{", "[]", "null", '{"app": "shop"}', '{"app": "shop", "time": 1}', "\0\0", '"x"']
)
def test_a_broken_line_in_the_log_of_deploys_is_passed_over(tmp_path: Path, broken: str):
    log = tmp_path / "deploys.jsonl"
    log.write_text(f"{broken}\n{deploy('shop')}\n{broken}")
    assert list(deploys_by_app(str(log))) == ["shop"]


def test_no_log_of_deploys_is_no_deploys(tmp_path: Path):
    assert lines(collect.deploy_metrics(str(tmp_path / "deploys.jsonl"), ["shop"])) == []


def test_a_log_that_was_just_rotated_is_read_too(tmp_path: Path):
    (tmp_path / "deploys.jsonl-20261124").write_text(deploy("shop"))
    (tmp_path / "deploys.jsonl").write_text("")
    (tmp_path / "deploys.jsonl-20261123.gz").write_bytes(b"\x1f\x8b")
    assert list(deploys_by_app(str(tmp_path / "deploys.jsonl"))) == ["shop"]


def test_labels_are_escaped():
    metric = Metric("x", "X.")
    metric.add(1, app='a"b\\c\nd')
    assert str(metric).splitlines()[-1] == 'x{app="a\\"b\\\\c\\nd"} 1'


def test_of_another_exporter_only_its_subject_is_passed_on():
    text = "# HELP nginx_up Up.\n# TYPE nginx_up gauge\nnginx_up 1\n# HELP go_x X.\ngo_x 1\nnginxexporter_info 1\n"
    assert exporters.with_prefix(text, "nginx_") == "# HELP nginx_up Up.\n# TYPE nginx_up gauge\nnginx_up 1\n"


def test_an_exporter_that_does_not_answer_leaves_no_old_figures(tmp_path: Path):
    (tmp_path / "nginx.prom").write_text("nginx_up 1\n")
    exporter = {"url": "http://127.0.0.1:1/metrics", "prefix": "nginx_"}
    exporters.pass_on(exporter, ["shop"], str(tmp_path / "nginx.prom"))
    assert list(tmp_path.iterdir()) == []


COLLECTD = """\
# HELP collectd_statsd_derive_total write_prometheus plugin: 'statsd' Type: 'derive', Dstype: 'derive', Dsname: 'value'
# TYPE collectd_statsd_derive_total counter
collectd_statsd_derive_total{statsd="shop.gunicorn.log.error",instance="localhost"} 1 1795720081865
collectd_statsd_derive_total{statsd="shop.gunicorn.request.status.200",instance="localhost"} 41 1795720081865
collectd_statsd_derive_total{statsd="shop.gunicorn.request.status.500",instance="localhost"} 1 1795720081865
collectd_statsd_derive_total{statsd="shop.gunicorn.requests",instance="localhost"} 42 1795720081865
# HELP collectd_statsd_gauge write_prometheus plugin: 'statsd' Type: 'gauge', Dstype: 'gauge', Dsname: 'value'
# TYPE collectd_statsd_gauge gauge
collectd_statsd_gauge{statsd="shop.gunicorn.workers",instance="localhost"} 2 1795720081865
# HELP collectd_statsd_latency write_prometheus plugin: 'statsd' Type: 'latency', Dstype: 'gauge', Dsname: 'value'
# TYPE collectd_statsd_latency gauge
collectd_statsd_latency{statsd="shop.gunicorn.request.duration-average",instance="localhost"} 0.756000000052154 1795720081865
collectd_statsd_latency{statsd="shop.gunicorn.request.duration-percentile-50",instance="localhost"} 0.013671875 1795720081865
collectd_statsd_latency{statsd="shop.gunicorn.request.duration-percentile-99",instance="localhost"} 9.5e-05 1795720081865
collectd_statsd_latency{statsd="blog.gunicorn.request.duration-percentile-50",instance="localhost"} nan 1795720081865

# collectd/write_prometheus 5.12.0.git at localhost
"""
"""What collectd 5.12 wrote for what gunicorn 27 had sent."""


def test_what_gunicorn_sends_has_names_of_its_own_and_the_app_as_a_label():
    told = exporters.gunicorn_metrics(COLLECTD, ["shop", "blog"])
    assert lines(told) == [
        'gunicorn_requests_total{app="shop"} 42',
        'gunicorn_responses_total{app="shop",code="200"} 41',
        'gunicorn_responses_total{app="shop",code="500"} 1',
        'gunicorn_log_messages_total{app="shop",level="error"} 1',
        'gunicorn_workers{app="shop"} 2',
        'gunicorn_request_duration_seconds{app="shop",percentile="50"} 0.013671875',
        'gunicorn_request_duration_seconds{app="shop",percentile="99"} 9.5e-05',
    ]
    # node_exporter takes no times in a file.
    assert "1795720081865" not in "".join(map(str, told))


@pytest.mark.parametrize(
    "sent",
    [
        "gone.gunicorn.requests",
        "gunicorn.requests",
        "shop.requests",
        "shop.gunicorn.orders",
        "shop.gunicorn.request.status.2000",
        "shop.gunicorn.log.debug",
        "shop.gunicorn.requests ",
        "shop.gunicorn.requests\ufffd",
        'shop\\".gunicorn.requests',
        'x",statsd="shop.gunicorn.requests',
        "shop.shop.gunicorn.requests",
    ],
)
def test_what_somebody_else_on_the_host_sends_is_not_told(sent: str):
    line = f'collectd_statsd_derive_total{{statsd="{sent}",instance="localhost"}} 7 1795720081865\n'
    assert lines(exporters.gunicorn_metrics(line + COLLECTD, ["shop"])) == lines(
        exporters.gunicorn_metrics(COLLECTD, ["shop"])
    )


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "-nan", "1 2", ""])
def test_what_is_no_number_is_not_told(value: str):
    line = f'collectd_statsd_gauge{{statsd="shop.gunicorn.workers",instance="localhost"}} {value} 1795720081865\n'
    assert lines(exporters.gunicorn_metrics(line, ["shop"])) == []


def test_bytes_that_are_no_text_take_nothing_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written: dict[str, str] = {}
    answer = b'collectd_statsd_derive_total{statsd="\xff",instance="localhost"} 1 1\n' + COLLECTD.encode()
    monkeypatch.setattr(exporters.urllib.request, "urlopen", lambda url, timeout: io.BytesIO(answer))
    monkeypatch.setattr(exporters, "write_file", lambda path, found: written.update({path: "".join(map(str, found))}))
    exporters.pass_on({"url": "http://127.0.0.1:9103/metrics", "form": "statsd"}, ["shop"], "gunicorn.prom")
    assert 'gunicorn_requests_total{app="shop"} 42\n' in written["gunicorn.prom"]
