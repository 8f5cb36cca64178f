"""What happens to a live app when something about it changes. Later tests build on earlier ones."""

import pytest

from tests.waiting import eventually

SITE = "flask_ops.production.site"
DEPLOY = "flask_ops.production.deploy"
ROLLBACK = "flask_ops.production.rollback"
REQUESTS = 10_000


def test_check_mode_announces_no_change(play):
    checked = play(SITE, "--check", "--diff", "-vvv")
    assert (checked.status, checked.changed) == (0, False), checked.output
    assert "canary-" not in checked.output


@pytest.mark.usefixtures("once")
def test_names_are_exchanged_between_apps_and_no_visitor_gets_an_error(host, play, apps, visitors, site):
    """In one run each. A new app whose run failed in between is served by the next one, whatever else has changed."""
    demo, httpbin = ["demo.test.example", "www.demo.test.example"], ["httpbin.test.example"]
    exchanged = apps(
        demo={"domains": ["new.test.example", *httpbin]}, httpbin={"domains": demo, "canonical_domain": True}
    )
    extra = {**exchanged[1], "name": "extra", "domains": ["extra.test.example"]}
    slots = "readlink /run/flask-ops/demo/current /run/flask-ops/httpbin/current"
    with host.sudo():
        before = host.check_output(slots)
    with visitors("demo.test.example") as of_demo, visitors("httpbin.test.example") as of_httpbin:
        announced = play(SITE, "--check", "--diff", flask_apps=exchanged)
        refused = play(SITE, flask_apps=[*exchanged, {**extra, "snippet": "proxy_read_timout 30s;"}])
        served = site("demo", "new.test.example").ask("/").json
        back = play(
            SITE, flask_apps=[*apps(), {**extra, "env": {"GREETING": "hello"}, "snippet": "proxy_read_timeout 30s;"}]
        )
        reports = [of_demo.finish(), of_httpbin.finish()]
    for line in (
        "- server_name demo.test.example www.demo.test.example;",
        "+ server_name new.test.example httpbin.test.example;",
    ):
        assert line in announced.output
    assert "traffic went" not in announced.output
    assert refused.status != 0
    assert 'unknown directive "proxy_read_timout"' in refused.output
    assert served["slot"] in before
    assert back.status == 0, back.output
    assert [report["failures"] for report in reports] == [[], []]
    assert site("extra", "extra.test.example").ask("/status/204").status == 204
    with host.sudo():
        assert host.check_output(slots) == before
    removed = play(SITE, flask_apps=[*apps(), {"name": "extra", "state": "absent", "purge": True}])
    assert removed.status == 0, removed.output


def test_a_new_release_drops_no_request(play, apps, source, load, demo):
    before = demo.ask("/").json
    (source / "demo_app" / "static" / "new.txt").write_text("new")
    with load(REQUESTS) as clients:
        deployed = play(SITE, flask_apps=apps(demo={"source": {"path": str(source)}}))
        report = clients.finish()
    after = demo.ask("/").json
    assert deployed.status == 0, deployed.output
    assert report["failed"] == 0, report["failures"]
    assert report["total"] >= REQUESTS
    assert report["long"] >= 3
    assert after["release"] != before["release"]
    assert after["slot"] != before["slot"]
    assert report["releases"] == [before["release"], after["release"]]
    assert demo.ask("/static/new.txt").body == "new"


def test_rollback_goes_back_and_drops_no_request(host, play, load, demo):
    before = demo.ask("/").json
    checked = "stat --format='%Y %a' /srv/demo/{}/.checked"
    with host.sudo():
        when = host.check_output(checked.format("previous"))
    assert when.endswith(" 600")
    with load(1_000) as clients:
        went_back = play(ROLLBACK, app="demo")
        report = clients.finish()
    assert went_back.status == 0, went_back.output
    assert report["failed"] == 0, report["failures"]
    after = demo.ask("/").json
    assert (after["release"] != before["release"], after["slot"] != before["slot"]) == (True, True)
    with host.sudo():
        assert host.check_output(checked.format("current")) == when  # it need not pass again in the same environment
    # A page that was loaded before still finds its files.
    assert demo.ask("/static/new.txt").body == "new"


def test_deploy_ships_one_app_and_touches_no_other(host, play, apps, source, demo):
    before = demo.ask("/").json
    started = host.check_output("systemctl show --value --property ActiveEnterTimestamp httpbin-blue nginx")
    for name in ("newer.txt", "new.txt"):
        (source / "demo_app" / "static" / name).write_text("newer")
    shipped = play(DEPLOY, app="demo", flask_apps=apps(demo={"source": {"path": str(source)}}))
    assert shipped.status == 0, shipped.output
    assert demo.ask("/").json["release"] != before["release"]
    assert demo.ask("/static/newer.txt").body == "newer"
    eventually(lambda: demo.ask("/static/new.txt").body == "newer", seconds=2)  # nginx may know a file for a second
    assert host.check_output("systemctl show --value --property ActiveEnterTimestamp httpbin-blue nginx") == started


