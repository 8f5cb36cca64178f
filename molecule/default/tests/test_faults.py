"""A deploy that goes wrong on its way: the release of before serves on, and the next run is fine. See docs/faults.md."""

import concurrent.futures
import os
import re
import shutil

import pytest

from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("once")

DEPLOY = "flask_ops.production.deploy"
ROLLBACK = "flask_ops.production.rollback"
RELEASES = "/srv/demo/releases"
SMALL = "/run/flask-ops-small"


@pytest.fixture
def deploy(play, apps, source):
    """`deploy(migrate="...")`: ship the changed source of the demo app, with other options of it."""

    def run(*, lock_timeout=300, **options):
        wanted = apps(demo={"source": {"path": str(source)}, "env": {"DEMO_MOTTO": "another"}, **options})
        return play(DEPLOY, app="demo", flask_apps=wanted, python_app_lock_timeout=lock_timeout)

    return run


def change(source, text):
    (source / "demo_app" / "changed.txt").write_text(text)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"migrate": "flask --app demo_app no-such-command"}, "No such command 'no-such-command'"),
        ({"migrate": "sleep 60", "migrate_timeout": 2}, "It was stopped after 2 seconds (migrate_timeout)"),
    ],
    ids=["fails", "hangs"],
)
def test_a_failed_migration_keeps_the_old_release_live(deploy, source, load, demo, options, said):
    before = demo.ask("/").json
    change(source, said)
    with load(1_000) as clients:
        failed = deploy(**options)
        report = clients.finish()
    assert failed.status != 0
    assert said in failed.output
    assert report["failed"] == 0, report["failures"]
    assert demo.ask("/").json["release"] == before["release"]
    assert deploy().status == 0
    assert demo.ask("/").json["release"] != before["release"]


def test_a_full_disk_is_reported_and_leaves_nothing_half_switched(host, deploy, source, load, demo):
    before = demo.ask("/").json
    (source / "demo_app" / "big.bin").write_bytes(os.urandom(4_000_000))
    with host.sudo():
        room = int(host.check_output(f"du --summarize --block-size=1K {RELEASES}").split()[0]) + 1500
        host.check_output(f"mkdir {SMALL} && mount -t tmpfs -o size={room}k,mode=755 tmpfs {SMALL}")
        host.check_output(f"cp --archive {RELEASES}/. {SMALL}/ && mount --bind {SMALL} {RELEASES}")
        try:
            with load(1_000) as clients:
                failed = deploy()
                report = clients.finish()
        finally:
            host.check_output(f"umount --lazy {RELEASES} && umount --lazy {SMALL} && rmdir {SMALL}")
    assert failed.status != 0
    assert "half of the free disk space" in failed.output
    assert report["failed"] == 0, report["failures"]
    assert demo.ask("/").json["release"] == before["release"]
    assert deploy().status == 0
    assert demo.ask("/").json["release"] != before["release"]


def test_of_two_deploys_at_once_the_second_is_refused_by_name(host, deploy, source, load, demo):
    change(source, "two at once")

    def held():
        with host.sudo():
            return (
                "process" in host.run("cat /run/flask-ops/demo.lock").stdout
                and host.run("flock --nonblock /run/flask-ops/demo.lock true").rc
            )

    with concurrent.futures.ThreadPoolExecutor() as pool, load(1_000) as clients:
        first = pool.submit(deploy, migrate="sleep 20")
        eventually(held)
        refused = deploy(lock_timeout=1)
        assert first.result().status == 0, first.result().output
        report = clients.finish()
    assert refused.status != 0
    assert re.search(r"demo: \S+@\S+ \(ansible-playbook, process \d+, since \S+\) works on this app", refused.output)
    with host.sudo("httpbin"):
        assert host.run("flock --nonblock /run/flask-ops/demo.lock true").rc != 0
        assert "Permission denied" in host.run("cat /run/flask-ops/demo.lock").stderr
    assert not refused.changed
    assert report["failed"] == 0, report["failures"]


def test_a_rollback_behind_a_migration_is_reported(host, play, deploy, source, demo):
    before = demo.ask("/").json["release"]
    (source / "migrations" / "versions" / "0002_nothing.py").write_text(
        '"""Nothing."""\n\nrevision = "0002"\ndown_revision = "0001"\n\n\ndef upgrade():\n    pass\n'
    )
    assert deploy().status == 0
    now = demo.ask("/").json["release"]
    went_back = play(ROLLBACK, app="demo")
    assert went_back.status == 0, went_back.output
    assert f"goes back behind the migration of release {now}" in went_back.output
    assert demo.ask("/").json["release"] == before
    # As the app's own downgrade would; the tests after this one have the first release's database again.
    back = "import sqlite3; sqlite3.connect('/srv/demo/shared/data/demo.sqlite3', isolation_level=None).execute(sys.argv[1])"
    with host.sudo():
        host.check_output("python3 -c %s %s", f"import sys; {back}", "UPDATE alembic_version SET version_num = '0001'")


def test_two_deploys_at_once_leave_web_and_processes_on_one_release(host, play, apps, source, tmp_path):
    processes = [{"name": "idle", "command": "sleep 1000000", "start_seconds": 4}]
    other = tmp_path / "other"
    shutil.copytree(source, other)
    change(source, "one of two")
    change(other, "the other one of two")

    def ship(path):
        return play(DEPLOY, app="demo", flask_apps=apps(demo={"source": {"path": str(path)}, "processes": processes}))

    with concurrent.futures.ThreadPoolExecutor() as pool:
        for run in pool.map(ship, (source, other)):
            assert run.status == 0, run.output
    release = host.check_output("readlink /srv/demo/current").rpartition("/")[2]
    shown = host.check_output("systemctl show --property Description --property ActiveState demo-idle@1.service")
    assert release in shown
    assert "ActiveState=active" in shown
    assert play(DEPLOY, app="demo").status == 0
