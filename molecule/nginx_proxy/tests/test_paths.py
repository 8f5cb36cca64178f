"""An app at a path of another app's site: the site `guarded` needs a password, the app `tools` at /tools does not."""

import base64
import json

import pytest

from tests.waiting import eventually, settled

ALICE = {"Authorization": "Basic " + base64.b64encode(b"alice:canary-71c0de55").decode()}


@pytest.fixture
def guarded(site):
    return site("guarded", "guarded.test.example")


def test_each_app_answers_below_its_own_path(guarded):
    assert guarded.ask("/tools/").json["path"] == "/tools/"
    assert guarded.ask("/tools/a%2Fb?c=d").json["path"] == "/tools/a%2Fb?c=d"
    assert guarded.ask("/toolshed").status == 401
    moved = guarded.ask("/tools?a=b")
    assert (moved.status, moved.headers["Location"]) == (301, "https://guarded.test.example/tools/?a=b")


def test_the_longest_path_is_used(guarded):
    assert guarded.ask("/tools/deep/").status == 403
    assert guarded.ask("/tools/deeper/").status == 200


@pytest.mark.parametrize("path", ["/%74ools/", "/tools/../", "//tools/", "/tools//a", "/tools/%2e%2e/a"])
def test_no_other_spelling_of_a_path_reaches_an_app(guarded, path):
    assert guarded.ask(path, headers=ALICE).status == 400


def test_an_app_at_a_path_has_its_own_limits_headers_and_redirects(guarded):
    answer = guarded.ask("/tools/")
    assert answer.headers.get_all("X-Tools") == ["yes"]
    assert answer.headers.get_all("X-Content-Type-Options") == ["nosniff"]
    assert "X-Tools" not in guarded.ask("/").headers
    # Of the site: browsers keep it for the name as a whole.
    assert "preload" in answer.headers["Strict-Transport-Security"]
    assert guarded.ask("/tools/", "POST", body=b"x" * 2000).status == 413
    assert guarded.ask("/", "POST", body=b"x" * 2000, headers=ALICE).status == 200
    assert guarded.ask("/tools/moved").headers["Location"] == "https://guarded.test.example/tools/new"


def test_an_app_at_a_path_has_its_own_static_files(host, guarded):
    with host.sudo():
        host.check_output("mkdir -p /srv/tools/current/static /srv/tools/old-static")
        host.check_output("sh -c 'echo new > /srv/tools/current/static/a.css; echo old > /srv/tools/old-static/b.css'")
    eventually(lambda: guarded.ask("/tools/static/a.css").body == "new\n")
    # By a location of the site, whose password is not asked for.
    eventually(lambda: guarded.ask("/tools/static/b.css").body == "old\n")
    assert guarded.ask("/tools/static/c.css").status == 404


def test_a_password_of_the_site_is_for_nginx_alone(guarded):
    assert "authorization" not in guarded.ask("/tools/", headers=ALICE).json["headers"]
    bearer = {"Authorization": "Bearer token"}
    assert guarded.ask("/tools/", headers=bearer).json["headers"]["authorization"] == "Bearer token"


def test_each_app_has_its_own_log(host, guarded):
    guarded.ask("/tools/logged")
    with host.sudo():
        log = host.file("/var/log/nginx/tools.access.log")
        eventually(lambda: "/tools/logged" in log.content_string)
        assert "/tools/logged" not in host.file("/var/log/nginx/guarded.access.log").content_string


@pytest.mark.parametrize("closed", ["guarded", "tools"])
def test_each_app_is_closed_for_maintenance_alone(host, guarded, closed):
    flag = f"/var/lib/flask-ops/maintenance/{closed}"
    with host.sudo():
        host.check_output(f"sh -c 'mkdir -p $(dirname {flag}) && touch {flag}'")
    expected = {"guarded": (503, 200), "tools": (200, 503)}[closed]

    def answers():
        return guarded.ask("/", headers=ALICE).status, guarded.ask("/tools/").status

    try:
        # Each of nginx's workers looks at the flag once a second.
        settled(lambda: answers() == expected, seconds=1.5)
        page = guarded.ask("/" if closed == "guarded" else "/tools/")
        assert (page.status, page.headers["Retry-After"]) == (503, "60")
    finally:
        with host.sudo():
            host.check_output(f"rm {flag}")
    settled(lambda: answers() == (200, 200), seconds=1.5)


def test_root_asks_an_app_at_a_path_by_its_own_socket(host):
    ask = "curl --silent --fail --unix-socket /run/flask-ops/nginx/tools.sock http://guarded.test.example/tools/healthz"
    with host.sudo():
        assert json.loads(host.check_output(ask))["path"] == "/tools/healthz"
