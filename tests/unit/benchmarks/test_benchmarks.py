"""The parts of the benchmarks that need no host: what is said of numbers, and how it is written down."""

import json
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.report import as_data, bars, plain_table, table
from benchmarks.timing import FailedError, Figure, Run, interleaved, measured, ratios, watched
from benchmarks.traffic import AtTemplate, parsed, percentile, summary, wrk

PEERS = Path(__file__).resolve().parents[3] / "benchmarks" / "peers"

WRK = """\
Running 3s test @ https://demo.bench.test/
  2 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    12.93ms    7.52ms 103.03ms   89.21%
    Req/Sec   644.14     83.95   790.00     75.00%
  Latency Distribution
     50%   11.51ms
     75%  850.00us
     90%   20.90ms
     99%    1.05s
  3852 requests in 3.01s, 1.51MB read
  Socket errors: connect 0, read 2, write 0, timeout 1
  Non-2xx or 3xx responses: 4
Requests/sec:   1281.22
Transfer/sec:    513.98KB
"""


def test_who_begins_changes_from_round_to_round():
    order: list[str] = []
    found = interleaved({name: lambda name=name: order.append(name) for name in "abc"}, 3)  # type: ignore[misc]
    assert order == [*"abc", *"bca", *"cab"]
    assert {name: len(results) for name, results in found.items()} == {"a": 3, "b": 3, "c": 3}


def test_a_change_is_noted_when_it_is_seen_and_not_when_the_command_ends():
    seen = iter("aab")

    def command() -> Run:
        time.sleep(0.5)
        return Run(0.5)

    run = watched(command, lambda: next(seen, "b"))
    assert run.until
    assert run.until < 0.4
    with pytest.raises(FailedError, match=r"it is a as before, after 0\.5 s"):
        watched(command, lambda: "a")


def test_a_ratio_is_of_two_runs_of_one_round():
    assert ratios([1, 4], [2, 2]) == [0.5, 2]
    with pytest.raises(ValueError, match="shorter"):
        ratios([1, 2], [1])


@pytest.mark.parametrize(
    ("target", "at_most", "met"),
    [(2, True, True), (1.9, True, False), (2, False, True), (2.1, False, False), (None, True, None)],
)
def test_the_median_of_the_rounds_is_what_counts(target: float | None, at_most: bool, met: bool | None):
    figure = Figure("work", "peer", [1, 9, 2], target, at_most)
    assert (figure.median, figure.spread, figure.met) == (2, (1, 9), met)


def test_a_command_is_timed_with_its_processor_time(tmp_path: Path):
    tasks = tmp_path / "tasks"
    script = (
        "import sys, time; time.sleep(0.2); sum(range(3_000_000)); "
        f"open({str(tasks)!r}, 'w').write('[[\"one\", 0.1], [\"two\", 0.2]]')"
    )
    run = measured([sys.executable, "-c", script], tasks=tasks)
    assert run.seconds >= 0.2
    assert 0 < run.cpu < 60
    assert run.tasks == [("one", 0.1), ("two", 0.2)]


def test_a_command_that_fails_is_no_measurement():
    with pytest.raises(FailedError, match="exit status 3\nlast words"):
        measured(["sh", "-c", "echo last words; exit 3"])


def test_what_wrk_prints_is_read():
    load = parsed(WRK)
    assert (load.per_second, load.p50_ms, load.p99_ms, load.bad) == (1281.22, 11.51, 1050, 7)
    assert summary([load, load])["bad"] == 14


def test_no_load_without_bounds():
    with pytest.raises(AssertionError):
        wrk("https://demo.bench.test/", seconds=3600)


def test_percentiles_are_milliseconds():
    values = [one / 1000 for one in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([], 0.5)) == (51, 100, None)


@pytest.mark.parametrize("path", sorted((PEERS / "nginx").glob("*.conf")), ids=lambda path: path.stem)
def test_the_peers_of_nginx_are_filled_in(path: Path):
    values = {"domain": "demo.bench.test", "release": "/srv/demo/releases/1", "certificate": "/etc/certificates"}
    text = AtTemplate(path.read_text()).substitute(values)
    assert "@" not in text
    assert "ssl_certificate /etc/certificates/fullchain.pem;" in text


def test_the_table_says_what_was_reached():
    rows = [
        as_data(Figure("deploy", "shell", [4.0, 5.0, 6.0], 5, True, "5 s", "1 s")),
        as_data(Figure("page", "tuned", [0.9], 0.95, False)),
        as_data(Figure("status", "shell", [2.0])),
    ]
    assert json.loads(json.dumps(rows)) == rows
    lines = table(rows).splitlines()
    assert lines[2] == "| deploy | shell | 5 s | 1 s | 5.00 | 4.00 to 6.00 | 3 | ≤ 5 | yes |"
    assert lines[3].endswith("| ≥ 0.95 | **no** |")
    assert lines[4].endswith("| 1 |  |  |")
    assert plain_table(["a", "b"], [[1, None]]) == "| a | b |\n|---|---|\n| 1 |  |\n"


def test_a_plot_is_well_formed():
    plot = ET.fromstring(bars("A < B", "s", [("ours & theirs", 3.0, True), ("nothing", 0.0, False)]))
    widths = [float(one.get("width", 0)) for one in plot.iter("{http://www.w3.org/2000/svg}rect")]
    assert widths[1] > widths[2] >= 1
