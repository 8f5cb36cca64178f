"""Log files are rotated by logrotate's own service; no line is lost, and nothing is rotated by two. Order matters little."""

from __future__ import annotations

import base64
import contextlib
import itertools
import time
import zlib
from collections import Counter
from pathlib import Path

import pytest
from tests.load import Plan, background_load, run_load
from tests.unit.templates.rendering import render

CONVERGE = Path(__file__).parents[2] / "shared" / "converge.yml"
NGINX, GUNICORN = "/var/log/nginx/shop.access.log", "/var/log/shop/access.log"
ROTATIONS = 20


def rotate(host):
    """One run of logrotate as the timer starts it."""
    host.run("systemctl reset-failed logrotate.service")  # else the sixth start within ten seconds is refused
    host.check_output("systemctl start logrotate.service")


def ids(host, log):
    """The ids of all requests in a log and its rotated files, in no order."""
    return Counter(host.check_output(f"zcat --force {log} {log}.*").split())


def plan(address, **values):
    values = {"clients": 8, "requests": 4000, "pause": 0.02, "max_seconds": 240} | values
    return Plan(url="http://shop.test", connect=f"{address}:80", post_path="/", long_path="", **values)


def rotated(host, log):
    return host.run(f"find {log}.*").stdout.split()


def test_no_line_is_lost_or_doubled_in_20_rotations_under_load(host, address, unit):
    unit("shop.service")
    with background_load(plan(address)) as load:
        for _ in range(3 * ROTATIONS):
            rotate(host)
            if min(len(rotated(host, log)) for log in (NGINX, GUNICORN)) >= ROTATIONS:
                break
            time.sleep(0.3)
        report = load.finish()
    assert report["ok"], report["failures"]
    assert len(rotated(host, NGINX)) >= ROTATIONS
    assert len(rotated(host, GUNICORN)) >= ROTATIONS
    deadline = time.monotonic() + 10
    while len(ids(host, GUNICORN)) < report["total"] and time.monotonic() < deadline:
        time.sleep(0.5)  # gunicorn writes the line after the answer
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
    for round in range(4):
        host.check_output(f"runuser -u shop -- sh -c 'echo {round} >> {file}'")
        rotate(host)
        assert len(host.file(jobs).listdir()) == min(round, 2) + 1  # a few bytes are not enough
        host.check_output(f"runuser -u shop -- sh -c 'head -c 2k /dev/zero >> {file}'")
        rotate(host)
        time.sleep(1.1)
    old = [name for name in host.file(jobs).listdir() if name != "nightly.log"]
    assert len(old) == 2
    assert all(name.startswith("nightly.log-20") and not name.endswith(".gz") for name in old)
    found = host.file(file)
    assert (found.user, found.group, found.mode) == ("shop", "shop", 0o600)


def test_a_log_that_nobody_has_to_be_told_of_is_rotated(host):
    log = "/var/log/flask-ops/deploys.jsonl"
    host.check_output(f"sh -c 'head -c 2k /dev/zero > {log}'")
    rotate(host)
    assert host.file(f"{log}.1").size == 2048
    assert (host.file(log).size, host.file(log).user, host.file(log).mode) == (0, "root", 0o640)


# --- full disk ------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_disks(host):
    """Both logs on file systems of 256 kB, for as long as the test runs."""
    places = {"/var/log/shop": ("shop", "0750"), "/var/log/nginx": ("root", "0755")}
    with contextlib.ExitStack() as back:
        for place, (owner, mode) in places.items():
            host.check_output(f"mount -t tmpfs -o size=256k,mode={mode} tmpfs {place}")
            back.callback(host.check_output, "systemctl restart nginx.service")
            back.callback(host.check_output, "systemctl start shop.service")
            back.callback(host.check_output, f"umount {place}")
            back.callback(host.check_output, "systemctl stop shop.service nginx.service")
            host.check_output(f"chown {owner}:adm {place}")
        host.check_output("systemctl restart shop.service nginx.service")
        yield list(places)


def test_a_full_log_disk_does_not_take_the_app_down(host, address, tiny_disks):
    for place in tiny_disks:
        host.run(f"dd if=/dev/zero of={place}/filler bs=512")
        assert host.check_output(f"df --output=avail {place}").split()[-1] == "0"
    report = run_load(plan(address, requests=1000))
    assert report["ok"], report["failures"]
    rotate(host)  # nor does rotation fail
    # As soon as there is space again, all is written again, with nothing restarted.
    for place in tiny_disks:
        host.check_output(f"rm {place}/filler")
    rotate(host)
    before = {log: ids(host, log).total() for log in (NGINX, GUNICORN)}
    assert run_load(plan(address, requests=200))["ok"]
    time.sleep(1)
    assert {log: ids(host, log).total() - before[log] for log in before} == {NGINX: 200, GUNICORN: 200}


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