@pytest.mark.usefixtures("once")
def test_what_is_not_there_is_refused_by_name(play):
    for playbook, variables, said in (
        (DEPLOY, {"app": "dmeo"}, "is not an app; did you mean -e app=demo?"),
        (DEPLOY, {"app": "demo", "version": "v2"}, "the source of 'demo' is a directory, which has no version"),
        (ROLLBACK, {"app": "demo", "release": "nope"}, "demo: there is no complete release 'nope' on this host; kept"),
    ):
        refused = play(playbook, **variables)
        assert refused.status != 0
        assert said in refused.output
        assert not refused.changed


@pytest.mark.usefixtures("once")
def test_a_release_that_cannot_be_imported_does_not_go_live(play, apps, source, load, demo):
    before = demo.ask("/").json
    module = source / "demo_app" / "__init__.py"
    module.write_text(module.read_text() + "\nimport no_such_module\n")
    with load(1_000) as clients:
        deployed = play(SITE, flask_apps=apps(demo={"source": {"path": str(source)}}))
        report = clients.finish()
    assert deployed.status != 0
    assert "demo: pre-flight of release" in deployed.output
    assert "No module named 'no_such_module'" in deployed.output
    assert report["failed"] == 0, report["failures"]
    assert demo.ask("/").json["release"] == before["release"]


@pytest.mark.usefixtures("once")
def test_a_release_that_is_not_healthy_does_not_go_live(play, apps, source, load, demo):
    before = demo.ask("/").json
    health = {"path": "/no-such-page", "deadline": 30}
    with load(1_000) as clients:
        deployed = play(SITE, flask_apps=apps(demo={"health": health, "threads": 3}))
        report = clients.finish()
    assert deployed.status != 0
    assert "GET /no-such-page" in deployed.output
    assert "404" in deployed.output
    assert f"{before['slot']} still serves" in deployed.output
    assert report["failed"] == 0, report["failures"]
    assert demo.ask("/").json["slot"] == before["slot"]


@pytest.mark.usefixtures("once")
def test_a_changed_value_of_the_environment_goes_by_way_of_the_other_slot(play, apps, load, demo):
    before = demo.ask("/").json
    with load(1_000) as clients:
        deployed = play(SITE, "--diff", "-vvv", flask_apps=apps(demo={"env": {"DEMO_MOTTO": "another"}}))
        report = clients.finish()
    assert deployed.status == 0, deployed.output
    assert "canary-" not in deployed.output
    assert report["failed"] == 0, report["failures"]
    assert demo.ask("/").json["slot"] != before["slot"]


@pytest.mark.usefixtures("once")
def test_the_right_slot_comes_back_after_its_processes_were_killed(host, unit, demo):
    slot = demo.ask("/").json["slot"]
    with host.sudo():
        host.check_output(f"systemctl kill --signal=KILL demo-{slot}.service")
    assert demo.ask("/").json["slot"] == slot
    assert unit(f"demo-{slot}.service").is_running


def test_after_a_reboot_the_same_slot_is_live(host, reboot, demo):
    before = demo.ask("/").json
    reboot()
    assert host.run("systemctl is-system-running --wait").stdout.strip() == "running"
    after = demo.ask("/").json
    assert (after["release"], after["slot"]) == (before["release"], before["slot"])


def test_an_app_that_fails_does_not_hold_up_the_other(host, play, apps, source, demo, httpbin):
    before = demo.ask("/").json
    (source / "demo_app" / "__init__.py").write_text("raise RuntimeError('no app at all')\n")
    run = play(
        SITE,
        flask_apps=apps(
            demo={"source": {"path": str(source)}}, httpbin={"workers": 1, "headers": {"X-Change": "arrived"}}
        ),
    )
    assert run.status != 0
    assert run.output.count("RuntimeError: no app at all") == 1
    assert "1 app failed: demo. The reason is printed above." in run.output
    assert " failed=1 " in run.output
    after = demo.ask("/").json
    assert (after["release"], after["slot"]) == (before["release"], before["slot"])
    # The other app has all of its change, nginx' part included.
    assert httpbin.ask("/status/204").headers["X-Change"] == "arrived"
    slot = host.check_output("readlink /run/flask-ops/httpbin/current")
    with host.sudo():
        assert "workers = 1\n" in host.file(f"/etc/flask-ops/httpbin/{slot}/gunicorn.conf.py").content_string
    repaired = play(SITE)
    assert repaired.status == 0, repaired.output
    assert "X-Change" not in httpbin.ask("/status/204").headers
