"""One slot serves, the other is ready to take over. Later tests build on earlier ones."""

import json
import time
from pathlib import Path

import pytest

CONVERGE = Path(__file__).parents[2] / "shared" / "converge.yml"
CURL = "curl --silent --unix-socket /run/flask-ops/hello/{} http://hello.test.example{}"


def told(host, socket="current/1.sock"):
    with host.sudo("www-data"):
        return json.loads(host.check_output(CURL.format(socket, "/healthz")))


@pytest.fixture
def switch(host, play):
    """Apply the role with another release, and with other options of the app."""

    def run(release, *arguments, **options):
        variables = host.ansible.get_variables()
        r1 = variables["gunicorn_systemd_releases"]["hello"]
        changed = {
            key: value.replace("/r1", f"/{release}") for key, value in {**r1, "id": release}.items() if key != "venv"
        }
        app = {**variables["gunicorn_systemd_apps"][0], **options}
        return play(
            str(CONVERGE),
            *arguments,
            gunicorn_systemd_releases={"hello": {**r1, **changed}},
            gunicorn_systemd_apps=[app],
        )

    return run


def test_the_first_release_is_served_from_the_blue_slot(host, unit):
    assert told(host) == {"release": "r1", "slot": "blue"}
    assert unit("hello-blue.service").is_running
    assert unit("hello-blue.service").is_enabled
    assert unit("hello-blue.socket").is_enabled
    assert not host.file("/etc/systemd/system/hello-green.service").exists
    assert host.file("/srv/hello/current").linked_to == "/srv/hello/releases/r1"


def test_a_template_of_the_user_extends_the_service(host):
    assert host.check_output("systemctl show --property=Nice --value hello-blue.service") == "5"


def test_only_nginx_may_reach_the_socket(host):
    socket = host.file("/run/flask-ops/hello/blue/1.sock")
    assert (socket.user, socket.group, socket.mode) == ("root", "www-data", 0o660)
    directory = host.file("/run/flask-ops/hello")
    assert (directory.user, directory.group, directory.mode) == ("root", "www-data", 0o750)
    for user in ("hello", "nobody"):
        with host.sudo(user):
            assert host.run(CURL.format("current/1.sock", "/healthz")).rc != 0


def test_the_app_writes_where_it_may_and_nowhere_else(host):
    def write(path):
        with host.sudo("www-data"):
            return host.check_output(CURL.format("current/1.sock", f"/write?path={path}"))

    assert write("/srv/hello/shared/file") == "written"
    for path in (
        "/srv/hello/releases/r1/app/hello.py",
        "/etc/flask-ops/hello/x",
        "/run/flask-ops/hello/x",
        "/var/tmp/../lib/x",
    ):
        assert "Internal Server Error" in write(path)


def test_gunicorn_has_the_workers_that_were_asked_for(host):
    master = host.check_output("systemctl show --value --property MainPID hello-blue.service")
    assert len(host.check_output(f"pgrep --parent {master}").split()) == 2


def test_check_mode_announces_the_switch_and_does_not_do_it(host, switch):
    checked = switch("r2", "--check", "--diff")
    assert checked.status == 0, checked.output
    assert checked.changed
    assert "releases/r2" in checked.output
    assert told(host)["release"] == "r1"
    assert not host.file("/etc/systemd/system/hello-green.service").exists


def test_another_release_goes_to_the_other_slot_and_slow_requests_end(host, switch):
    with host.sudo():
        host.check_output(f"sh -c '({CURL.format('current/1.sock', '/slow')} > /root/slow; echo $? >> /root/slow) &'")
    time.sleep(0.5)
    switched = switch("r2")
    assert switched.status == 0, switched.output
    assert told(host) == {"release": "r2", "slot": "green"}
    assert host.check_output("systemctl is-active hello-blue.service || true") == "inactive"
    assert host.check_output("systemctl is-enabled hello-blue.service || true") == "disabled"
    assert host.file("/srv/hello/previous").linked_to == "/srv/hello/releases/r1"
    with host.sudo():
        assert host.check_output("cat /root/slow").split() == ["slow", "r10"]


def test_applied_again_nothing_changes(switch):
    again = switch("r2")
    assert (again.status, again.changed) == (0, False), again.output


def test_a_release_that_exits_does_not_go_live_and_the_reason_is_reported(host, switch):
    refused = switch("broken")
    assert refused.status != 0
    assert "RuntimeError: this release is broken" in refused.output
    assert "green still serves" in refused.output
    assert told(host) == {"release": "r2", "slot": "green"}
    assert host.check_output("systemctl is-active hello-blue.service || true") == "inactive"
    assert host.check_output("systemctl is-enabled hello-blue.socket || true") == "disabled"


def test_a_slot_that_somebody_stopped_is_started_again_and_a_stray_one_is_stopped(host, switch):
    with host.sudo():
        host.check_output("systemctl stop hello-green.service hello-green.socket")
        host.check_output("systemctl start hello-blue.socket")
    repaired = switch("r2")
    assert (repaired.status, repaired.changed) == (0, True), repaired.output
    assert told(host)["slot"] == "green"
    assert host.check_output("systemctl is-active hello-blue.socket || true") == "inactive"


def test_the_boot_file_restores_the_link_after_a_reboot(host):
    with host.sudo():
        host.check_output("rm /run/flask-ops/hello/current")
        host.check_output("systemd-tmpfiles --create /etc/tmpfiles.d/flask-ops-hello.conf")
    assert told(host) == {"release": "r2", "slot": "green"}


def test_an_absent_app_leaves_nothing(host, switch):
    removed = switch("r2", state="absent")
    assert removed.status == 0, removed.output
    for path in (
        "/run/flask-ops/hello",
        "/etc/flask-ops/hello/green",
        "/etc/tmpfiles.d/flask-ops-hello.conf",
        "/srv/hello/current",
    ):
        assert not host.file(path).exists
    assert host.check_output("systemctl list-units --all --plain --no-legend 'hello*'") == ""
    again = switch("r2", state="absent")
    assert (again.status, again.changed) == (0, False), again.output
