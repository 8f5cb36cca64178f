"""What can go wrong in operation and during a switch. docs/faults.md has the outcomes; the numbers are from there."""

import concurrent.futures
import contextlib
import http.client
import json
import re
import threading
import time
from pathlib import Path

import pytest

from tests.waiting import eventually


@pytest.fixture
def root(host):
    """Run a command as root; return what it prints."""

    def run(command):
        with host.sudo():
            return host.check_output(command)

    return run


def master(root, unit):
    return int(root(f"systemctl show --value --property MainPID {unit}"))


def answers(web, name):
    try:
        return web(name).ask("/healthz").status == 200
    except OSError:
        return False


@pytest.fixture
def starting(root, slot, switch):
    """`with starting() as run:` a run that has started the idle slot with a release that is not ready before it is told."""

    @contextlib.contextmanager
    def until_ready():
        root("rm --force /srv/web/go")
        idle = "green" if slot("of-gthread") == "blue" else "blue"
        patient = {"path": "/healthz", "deadline": 600}
        with concurrent.futures.ThreadPoolExecutor() as pool:
            run = pool.submit(switch, "of-gthread", "slow", health=patient)
            eventually(lambda: root(f"systemctl is-active of-gthread-{idle}.service || true") == "active", 300)
            yield run

    return until_ready


def controlled(root, controller):
    """Test hosts may lack the kernel's controllers: then systemd knows a limit and nobody enforces it."""
    if controller not in root("cat /sys/fs/cgroup/cgroup.controllers").split():
        pytest.skip(f"this machine's test hosts have no {controller} controller, which enforces it")


# --- processes that end, hang, or take too much ------------------------------------------------------------------------------


def test_1_a_worker_that_is_killed_loses_what_it_had_and_is_replaced(root, slot, load, record_property):
    pid = master(root, f"of-gthread-{slot('of-gthread')}.service")
    with load("of-gthread", long_path="") as clients:
        time.sleep(1)
        workers = root(f"pgrep --parent {pid}").split()
        root(f"kill -9 {workers[0]}")
        took = eventually(lambda: len(root(f"pgrep --parent {pid}").split()) == len(workers))
        report = clients.finish()
    record_property("failed", report["failed"])
    record_property("seconds until replaced", round(took, 1))
    # Each of six clients can have lost one request, and its connection a second one.
    assert report["failed"] <= 12, report["failures"]


def test_2_a_master_that_is_killed_is_started_again_and_nobody_is_refused(root, slot, load, web, record_property):
    unit = f"of-gthread-{slot('of-gthread')}.service"
    before = master(root, unit)
    with load("of-gthread", long_path="") as clients:
        time.sleep(1)
        root(f"kill -9 {before}")
        back = eventually(lambda: master(root, unit) not in (0, before) and answers(web, "of-gthread"))
        report = clients.finish()
    record_property("failed", report["failed"])
    record_property("seconds until back", round(back, 1))
    record_property("longest wait of a request", report["max"])
    assert report["failed"] <= 12, report["failures"]
    assert root(f"systemctl is-active {unit}") == "active"


def test_3_a_worker_that_takes_too_much_memory_ends_and_the_service_does_not(root, slot, web):
    unit = f"of-gthread-{slot('of-gthread')}.service"
    controlled(root, "memory")
    before = master(root, unit)
    assert web("of-gthread").ask("/memory?mib=600").status >= 500
    assert answers(web, "of-gthread")
    assert master(root, unit) == before


def test_4_a_service_of_which_everything_is_killed_comes_back_however_often(root, slot, web):
    unit = f"of-gevent-{slot('of-gevent')}.service"
    for _ in range(6):
        root(f"systemctl kill --kill-whom=all --signal=KILL {unit}")
        eventually(lambda: answers(web, "of-gevent"))
    assert root(f"systemctl is-active {unit}") == "active"


@pytest.mark.usefixtures("once")
def test_5_a_request_that_hangs_ends_with_its_worker_and_others_are_served(web, load, record_property):
    hung = []
    asking = threading.Thread(target=lambda: hung.append(web("of-sync").ask("/slow?seconds=60").status))
    asking.start()
    with load("of-sync", long_path="", clients=2) as clients:
        asking.join()
        report = clients.finish()
    record_property("status", hung[0])
    assert hung[0] >= 500
    assert report["failed"] == 0, report["failures"]


def test_6_an_app_that_starts_processes_without_end_meets_a_limit(root, web):
    controlled(root, "pids")
    assert int(web("of-gthread").ask("/fork?count=2000").body) < 512
    assert answers(web, "of-gthread")


