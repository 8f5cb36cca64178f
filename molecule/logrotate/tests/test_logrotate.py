"""Log files are rotated by logrotate's own service; no line is lost, and nothing is rotated by two. Order matters little."""

from __future__ import annotations

import base64
import itertools
import random
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.load import Plan, background_load, run_load
from tests.unit.templates.rendering import render
from tests.waiting import eventually

CONVERGE = Path(__file__).parents[2] / "shared" / "converge.yml"
NGINX, GUNICORN = "/var/log/nginx/shop.access.log", "/var/log/shop/access.log"
ROTATIONS = 20


def rotate(host, times=1):
    """Runs of logrotate as the timer starts them, in one command: each connection to the host takes its time."""
    # nginx writes once a second, and an empty log is not rotated.
    # Without reset-failed, the sixth start within ten seconds is refused.
    run = "systemctl reset-failed logrotate.service; systemctl start logrotate.service || exit 1"
    host.check_output(f"sh -c '{run}'" if times == 1 else f"sh -c 'for i in $(seq {times}); do {run}; sleep 1.2; done'")


def ids(host, log):
    """The ids of all requests in a log and its rotated files, in no order."""
    directory, _, name = log.rpartition("/")
    return Counter(host.check_output(f"find {directory} -name '{name}*' -exec zcat --force {{}} +").split())


def plan(address, **values):
    values = {"clients": 8, "requests": 4000, "pause": 0.02, "max_seconds": 300} | values
    return Plan(url="http://shop.test", connect=f"{address}:80", post_path="/", long_path="", **values)


def rotated(host, log):
    return host.run(f"find {log}.*").stdout.split()


def test_no_line_is_lost_or_doubled_in_20_rotations_under_load(host, address, unit):
    unit("shop.service")
    with background_load(plan(address, requests=10_000)) as load:
        eventually(lambda: ids(host, NGINX) and ids(host, GUNICORN))  # an empty log is not rotated
        rotate(host, ROTATIONS)
        report = load.finish()
    assert report["failed"] == 0, report["failures"]
    assert [len(rotated(host, log)) for log in (NGINX, GUNICORN)] == [ROTATIONS, ROTATIONS]
    # They write the line after the answer, nginx within a second.
    eventually(lambda: min(len(ids(host, log)) for log in (NGINX, GUNICORN)) >= report["total"])
    for log in (NGINX, GUNICORN):
        found = ids(host, log)
        assert found.total() == len(found) == report["total"], log
    assert ids(host, NGINX) == ids(host, GUNICORN)
    print(f"{report['total']} requests, {len(rotated(host, GUNICORN))} rotations")


def test_a_unit_that_does_not_run_is_no_error_and_all_but_the_last_file_are_compressed(host):
    assert not host.service("stopped.service").is_running
    rotate(host)
    for log in (NGINX, GUNICORN):
        assert not [file for file in rotated(host, log) if not file.endswith((".gz", ".1"))]
        assert host.file(f"{log}.2.gz").exists


@pytest.mark.parametrize(("log", "owner"), [(NGINX, "www-data"), (GUNICORN, "shop")])
def test_a_new_file_has_its_owner_and_mode(host, log, owner):
    for file in (log, f"{log}.1"):
        found = host.file(file)
        assert (found.user, found.group, found.mode) == (owner, "adm", 0o640)


def test_size_alone_and_names_with_a_time_and_a_limit_of_files(host):
    file, jobs = "/srv/shop/jobs/nightly.log", "/srv/shop/jobs"
    host.check_output(f"sh -c 'echo one line >> {file}'")
    rotate(host)
    assert host.file(jobs).listdir() == ["nightly.log"]  # a few bytes are not enough
    for _ in range(3):
        host.check_output(f"sh -c 'head -c 2k /dev/zero >> {file}'")
        rotate(host)
        time.sleep(1.1)
    old = [name for name in host.file(jobs).listdir() if name != "nightly.log"]
    assert len(old) == 2
    assert all(name.startswith("nightly.log-20") and not name.endswith(".gz") for name in old)
    found = host.file(file)
    assert (found.user, found.group, found.mode) == ("shop", "shop", 0o600)


def test_a_log_without_a_signal_is_rotated(host):
    log = "/var/log/flask-ops/deploys.jsonl"
    host.check_output(f"sh -c 'head -c 2k /dev/zero > {log}'")
    rotate(host)
    assert host.file(f"{log}.1").size == 2048
    assert (host.file(log).size, host.file(log).user, host.file(log).mode) == (0, "root", 0o640)


# --- full disk ------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_disks(host):
    """Both logs on file systems of 256 kB, for as long as the test runs."""

    def stopped(command):
        units = "shop.service nginx.service"
        host.check_output(f"sh -ec 'systemctl stop {units}; {command}; systemctl start {units}'")

    places = ["/var/log/shop", "/var/log/nginx"]
    mount = "mount -t tmpfs -o size=256k,mode=0755 tmpfs"
    stopped(f"{mount} {places[0]}; {mount} {places[1]}; chown shop {places[0]}")
    yield places
    stopped(f"umount {' '.join(places)}")


