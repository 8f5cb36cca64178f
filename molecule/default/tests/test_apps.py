"""Two apps on one host, asked from outside."""

import ssl

import pytest


@pytest.fixture
def demo(site):
    return site("demo", "demo.test.example")


def test_the_app_answers_over_https_and_knows_it(host, demo):
    told = demo.ask("/").json
    assert told["scheme"] == "https"
    assert told["slot"] in ("blue", "green")
    assert host.file("/srv/demo/current").linked_to == f"/srv/demo/releases/{told['release']}"


def test_every_domain_of_an_app_is_served(site):
    assert site("demo", "www.demo.test.example").ask("/healthz").status == 200


def test_an_app_that_nobody_here_wrote_answers_too(httpbin):
    told = httpbin.ask("/get?a=1").json
    assert told["args"] == {"a": "1"}
    assert told["url"] == "https://httpbin.test.example/get?a=1"


def test_a_query_of_8000_characters_reaches_the_app(httpbin):
    assert httpbin.ask("/get?a=" + "x" * 8000).json["args"] == {"a": "x" * 8000}


def test_http_is_redirected(demo):
    answer = demo.ask("/notes?page=2", port=80)
    assert (answer.status, answer.headers["Location"]) == (301, "https://demo.test.example/notes?page=2")


def test_what_a_client_claims_about_itself_is_not_passed_on(demo):
    claims = {
        "X-Forwarded-For": "192.0.2.1",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Prefix": "/evil",
        "X-Forwarded-Ssl": "off",
        "Forwarded": "for=192.0.2.1",
        "X-Real-IP": "192.0.2.1",
        "Proxy": "http://192.0.2.1",
    }
    told = demo.ask("/headers", headers=claims).body
    assert "192.0.2.1" not in told
    assert "evil" not in told
    assert demo.ask("/", headers=claims).json["scheme"] == "https"


def test_a_name_that_no_app_has_is_refused(demo):
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        demo.connect(server_name="unknown.test.example")
    assert demo.ask("/", headers={"Host": "unknown.test.example"}).status == 421
    plain = demo.connect(port=80)
    plain.sendall(b"GET / HTTP/1.1\r\nHost: unknown.test.example\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        plain.recv(1)


def test_static_files_come_from_nginx(demo, httpbin):
    answer = demo.ask("/static/style.css")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/css; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert demo.ask("/static/style.css", headers={"If-None-Match": answer.headers["ETag"]}).status == 304
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_database_was_migrated_and_is_written_to(demo):
    assert demo.ask("/healthz").status == 200
    before = demo.ask("/").json["notes"]
    assert demo.ask("/notes", "POST", '{"text": "one more"}', {"Content-Type": "application/json"}).status == 201
    assert demo.ask("/").json["notes"] == before + 1


def test_values_of_the_environment_arrive_exactly(host):
    pid = host.check_output("systemctl show --value --property MainPID demo-blue.service")
    with host.sudo():
        environment = host.check_output(f"cat /proc/{pid}/environ | tr '\\0' '\\n'").splitlines()
    assert 'DEMO_MOTTO=50% of $HOME is "quoted" #1 \\ ü' in environment


@pytest.mark.parametrize("app", ["demo", "httpbin"])
def test_the_sandbox_is_as_tight_as_promised(host, unit, app):
    assert unit(f"{app}-blue.service").is_running
    with host.sudo():
        told = host.check_output(f"systemd-analyze security --no-pager {app}-blue.service")
    assert float(told.split("Overall exposure level")[1].split(":")[1].split()[0]) <= 1.5


@pytest.mark.parametrize(("app", "other"), [("demo", "httpbin"), ("httpbin", "demo")])
def test_an_app_can_neither_change_itself_nor_read_the_other(host, app, other):
    with host.sudo(app):
        assert host.run(f"find /srv/{app}/current/ -writable ! -type l").stdout == ""
        assert host.run(f"ls /srv/{other}/current/app").rc != 0
        assert host.run(f"ls /srv/{other}/shared").rc != 0
        assert host.run(f"ls /etc/flask-ops/{other}").rc != 0
        assert host.run(f"cat /etc/flask-ops/{app}/environment").rc != 0
        assert host.run(f"ls /run/flask-ops/{app}").rc != 0