def test_7_an_app_that_runs_out_of_files_answers_again_when_it_has_closed_them(web):
    assert web("of-gthread").ask("/files?count=300").status == 500
    assert web("of-gthread").ask("/files?count=20").status == 200


@pytest.mark.usefixtures("once")
def test_49_a_service_that_accepts_nothing_is_answered_for_within_a_limit(root, slot, web):
    unit = f"of-sync-{slot('of-sync')}.service"
    root(f"systemctl kill --kill-whom=all --signal=STOP {unit}")
    try:
        assert web("of-sync").ask("/").status in (502, 504)
    finally:
        root(f"systemctl kill --kill-whom=all --signal=CONT {unit}")
    eventually(lambda: answers(web, "of-sync"))


CROWD = """
import pathlib, socket, sys, time
kept, refused = [], 0
while refused < 40:
    one = socket.socket(socket.AF_UNIX)
    one.setblocking(False)
    try:
        one.connect(sys.argv[1])
    except BlockingIOError:
        refused += 1
        time.sleep(0.05)
    else:
        kept.append(one)
        refused = 0
pathlib.Path("/run/crowd").write_text(str(len(kept)))
time.sleep(60)
"""
"""Connects until nobody is let in for two seconds, writes how many were, and stays."""


@pytest.mark.usefixtures("once")
def test_49_when_as_many_wait_as_may_the_next_one_is_refused_at_once(root, slot, web, put):
    name = "of-gthread"
    settings = root(f"cat /etc/flask-ops/{name}/{slot(name)}/gunicorn.conf.py")
    workers, each = (
        int(number) for number in re.findall(r"^(?:workers|worker_connections) = (\d+)", settings, re.MULTILINE)
    )
    start = "systemd-run --quiet --collect --unit=crowd --property=LimitNOFILE=4096 python3 /run/crowd.py"
    put("/run/crowd.py", CROWD)
    root(f"rm --force /run/crowd; {start} /run/flask-ops/{name}/current/1.sock")
    try:
        eventually(lambda: root("cat /run/crowd || true"), 60)
        began = time.monotonic()
        answer = web(name).ask("/")
        took = time.monotonic() - began
    finally:
        root("systemctl stop crowd.service")
    assert answer.status == 502
    assert "nginx" not in answer.body
    assert took < 2
    # The kernel lets one more wait than it is told, and nginx may have a connection or two.
    assert abs(int(root("cat /run/crowd")) - (workers * each + 1024)) < 8
    eventually(lambda: answers(web, name))