def test_a_full_log_disk_does_not_take_the_app_down(host, address, tiny_disks):
    for place in tiny_disks:
        assert "No space left on device" in host.run(f"dd if=/dev/zero of={place}/filler bs=512").stderr
    report = run_load(plan(address, requests=1000))
    assert report["failed"] == 0, report["failures"]
    rotate(host)  # nor does rotation fail
    # As soon as there is space again, all is written again, with nothing restarted; by nginx from the next second on.
    for place in tiny_disks:
        host.check_output(f"rm {place}/filler")
    rotate(host)
    time.sleep(1)
    before = ids(host, NGINX)
    assert run_load(plan(address, requests=200))["failed"] == 0
    time.sleep(2)
    new = ids(host, NGINX) - before
    assert new.total() == len(new) == 200
    assert new <= ids(host, GUNICORN)  # which also writes, late, some of what it could not write before


def test_systemd_bounds_the_journal(host):
    """Which is why the role does not: a tenth of the file system, at most 4 GB, and never the last 15 percent."""
    said = host.check_output("journalctl --unit=systemd-journald.service --grep='System Journal .* max' --output=cat")
    assert ", max " in said.splitlines()[-1]
    assert host.check_output("systemd-analyze cat-config systemd/journald.conf").count("\nSystemMaxUse=") == 0


# --- timer and status -----------------------------------------------------------------------------------------------


def test_the_timer_is_on_and_due_within_the_hour(host):
    assert host.service("logrotate.timer").is_enabled
    assert host.service("logrotate.timer").is_running
    shown = "systemctl show --value --property=NextElapseUSecRealtime logrotate.timer"
    due = host.check_output(f'date +%s --date "$({shown})"')
    assert 0 <= int(due) - int(host.check_output("date +%s")) <= 3600 + 360


def test_the_last_run_and_its_result_can_be_asked_for(host, play, tmp_path, foreign):
    playbook = tmp_path / "status.yml"
    role = "{name: flask_ops.production.logrotate, tasks_from: status.yml}"
    playbook.write_text(f"- {{hosts: all, become: true, gather_facts: false, tasks: [include_role: {role}]}}\n")
    rotate(host)
    said = play(str(playbook))
    ended = "$(systemctl show --value --property=ExecMainExitTimestamp logrotate.service)"
    ended = host.check_output(f"date --utc '+%F %H:%M UTC' --date \"{ended}\"")
    assert f"logs: last rotated {ended}, result success, next rotation " in said.output
    foreign("/var/log/foreign.log", "rotate x")
    assert host.run("systemctl start logrotate.service").rc != 0
    said = play(str(playbook))
    foreign("/var/log/foreign.log", "missingok")
    rotate(host)
    assert "result exit-code (see: journalctl -u logrotate), next rotation " in said.output
    assert not said.changed


# --- together with other runs of apt -------------------------------------------------------------------------------

# What a new server's timers do: first to the lock of the lists, then to that of dpkg. apt knows no other kind of lock.
HOLD = """
import fcntl, time
lists, dpkg = (open(path, "w") for path in ("/var/lib/apt/lists/lock", "/var/lib/dpkg/lock-frontend"))
fcntl.lockf(lists, fcntl.LOCK_EX)
fcntl.lockf(dpkg, fcntl.LOCK_EX)
time.sleep(8)
lists.close()
time.sleep(4)
"""


@pytest.fixture
def without_logrotate(host):
    host.check_output("apt-get --quiet --quiet remove logrotate")
    assert not host.package("logrotate").is_installed


@pytest.mark.usefixtures("without_logrotate")
def test_locks_that_another_run_of_apt_holds_are_waited_for(host, apply, put):
    put("/run/hold.py", HOLD)
    host.check_output("systemd-run --quiet --collect --unit=hold python3 /run/hold.py")
    eventually(lambda: host.service("hold").is_running)
    said = apply()
    assert (said.status, said.changed) == (0, True), said.output
    assert host.package("logrotate").is_installed
    assert not host.service("hold").is_running, "it waited for the end of the other one"
    assert host.service("logrotate.timer").is_running


@pytest.mark.usefixtures("once", "without_logrotate")
def test_a_dpkg_that_was_interrupted_is_completed(host, apply):
    interrupted = "/var/lib/dpkg/updates/0001"
    host.check_output(f"touch {interrupted}")
    applied = apply()
    assert (applied.status, applied.changed) == (0, True), applied.output
    assert not host.file(interrupted).exists
    assert host.package("logrotate").is_installed


# --- together with other files ---------------------------------------------------------------------------------------


@pytest.fixture
def foreign(host):
    """`foreign("/var/log/x.log", "weekly")`: a file of somebody else in /etc/logrotate.d, for as long as the test runs."""
    path = "/etc/logrotate.d/foreign"
    yield lambda pattern, says: host.check_output(f"sh -c 'printf \"{pattern} {{\\n{says}\\n}}\\n\" > {path}'")
    host.check_output(f"rm --force {path}")


