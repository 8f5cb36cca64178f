"""What is left of an app that is not wanted any more. After all other tests: they need it."""

import pytest

SITE = "flask_ops.production.site"


@pytest.mark.usefixtures("once")
def test_an_absent_app_leaves_nothing_but_its_data(host, play, apps, demo):
    assert play(SITE).status == 0
    before = demo.ask("/").json
    removed = play(SITE, flask_apps=apps(httpbin={"state": "absent"}))
    assert removed.status == 0, removed.output
    assert not host.user("httpbin").exists
    for path in (
        "/etc/flask-ops/httpbin",
        "/srv/httpbin/releases",
        "/run/flask-ops/httpbin",
        "/etc/nginx/sites-enabled/httpbin.conf",
    ):
        assert not host.file(path).exists
    assert "httpbin" not in host.check_output("systemctl list-units --all --plain 'httpbin*' --no-legend")
    assert host.file("/srv/httpbin/shared").user == "root"
    assert host.file("/srv/httpbin/shared").mode == 0o700
    after = demo.ask("/").json
    assert (after["release"], after["slot"]) == (before["release"], before["slot"])


@pytest.mark.usefixtures("once")
def test_purge_takes_the_data_too(host, play, apps):
    gone = {"state": "absent", "purge": True}
    wanted = apps(httpbin=gone)
    removed = play(SITE, flask_apps=wanted)
    assert removed.status == 0, removed.output
    assert not host.file("/srv/httpbin").exists
    again = play(SITE, flask_apps=wanted)
    assert (again.status, again.changed) == (0, False), again.output