# --- switches that go wrong ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("once")
@pytest.mark.parametrize(
    ("release", "reason"),
    [
        ("broken", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("sick", "gave 500 instead of 200 for 5 s"),
    ],
)
def test_12_13_a_bad_release_does_not_go_live(root, slot, switch, load, release, reason):
    before = slot("of-gthread")
    process = master(root, f"of-gthread-{before}.service")
    with load("of-gthread", long_path="") as clients:
        refused = switch("of-gthread", release, health={"path": "/healthz", "deadline": 5})
        report = clients.finish()
    assert refused.status != 0
    assert reason in refused.output
    assert f"{before} still serves" in refused.output
    assert report["failed"] == 0, report["failures"]
    assert (slot("of-gthread"), master(root, f"of-gthread-{before}.service")) == (before, process)
    last = json.loads(root("tail -n 1 /var/log/flask-ops/deploys.jsonl"))
    assert (last["app"], last["to"], last["result"]) == ("of-gthread", release, "failed")
    assert last["reason"].startswith("of-gthread: ")


@pytest.mark.usefixtures("once")
def test_a_release_that_falls_ill_is_left_and_one_that_fails_behind_nginx_is_refused_under_load(
    root, slot, switch, load, web
):
    """nginx keeps connections to the old slot, which must not answer for the new one."""
    root("touch /srv/web/go")
    with load("of-gthread", long_path="", clients=7) as clients:
        assert switch("of-gthread", "sickens").status == 0
        root("rm /srv/web/go")
        back = switch("of-gthread", "r1")
        before = slot("of-gthread")
        refused = switch("of-gthread", "fails-behind-nginx")
        report = clients.finish()
    assert back.status == 0, back.output
    assert "GET /healthz gave 500 through nginx, 200 is expected" in refused.output
    assert f"{before} still serves" in refused.output
    assert refused.status != 0
    assert report["failed"] == 0, report["failures"]
    assert (slot("of-gthread"), web("of-gthread").ask("/").json["release"]) == (before, "r1")


@pytest.mark.usefixtures("once")
def test_14_19_a_slow_start_is_waited_for_a_second_run_waits_and_what_takes_too_long_is_cut_and_counted(
    starting, switch, slot, root, web
):
    def ask_for_long():
        connection = http.client.HTTPConnection(web("of-gthread").name)
        connection.sock = web("of-gthread").connect()
        connection.sock.settimeout(300)
        connection.request("GET", "/slow?seconds=120")
        return connection.getresponse().status

    before = slot("of-gthread")
    with starting() as run, concurrent.futures.ThreadPoolExecutor() as pool:
        second = pool.submit(switch, "of-gthread", "r2")
        assert answers(web, "of-gthread")
        asked = [pool.submit(ask_for_long) for _ in range(2)]
        socket = f"/run/flask-ops/of-gthread/{before}/1.sock"
        eventually(lambda: len(root(f"ss --no-header --unix | grep {socket} || true").splitlines()) >= 2)
        root("touch /srv/web/go")
        done, then = run.result(), second.result()
    assert done.status == 0, done.output
    assert f"traffic went from {before} to " in done.output
    assert ", which serves slow" in done.output
    # Whatever the second saw before it waited is not what it acted on.
    assert then.status == 0, then.output
    assert f" to {before}, which serves r2" in then.output
    assert (slot("of-gthread"), web("of-gthread").ask("/").json["release"]) == (before, "r2")
    assert f"; 2 requests of {before} did not end within 10 s and had to be aborted" in done.output
    # 504 where all this took so long that nginx gave up before they were cut.
    assert {future.result() for future in asked} <= {502, 504}


@pytest.mark.usefixtures("once")
def test_15_a_release_that_ends_after_the_switch_is_started_again(switch, web, root, slot):
    root("touch /srv/web/go")
    assert switch("of-gthread", "dies").status == 0
    unit = f"of-gthread-{slot('of-gthread')}.service"
    eventually(lambda: int(root(f"systemctl show --value --property NRestarts {unit}")) >= 1)
    root("rm /srv/web/go")
    eventually(lambda: answers(web, "of-gthread"))


@pytest.mark.usefixtures("once")
def test_18_a_run_that_is_killed_keeps_the_old_slot_live_and_the_next_one_completes(
    starting, root, switch, slot, load, web
):
    before = slot("of-gthread")
    with load("of-gthread", long_path="") as clients:
        with starting():
            root(
                "sh -c 'for process in /proc/[0-9]*; do "
                "if ls -l $process/fd 2>/dev/null | grep -q of-gthread.lock; then kill -9 ${process#/proc/} && killed=1; fi; done; "
                "test $killed'"
            )
        assert slot("of-gthread") == before
        assert switch("of-gthread", "r2").status == 0
        report = clients.finish()
    assert report["failed"] == 0, report["failures"]
    assert web("of-gthread").ask("/").json["release"] == "r2"
    assert root("systemctl list-units --plain --no-legend 'of-gthread-*.service'").count("\n") == 0


# --- reboots ---------------------------------------------------------------------------------------------------------------------


def test_32_33_after_a_reboot_in_the_middle_of_a_switch_the_old_slot_serves(
    starting, root, switch, slot, web, reboot, record_property
):
    before, serving = slot("of-gthread"), web("of-gthread").ask("/").json["release"]
    with starting():
        reboot()
    root("systemctl is-system-running --wait || true")
    took = eventually(lambda: all(answers(web, name) for name in ("of-gthread", "of-sync", "of-gevent")))
    record_property("seconds until all answer", round(took, 1))
    assert (slot("of-gthread"), web("of-gthread").ask("/").json["release"]) == (before, serving)
    assert switch("of-gthread", "r2", "r1").status == 0
    assert web("of-gthread").ask("/").json["release"] == "r1"


@pytest.mark.usefixtures("once")
def test_the_last_switches_are_in_a_log_and_in_the_status(play, root):
    modes = root("stat --format '%U %G %a' /var/log/flask-ops /var/log/flask-ops/deploys.jsonl").splitlines()
    # The directories of apps are in it.
    assert modes == ["root root 755", "root adm 640"]
    last = json.loads(root("tail -n 1 /var/log/flask-ops/deploys.jsonl"))
    assert (last["app"], last["from"], last["to"], last["result"]) == ("of-gthread", "r2", "r1", "ok")
    assert re.fullmatch(r"\S+@\S+ as \S+", last["by"])
    report = play(str(Path(__file__).parents[1] / "status.yml"))
    assert report.status == 0, report.output
    time = f"{last['time'][:10]} {last['time'][11:16]} UTC"
    assert f"{time} ok: r2 to r1 in {last['seconds']:g} s, by {last['by']}" in report.output
