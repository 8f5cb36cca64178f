"""Logs: where the app wants them, with the id that nginx gave the request, and with nothing secret."""

import json

import pytest

SECRET = {
    "Cookie": "session=canary-cookie",
    "Authorization": "Bearer canary-token",
    "Referer": "https://x/?canary-referrer",
}


def ask(web, name, path):
    return web(name).ask(path, headers=SECRET)


def said(host, name, request_id):
    """The lines of the journal, and of the log files, that bear an id."""
    with host.sudo():
        journal = host.check_output(f"journalctl --output=cat --unit={name}-blue --unit={name}-green --since=-5min")
        files = host.run(f"cat /var/log/flask-ops/{name}/access.log /var/log/flask-ops/{name}/error.log").stdout
    return [line for line in (journal + "\n" + files).splitlines() if request_id in line]


@pytest.mark.parametrize("name", ["of-gthread", "of-sync", "of-gevent", "of-asgi"])
def test_the_access_log_bears_the_id_that_nginx_gave_the_request(host, web, name):
    answer = ask(web, name, "/say?token=canary-query")
    assert len(answer.body) == 32
    lines = said(host, name, answer.body)
    assert len([line for line in lines if "/say" in line]) == 1, lines
    assert "canary" not in "".join(lines)


@pytest.mark.parametrize("name", ["of-gthread", "of-gevent", "of-sync", "of-waitress"])
def test_what_the_app_logs_bears_the_id_too(host, web, name):
    answer = ask(web, name, "/say")
    assert [line for line in said(host, name, answer.body) if "said by the app" in line]


def test_json_is_one_object_a_line(host, web):
    answer = ask(web, "of-gthread", "/say")
    lines = [json.loads(line) for line in set(said(host, "of-gthread", answer.body))]
    access = next(line for line in lines if line["logger"] == "gunicorn.access")
    assert (access["path"], access["status"], access["method"]) == ("/say", "200", "GET")
    ask(web, "of-gthread", "/fail?token=canary-query")
    with host.sudo():
        errors = host.check_output("tail -n 1 /var/log/flask-ops/of-gthread/error.log")
        assert host.run("grep --recursive canary /var/log/flask-ops/of-gthread /var/log/flask-ops/of-gevent").rc == 1
    assert "RuntimeError: this page fails" in json.loads(errors)["exception"]


def test_log_files_are_for_the_app_and_root_only(host):
    with host.sudo():
        directory, file = (
            host.file("/var/log/flask-ops/of-gthread"),
            host.file("/var/log/flask-ops/of-gthread/access.log"),
        )
        assert (directory.user, directory.group, directory.mode) == ("of-gthread", "of-gthread", 0o750)
        assert (file.user, file.group, file.mode) == ("of-gthread", "of-gthread", 0o640)
    assert not host.file("/var/log/flask-ops/of-sync").exists


def test_after_a_rotation_gunicorn_writes_to_the_new_file(host, web, slot):
    with host.sudo():
        host.check_output("mv /var/log/flask-ops/of-gevent/access.log /var/log/flask-ops/of-gevent/access.log.1")
        host.check_output(f"systemctl kill --kill-whom=main --signal=USR1 of-gevent-{slot('of-gevent')}.service")
        host.run_expect(
            [0], "timeout 10 sh -c 'until test -e /var/log/flask-ops/of-gevent/access.log; do sleep 0.2; done'"
        )
    answer = ask(web, "of-gevent", "/say")
    with host.sudo():
        assert answer.body in host.check_output("cat /var/log/flask-ops/of-gevent/access.log")
        assert answer.body not in host.check_output("cat /var/log/flask-ops/of-gevent/access.log.1")


def test_each_slot_starts_to_count_anew(host, web, slot):
    """Prometheus' files of many processes: a file system of the slot's own, empty at each start."""
    serving, sync = f"of-sync-{slot('of-sync')}", web("of-sync")
    with host.sudo():
        host.check_output(f"systemctl restart {serving}.service")
    for expected in ("1.0", "2.0"):
        assert f"asked_total {expected}" in sync.ask("/metrics").body
    with host.sudo():
        host.check_output(f"systemctl restart {serving}.service")
    assert "asked_total 1.0" in sync.ask("/metrics").body
    assert not host.check_output("ls /run/flask-ops-metrics")


def test_whatever_an_app_puts_in_place_of_its_log_files_its_slot_starts(host, web, service):
    place, unit = "/var/log/flask-ops/of-gevent", service("of-gevent")
    with host.sudo():
        host.check_output(f"sh -c 'cd {place} && mv access.log access.kept && mv error.log error.kept'")
        host.check_output(
            f"runuser -u of-gevent -- sh -c 'mkfifo {place}/access.log; ln -s /etc/shadow {place}/error.log'"
        )
        try:
            host.check_output(f"systemctl restart {unit}")
            answer = ask(web, "of-gevent", "/say")
            assert answer.status == 200
            journal = host.check_output(f"journalctl --output=cat --unit={unit} --since=-1min")
        finally:
            host.check_output(f"sh -c 'cd {place} && mv access.kept access.log && mv error.kept error.log'")
            host.check_output(f"systemctl restart {unit}")
    assert f"{place}/access.log: " in journal
    assert [line for line in journal.splitlines() if answer.body in line and "/say" in line], journal