def test_the_last_run_and_its_result_can_be_asked_for(host, play, tmp_path):
    playbook = tmp_path / "status.yml"
    role = "{name: flask_ops.production.logrotate, tasks_from: status.yml}"
    playbook.write_text(f"- {{hosts: all, become: true, gather_facts: false, tasks: [include_role: {role}]}}\n")
    rotate(host)
    said = play(str(playbook))
    ended = host.check_output("systemctl show --value --property=ExecMainExitTimestamp logrotate.service")
    assert f"logs: rotation ran {ended}, result success; next " in said.output
    host.check_output("sh -c 'echo \"/var/log/shop/x.log { rotate x }\" > /etc/logrotate.d/broken'")
    assert host.run("systemctl start logrotate.service").rc != 0
    said = play(str(playbook))
    host.check_output("rm /etc/logrotate.d/broken")
    rotate(host)
    assert "result exit-code (see: journalctl -u logrotate); next " in said.output
    assert not said.changed


# --- beside other people's files ------------------------------------------------------------------------------------


@pytest.fixture
def foreign(host):
    """`foreign(text)`: a file of somebody else in /etc/logrotate.d, for as long as the test runs."""
    path = "/etc/logrotate.d/foreign"
    yield lambda text: host.check_output(f"sh -c 'echo \"{text}\" > {path}'")
    host.check_output(f"rm --force {path}")


@pytest.fixture
def apply(host, play):
    """Apply the role with more logs than the scenario has."""

    def run(*logs, **variables):
        own = host.ansible.get_variables()["logrotate_extra_files"]
        return play(str(CONVERGE), logrotate_extra_files=[*own, *logs], **variables)

    return run


def refused(host, run, *parts):
    assert run.status != 0
    assert "Nothing was changed." in run.output
    for part in parts:
        assert part in run.output
    assert not host.file("/etc/logrotate.d/more").exists


@pytest.mark.parametrize("pattern", ["/var/log/more.log", "/var/log/mo*.log", "/var/log/m[n-p]re.log"])
def test_a_path_that_somebody_else_covers_is_refused(host, apply, foreign, pattern):
    foreign(pattern + " { weekly }")
    run = apply({"name": "more", "paths": ["/var/log/a/more.log", "/var/log/more.log"]})
    refused(
        host,
        run,
        f"/var/log/more.log in /etc/logrotate.d/more is also covered by {pattern} in /etc/logrotate.d/foreign",
    )


def test_a_path_that_logrotates_main_file_covers_is_refused(host, apply):
    host.check_output(
        "sh -c 'cp /etc/logrotate.conf /root/logrotate.conf; echo \"/var/log/more.log { weekly }\" >> /etc/logrotate.conf'"
    )
    run = apply({"name": "more", "paths": ["/var/log/*.log"]})
    host.check_output("mv /root/logrotate.conf /etc/logrotate.conf")
    refused(
        host, run, "/var/log/*.log in /etc/logrotate.d/more is also covered by /var/log/more.log in /etc/logrotate.conf"
    )


def test_a_directory_where_logrotate_would_not_work_is_refused_in_its_words(host, apply):
    host.check_output("install -d -m 0777 /var/log/more")
    host.check_output("touch /var/log/more/a.log")
    run = apply({"name": "more", "paths": ["/var/log/more/*.log"]})
    host.check_output("rm -r /var/log/more")
    refused(host, run, "parent directory has insecure permissions")


def test_a_user_who_is_not_there_is_refused(host, apply):
    run = apply({"name": "more", "paths": ["/var/log/more.log"], "owner": "nobody-of-this-name"})
    refused(host, run, "logrotate says: error: more:", "unknown user 'nobody-of-this-name'")


def test_a_mistake_of_somebody_else_stops_nothing(host, apply, foreign):
    foreign("/var/log/foreign.log { rotate x }")
    assert apply({"name": "more", "paths": ["/var/log/more.log"]}).status == 0
    assert host.file("/etc/logrotate.d/more").exists
    assert apply({"name": "more", "state": "absent"}).status == 0
    assert not host.file("/etc/logrotate.d/more").exists


def test_a_file_of_a_package_is_not_replaced_by_one_that_covers_less(host, apply):
    run = apply({"name": "dpkg", "paths": ["/var/log/other.log"]})
    refused(host, run, "/etc/logrotate.d/dpkg belongs to somebody else and covers /var/log/dpkg.log")
    assert "Managed by Ansible" not in host.file("/etc/logrotate.d/dpkg").content_string


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


def test_logrotate_takes_every_combination_of_options(host):
    sizes = [{}, {"size": "10k"}, {"minsize": "1", "maxsize": "2G"}]
    choices = {
        "frequency": ["hourly", "daily", "weekly", "monthly"], "compress": [True, False], "dateext": [True, False],
        "su": [True, False], "maxage": [0, 30], "signal": [None, "USR1", "HUP"],
    }  # fmt: skip
    logs = [
        {**dict(zip(choices, values, strict=True)), **size, "owner": "shop", "paths": [f"/none/{number}/*.log"]}
        for number, (size, *values) in enumerate(itertools.product(sizes, *choices.values()))
    ]
    text = "".join(render("rotation.j2", log=log) for log in logs)
    packed = base64.b64encode(zlib.compress(text.encode(), wbits=31)).decode()
    host.check_output(f"sh -c 'echo {packed} | base64 -d | gunzip > /root/all'")
    said = host.run("logrotate -d /root/all").stderr.splitlines()
    host.check_output("rm /root/all")
    assert len([line for line in said if line.startswith("rotating pattern: ")]) == len(logs)
    assert not [line for line in said[1:] if line.startswith(("error", "warning"))]