@pytest.fixture
def apply(host, play):
    """Apply the role with more logs than the scenario has."""

    def run(*logs, **variables):
        own = host.ansible.get_variables()["logrotate_extra_files"]
        return play(str(CONVERGE), logrotate_extra_files=[*own, *logs], **variables)

    return run


def test_all_that_logrotate_would_skip_or_refuse_is_told_at_once_and_nothing_is_changed(host, apply, foreign):
    foreign("/var/log/more.log /var/log/m[n-p]re/*.log", "weekly")
    main = "/etc/logrotate.conf"
    host.check_output(f"sh -c 'cp {main} /root/; printf \"/var/log/main.log {{\\nweekly\\n}}\\n\" >> {main}'")
    host.check_output(
        "sh -c 'install -d -m 0777 /var/log/open; mkdir /var/log/more; cd /var/log; touch open/a.log more/a.log'"
    )
    run = apply(
        {"name": "more", "paths": ["/var/log/more.log"]},
        {"name": "another", "paths": ["/var/log/more/a.log"]},
        {"name": "main", "paths": ["/var/log/main.log"]},
        {"name": "open", "paths": ["/var/log/open/*.log"]},
        {"name": "other", "paths": ["/var/log/other.log"], "owner": "nobody-of-this-name"},
    )
    host.check_output(f"sh -c 'mv /root/logrotate.conf {main}; rm -r /var/log/open /var/log/more'")
    assert run.status != 0
    for told in (
        "error: more:2 duplicate log entry for /var/log/more.log",
        "error: foreign:1 duplicate log entry for /var/log/more/a.log",
        "duplicate log entry for /var/log/main.log",
        'error: skipping "/var/log/open/a.log" because parent directory has insecure permissions',
        "unknown user 'nobody-of-this-name'",
    ):
        assert told in run.output
    assert "every file is as it was before" in run.output
    assert not [
        name for name in host.file("/etc/logrotate.d").listdir() if name in ("more", "another", "main", "open", "other")
    ]


def test_a_mistake_of_somebody_else_stops_nothing(host, apply, foreign):
    foreign("/var/log/foreign.log", "rotate x")
    assert apply({"name": "more", "paths": ["/var/log/more.log"]}).status == 0
    assert host.file("/etc/logrotate.d/more").exists
    assert apply({"name": "more", "state": "absent"}).status == 0
    assert not host.file("/etc/logrotate.d/more").exists


def test_debians_file_for_nginx_is_replaced_and_an_upgrade_does_not_bring_it_back(host):
    """A new version of the package, whose file has changed: the hardest case for dpkg."""
    ours = host.file("/etc/logrotate.d/nginx").content_string
    assert "--signal=USR1 nginx.service" in ours
    host.check_output(
        "sh -ec 'mkdir /root/deb; cd /root/deb; apt-get -qq download nginx-common; dpkg-deb -R *.deb new; "
        'echo "# changed" >> new/etc/logrotate.d/nginx; sed -i "s/^Version: .*/&+changed/" new/DEBIAN/control; '
        "rm new/DEBIAN/md5sums; dpkg-deb -b new new.deb; "
        "DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold -i new.deb < /dev/null; rm -r /root/deb'"
    )
    assert host.file("/etc/logrotate.d/nginx").content_string == ours
    assert host.file("/etc/logrotate.d/nginx.dpkg-dist").exists  # which logrotate does not read
    said = host.run("logrotate -d /etc/logrotate.conf").stderr
    assert said.count("rotating pattern: /var/log/nginx/") == 1
    assert "error:" not in said


def test_logrotate_takes_any_combination_of_options(host):
    """logrotate's own parser reads forty of the 576, the same ones each time."""
    sizes = [{}, {"size": "10k"}, {"minsize": "1", "maxsize": "2G"}]
    choices: dict[str, list[Any]] = {
        "frequency": ["hourly", "daily", "weekly", "monthly"], "compress": [True, False], "dateext": [True, False],
        "su": [True, False], "maxage": [0, 30], "signal": [None, "USR1", "HUP"],
    }  # fmt: skip
    combinations = random.Random(1).sample(list(itertools.product(sizes, *choices.values())), 40)
    logs = [
        {**dict(zip(choices, values, strict=True)), **size, "owner": "shop", "paths": [f"/none/{number}/*.log"]}
        for number, (size, *values) in enumerate(combinations)
    ]
    text = "".join(render("rotation.j2", log=log) for log in logs)
    packed = base64.b64encode(zlib.compress(text.encode(), wbits=31)).decode()
    host.check_output(f"sh -c 'echo {packed} | base64 -d | gunzip > /root/all'")
    said = host.run("logrotate -d /root/all").stderr.splitlines()
    host.check_output("rm /root/all")
    assert len([line for line in said if line.startswith("rotating pattern: ")]) == len(logs)
    assert not [line for line in said[1:] if line.startswith(("error", "warning"))]
