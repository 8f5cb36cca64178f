"""What the collector tells Prometheus of apps, units and deploys, also where things are missing or broken."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.flask_ops.production.plugins.module_utils import _metrics
from ansible_collections.flask_ops.production.plugins.module_utils._command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._metrics import Metric
from ansible_collections.flask_ops.production.plugins.plugin_utils._specs import ROLES

APP = {"name": "shop", "health": {"path": "/", "status": None}}
SEEN = {"slot": "green", "release": "r2", "healthy": True, "seconds": 0.012}


def lines(metrics: list[Metric]) -> list[str]:
    return [line for metric in metrics for line in str(metric).splitlines() if not line.startswith("#")]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch):
    def say(answer: dict[str, Any] | Exception, started: str = "") -> None:
        def look(app: dict, link: str) -> dict[str, Any]:
            assert link == "/srv/shop/current"
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(_metrics, "look", look)
        monkeypatch.setattr(_metrics, "unit_properties", lambda unit, *_: {"ExecStart": started})

    return say


def test_an_app_in_traffic_with_its_versions(looks, tmp_path: Path):
    (tmp_path / "lib/python3.13/site-packages/gunicorn-27.0.1.dist-info").mkdir(parents=True)
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\nversion_info = 3.13.5\n")
    looks(SEEN, f"{{ path={tmp_path}/bin/gunicorn ; argv[]={tmp_path}/bin/gunicorn --config x }}")
    metrics, units = _metrics.app_metrics([APP], "/srv/{name}/current")
    assert units == ["shop-green.service"]
    assert lines(metrics) == [
        'flask_ops_app_info{app="shop",slot="green",release="r2"} 1',
        'flask_ops_app_healthy{app="shop"} 1',
        'flask_ops_app_health_duration_seconds{app="shop"} 0.012',
        'flask_ops_gunicorn_info{app="shop",version="27.0.1"} 1',
        'flask_ops_python_info{app="shop",version="3.13.5"} 1',
    ]


@pytest.mark.parametrize("answer", [{"slot": None, "healthy": False}, CommandError("no systemd")])
def test_an_app_without_traffic_is_not_healthy_and_nothing_else(looks, answer: Any):
    looks(answer)
    metrics, units = _metrics.app_metrics([APP], "/srv/{name}/current")
    assert lines(metrics) == ['flask_ops_app_healthy{app="shop"} 0']
    assert units == []


def test_a_line_of_the_settings_is_found_or_missing(tmp_path: Path):
    (tmp_path / "conf").write_text("x = 1\nworkers = 5\n# workers = 6\n")
    assert _metrics.found_in(str(tmp_path / "conf"), r"^workers = (\d+)$") == "5"
    assert _metrics.found_in(str(tmp_path / "conf"), r"^threads = (\d+)$") == ""
    assert _metrics.found_in(str(tmp_path / "missing"), r"^workers = (\d+)$") == ""


def test_a_unit_is_in_one_state_and_a_timer_counts_no_restarts(monkeypatch: pytest.MonkeyPatch):
    told = {
        "a.service": {"ActiveState": "failed", "NRestarts": "3"},
        "b.timer": {"ActiveState": "active"},
    }
    monkeypatch.setattr(_metrics, "unit_properties", lambda unit, *_: told[unit])
    found = lines(_metrics.unit_metrics(list(told)))
    assert [line for line in found if not line.endswith(" 0")] == [
        'flask_ops_unit_state{unit="a.service",state="failed"} 1',
        'flask_ops_unit_state{unit="b.timer",state="active"} 1',
        'flask_ops_unit_restarts_total{unit="a.service"} 3',
    ]
    assert len(found) == 2 * len(_metrics.UNIT_STATES) + 1


def deploy(app: str, result: str = "ok", time: str = "2026-11-24T18:36:12+00:00") -> str:
    return json.dumps({"app": app, "result": result, "time": time, "seconds": 3.5, "to": "r2"})


def test_the_last_deploy_of_each_app_counts(tmp_path: Path):
    log = tmp_path / "deploys.jsonl"
    log.write_text(
        "\n".join([deploy("shop"), deploy("blog"), deploy("shop", "failed", "2026-11-25T00:00:00Z"), deploy("gone")])
    )
    assert lines(_metrics.deploy_metrics(str(log), ["shop", "blog", "new"])) == [
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
    assert list(_metrics.last_deploys(str(log))) == ["shop"]


def test_no_log_of_deploys_is_no_deploys(tmp_path: Path):
    assert lines(_metrics.deploy_metrics(str(tmp_path / "deploys.jsonl"), ["shop"])) == []


def test_a_log_that_was_just_rotated_is_read_too(tmp_path: Path):
    (tmp_path / "deploys.jsonl-20261124").write_text(deploy("shop"))
    (tmp_path / "deploys.jsonl").write_text("")
    (tmp_path / "deploys.jsonl-20261123.gz").write_bytes(b"\x1f\x8b")
    assert list(_metrics.last_deploys(str(tmp_path / "deploys.jsonl"))) == ["shop"]


def test_labels_are_escaped():
    metric = Metric("x", "X.")
    metric.add(1, app='a"b\\c\nd')
    assert str(metric).splitlines()[-1] == 'x{app="a\\"b\\\\c\\nd"} 1'


def test_of_another_exporter_only_its_subject_is_passed_on():
    text = "# HELP nginx_up Up.\n# TYPE nginx_up gauge\nnginx_up 1\n# HELP go_x X.\ngo_x 1\nnginxexporter_info 1\n"
    assert _metrics.passed_on(text, "nginx_") == "# HELP nginx_up Up.\n# TYPE nginx_up gauge\nnginx_up 1\n"


def test_an_exporter_that_does_not_answer_leaves_no_old_figures(tmp_path: Path):
    (tmp_path / "nginx.prom").write_text("nginx_up 1\n")
    _metrics.pass_on("http://127.0.0.1:1/metrics", "nginx_", str(tmp_path / "nginx.prom"))
    assert list(tmp_path.iterdir()) == []


def test_the_role_puts_all_that_the_collector_imports_on_the_host(tmp_path: Path):
    """There, they are files side by side, which import each other without the name of the collection."""
    shipped = yaml.safe_load((ROLES / "node_exporter/vars/main.yml").read_text())["__node_exporter_modules"]
    collection = "ansible_collections.flask_ops.production.plugins.module_utils."
    for name in shipped:
        text = (ROLES.parent / f"plugins/module_utils/{name}.py").read_text().replace(collection, "")
        (tmp_path / f"{name}.py").write_text(text)
        imported = {node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)}
        assert {module for module in imported if module and module.startswith("_") and module != "__future__"} <= {
            *shipped
        }
    settings = {"directory": str(tmp_path), "apps": [], "release_link": "", "units": [], "exporters": []}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    command = [sys.executable, "-I", "-c", f"import sys; sys.path = [{str(tmp_path)!r}, *sys.path]; import _metrics"]
    subprocess.run(command, check=True)
