"""The status, and the end of a run, when something is wrong that no run changes."""

import contextlib
import time

import pytest

from tests.waiting import eventually

STATUS = "flask_ops.production.status"
DEPLOY = "flask_ops.production.deploy"
BROKEN = "/etc/nginx/conf.d/of-somebody-else.conf"


@pytest.fixture
def status(play):
    """`status()`: its words. It never changes anything, and never fails for what it finds."""

    def ask(**variables):
        told = play(STATUS, **variables)
        assert (told.status, told.changed) == (0, False), told.output
        return told.output

    return ask


@pytest.fixture
def live(demo):
    return f"demo-{demo.ask('/').json['slot']}.service"


@contextlib.contextmanager
def undone(host, wrong, right):
    """Something is wrong on the host for a while."""
    with host.sudo():
        host.check_output("sh -c %s", wrong)
    try:
        yield
    finally:
        with host.sudo():
            host.check_output("sh -c %s", right)


def test_a_sound_host_has_no_problem_and_all_of_it_fits_on_a_screen(status, demo):
    serving = demo.ask("/").json
    words = status()
    assert f"demo: {serving['slot']} serves " in words
    assert f"release {serving['release']}, since 20" in words
    assert "GET /healthz: 200 in " in words
    assert "GET /status/204: 204 in " in words
    assert words.count("through nginx: 20") == 2
    assert "certificate: self-signed, until 20" in words
    assert "logs: " in words
    assert "PROBLEM" not in words
    assert "[]" not in words


def test_one_app_can_be_asked_for(status):
    words = status(app="demo")
    assert "demo: " in words
    assert "httpbin" not in words


def test_an_nginx_that_does_not_run_is_reported_by_status_and_by_a_deploy(host, status, play, demo):
    with undone(host, "systemctl stop nginx", "systemctl start nginx"):
        words = status()
        deployed = play(DEPLOY, app="demo")
    assert "nginx.service is inactive: no app can be reached" in words
    for app in ("demo", "httpbin"):
        assert f"{app}: " in words
    assert words.count("nginx does not answer for it: GET /") == 2
    assert "[WARNING]: demo: nginx does not answer for it: GET /healthz gave nothing listens" in deployed.output
    assert demo.ask("/healthz").status == 200
    assert "PROBLEM" not in status()


def test_a_broken_file_of_somebody_else_is_reported_while_nginx_serves_on(host, status, demo):
    with undone(host, f"echo 'lisen 80;' > {BROKEN}", f"rm {BROKEN}"):
        words = status()
        assert demo.ask("/healthz").status == 200
    assert (
        f'nginx refuses its configuration, so the next restart will fail: unknown directive "lisen" in {BROKEN}:1'
        in words
    )


def test_an_app_that_is_closed_is_reported_with_its_time(status, play):
    closing = {"app": "demo"}
    assert play("flask_ops.production.maintenance", state="on", **closing).status == 0
    words = status()
    assert play("flask_ops.production.maintenance", state="off", **closing).status == 0
    assert "CLOSED for maintenance" in words
    assert f"closed for maintenance since {time.strftime('%Y-%m-%d')}" in words
    assert "maintenance" not in status()


def test_drop_ins_groups_and_edited_files_are_reported(host, status, live):
    folder = f"/etc/systemd/system/{live}.d"
    code = "/srv/demo/current/app/demo_app/__init__.py"
    wrong = (
        f"mkdir {folder} && printf '[Service]\\nProtectSystem=no\\n' > {folder}/mine.conf && systemctl daemon-reload"
        f" && usermod --append --groups games demo && cp --archive {code} /root/kept && echo '# edited' >> {code}"
    )
    right = (
        f"rm -r {folder} && systemctl daemon-reload && gpasswd --delete demo games && cp --archive /root/kept {code}"
    )
    with undone(host, wrong, right):
        words = status()
    assert f"{live} is changed by {folder}/mine.conf (ProtectSystem)" in words
    assert "its user is also in games" in words
    assert "files of the live release were changed by hand: app/demo_app/__init__.py" in words
    assert "PROBLEM" not in status()


def test_a_file_system_that_is_nearly_full_is_reported(host, status):
    mount = "mount -t tmpfs -o size=16m,mode=755 tmpfs /tmp && head -c 15500000 /dev/zero > /tmp/full"
    with undone(host, mount, "umount --lazy /tmp"):
        words = status()
    assert "the file system of /tmp has " in words
    assert "% of its space left" in words


def test_an_app_that_is_in_no_list_is_reported(status, apps):
    words = status(flask_apps=[app for app in apps() if app["name"] == "demo"])
    assert "httpbin is live on this host, but not in flask_apps" in words


def test_workers_and_masters_that_die_are_reported(host, status, demo, live):
    def main():
        return host.check_output(f"systemctl show --value --property=MainPID {live}")

    with host.sudo():
        for _ in range(2):
            host.check_output(f"sh -c 'kill -KILL $(pgrep --parent {main()} --newest)'")
            eventually(lambda: demo.ask("/healthz").status == 200)
        eventually(lambda: host.run(f"sh -c '[ $(pgrep --count --parent {main()}) -gt 1 ]'").rc == 0)
    words = status()
    assert f"{live}: workers died 2 times in the last hour, last: Worker (pid:" in words
    assert "was sent SIGKILL" in words
    for _ in range(2):
        before = main()
        with host.sudo():
            host.check_output(f"systemctl kill --signal=KILL {live}")
        eventually(lambda: main() not in (before, "0"))  # noqa: B023
        eventually(lambda: demo.ask("/healthz").status == 200)
    assert f"{live} was restarted 2 times after it had ended, last at {time.strftime('%Y-%m-%d')}" in status()
