"""Runs that change something, that are refused, or that find something of somebody else. Each builds on the one before."""

import contextlib
import re
import socket
import ssl
import time
from pathlib import Path

import pytest

from tests.waiting import eventually

NAMES = ["echo.test.example", "new.test.example"]
PENDING = "/run/flask-ops/nginx.service.pending"
CONVERGE = Path(__file__).parents[2] / "shared" / "converge.yml"


@pytest.fixture
def echo(site):
    return site("echo", "echo.test.example")


@pytest.fixture
def apply(host, play):
    """Apply the role with some options of the site echo, and some variables of the role, changed."""

    def run(options=None, **variables):
        first, *others = host.ansible.get_variables()["nginx_proxy_apps"]
        return play(str(CONVERGE), nginx_proxy_apps=[{**first, **(options or {})}, *others], **variables)

    return run


@pytest.mark.parametrize("options", [{"client_max_body_size": "2m"}, {}], ids=["a change", "no change"])
@pytest.mark.parametrize("directory", ["sites-enabled", "conf.d"])
def test_a_broken_file_of_somebody_else_stops_every_run_and_takes_our_change_back(
    host, apply, echo, options, directory
):
    foreign = f"/etc/nginx/{directory}/foreign.conf"
    with host.sudo():
        host.check_output(f"sh -c 'echo nonsense > {foreign}'")
        before = host.file("/etc/nginx/sites-enabled/echo.conf").content_string
        refused = apply(options)
        after = host.file("/etc/nginx/sites-enabled/echo.conf").content_string
        host.check_output(f"rm {foreign}")
    assert refused.status != 0
    assert f"in {foreign}:" in refused.output
    assert f"{foreign} was not written by this collection" in refused.output
    assert before == after
    assert echo.ask("/").status == 200


def test_a_name_of_ours_in_a_file_of_somebody_else_stops_the_run(host, apply, echo):
    stolen = "server { listen 443 ssl; server_name echo.test.example; ssl_reject_handshake on; }"
    with host.sudo():
        host.check_output(f"sh -c 'echo \"{stolen}\" > /etc/nginx/sites-enabled/a-foreign'")
        refused = apply({"client_max_body_size": "2m"})
        host.check_output("rm /etc/nginx/sites-enabled/a-foreign")
    assert refused.status != 0
    assert 'conflicting server name "echo.test.example"' in refused.output
    assert echo.ask("/").status == 200


def test_a_snippet_that_nginx_refuses_fails_its_site_and_the_others_are_applied(host, play, site, echo):
    first, second, *_ = host.ansible.get_variables()["nginx_proxy_apps"]
    broken = {**first, "snippet": "server_tokens off;\nnonsense on;"}
    new = {"name": "new", "domains": ["new.test.example"], "snippet": "rubbish on;"}
    refused = play(str(CONVERGE), nginx_proxy_apps=[broken, {**second, "hsts": {"max_age": 60}}, new])
    assert refused.status != 0
    for name, directive in (("echo", "nonsense"), ("new", "rubbish")):
        path = f"/etc/nginx/sites-enabled/{name}.conf"
        assert re.search(rf'{name}: .* unknown directive "{directive}" in {path}:\d+', refused.output)
        assert re.search(rf"Line \d+ of {path}: {directive} on;", refused.output)
    with host.sudo():
        assert "nonsense" not in host.file("/etc/nginx/sites-enabled/echo.conf").content_string
        assert not host.file("/etc/nginx/sites-enabled/new.conf").exists
    assert echo.ask("/").status == 200
    bystander = site("bystander", "bystander.test.example").ask("/")
    assert (bystander.status, bystander.headers["Strict-Transport-Security"]) == (401, "max-age=60")
    gone = play(str(CONVERGE), nginx_proxy_apps=[first, second, {"name": "new", "state": "absent"}])
    assert gone.status == 0, gone.output


def test_a_wrong_certificate_fails_its_site_and_the_others_are_applied(host, play, site, echo):
    first, second, *_ = host.ansible.get_variables()["nginx_proxy_apps"]
    files = {"fullchain": "/etc/ssl/gone.pem", "privkey": "/etc/ssl/gone.key"}
    new = {"name": "new", "domains": ["new.test.example"], "certificate": files}
    sites = [{**first, "certificate": files}, {**second, "hsts": {"max_age": 90}}, new]
    refused = play(str(CONVERGE), nginx_proxy_apps=sites)
    assert refused.status != 0
    assert "2 apps failed: echo, new." in refused.output
    assert "new: certificate: there is no file /etc/ssl/gone.pem on the host" in refused.output
    assert echo.ask("/").status == 200
    with host.sudo():
        assert not host.file("/etc/nginx/sites-enabled/new.conf").exists
    assert site("bystander", "bystander.test.example").ask("/").headers["Strict-Transport-Security"] == "max-age=90"
    restored = play(str(CONVERGE), nginx_proxy_apps=[first, second])
    assert restored.status == 0, restored.output


def test_an_app_at_a_path_comes_and_goes_by_one_reload_and_does_no_harm_to_its_site(host, play, echo):
    """No process answers for it here: it is 502."""
    sites = host.ansible.get_variables()["nginx_proxy_apps"]
    tools = {"name": "tools", "path": "/tools", "domains": ["echo.test.example", "other.test.example"]}
    reloads = "journalctl --unit nginx.service --output cat | grep -c '^Reloaded nginx.service'"

    def statuses():
        return echo.ask("/").status, echo.ask("/tools/").status

    def apply(app):
        with host.sudo():
            before = int(host.run(reloads).stdout)
            run = play(str(CONVERGE), nginx_proxy_apps=[*sites, app])
            return run, int(host.run(reloads).stdout) - before

    # The first time, nothing of it is there.
    refused, reloaded = apply({**tools, "locations": [{"path": "/a", "snippet": "nonsense on;"}]})
    assert refused.status != 0
    assert "tools: " in refused.output
    assert 'unknown directive "nonsense" in /etc/nginx/snippets/tools-path.conf' in refused.output
    assert statuses() == (200, 200)
    for app, expected in ((tools, (200, 502)), ({"name": "tools", "state": "absent"}, (200, 200))):
        run, reloaded = apply(app)
        assert run.status == 0, run.output
        assert reloaded == 1
        assert statuses() == expected
    with host.sudo():
        assert not host.file("/etc/nginx/snippets/tools-path.conf").exists
        assert host.run("nginx -t").succeeded


def take(host, port):
    """Have another process listen on a port."""
    host.check_output(f"systemd-run --unit=taker /usr/bin/python3 -m http.server {port}")
    host.check_output(f"sh -c 'for i in $(seq 50); do ss -Hltn sport = {port} | grep -q . && break; sleep 0.2; done'")


def test_a_reload_that_nginx_did_not_take_fails_the_run_and_is_taken_back(host, apply, echo):
    """`nginx -t` and `nginx -s reload` both exit with status 0."""
    with host.sudo():
        take(host, 8443)
        refused = apply(nginx_proxy_https_port=8443)
        site, marked = (host.file(path) for path in ("/etc/nginx/sites-enabled/echo.conf", PENDING))
        assert "8443" not in site.content_string
        assert marked.exists
        assert host.run("systemctl restart nginx.service").succeeded
        host.check_output("systemctl stop taker.service")
    assert refused.status != 0
    assert "nginx.service kept its old configuration after the reload" in refused.output
    assert "8443 failed (98: Address already in use)" in refused.output
    assert echo.ask("/").status == 200
    taken = apply(nginx_proxy_https_port=8443)
    assert taken.status == 0, taken.output
    with host.sudo():
        assert not host.file(PENDING).exists
    with contextlib.closing(socket.create_connection((echo.address, 8443), timeout=20)):
        pass
    back = apply()
    assert back.status == 0, back.output


def test_a_port_that_is_taken_is_named_and_nginx_starts_when_it_is_free(host, apply, echo):
    with host.sudo():
        host.check_output("systemctl stop nginx.service")
        take(host, 443)
        refused = apply({"client_max_body_size": "2m"})
        host.check_output("systemctl stop taker.service")
    assert refused.status != 0
    assert "443 failed (98: Address already in use)" in refused.output
    # systemd tries again every two seconds.
    deadline = time.monotonic() + 60
    while not host.service("nginx.service").is_running and time.monotonic() < deadline:
        time.sleep(0.5)
    assert echo.ask("/").status == 200


def test_headers_of_a_trusted_proxy_are_used(host, apply, echo):
    network = f"{echo.address.rsplit('.', 1)[0]}.0/24"
    changed = apply(
        nginx_proxy_trusted_proxies=[network],
        nginx_proxy_log_format="text",
        nginx_proxy_tls="modern",
        nginx_proxy_http3=True,
    )
    assert changed.status == 0, changed.output
    said = {"X-Forwarded-For": "203.0.113.9, 192.0.2.1", "X-Request-ID": "from-the-proxy-1"}
    got = echo.ask("/text", headers=said).json["headers"]
    assert got["x-forwarded-for"] == got["x-real-ip"] == "192.0.2.1"
    assert got["x-request-id"] == "from-the-proxy-1"
    find = "grep /text /var/log/nginx/echo.access.log"
    with host.sudo():
        eventually(lambda: host.run(find).succeeded, seconds=5)
        (line,) = host.check_output(find).splitlines()
    assert line.startswith("192.0.2.1 - - [")


def test_tls_1_2_is_refused_where_it_is_not_wanted(echo):
    context = ssl.create_default_context(cadata=echo.certificate)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection((echo.address, 443), timeout=20) as plain,
        pytest.raises(ssl.SSLError, match=r"(?i)version"),
    ):
        context.wrap_socket(plain, server_hostname=echo.name)


def test_http_3_is_offered_and_spoken(host, echo):
    """Debian 12, whose nginx cannot, is refused: by a unit test of the validation."""
    assert echo.ask("/").headers["Alt-Svc"] == 'h3=":443"; ma=86400'
    asked = "curl --silent --insecure --http3-only --output /dev/null --write-out %{http_version},%{http_code}"
    by_name = "--resolve echo.test.example:443:127.0.0.1 https://echo.test.example/"
    assert host.check_output(f"{asked} {by_name}") == "3,200"


def test_another_port_is_kept_in_what_the_app_gets_and_in_redirects(apply, echo, site):
    changed = apply({"canonical_domain": True}, nginx_proxy_https_port=8443)
    assert changed.status == 0, changed.output
    # A load balancer that listens on 443 sends no port, and nobody may make one up.
    for sent, passed in (("", ""), (":8443", ":8443"), (":443", ""), (":1", ""), (":18443", "")):
        got = echo.ask("/", headers={"Host": f"echo.test.example{sent}"}, port=8443).json["headers"]
        assert got["host"] == got["x-forwarded-host"] == f"echo.test.example{passed}"
        assert got["x-forwarded-port"] == "8443"
    for name, port in (("echo", 80), ("other", 80), ("other", 8443)):
        host = f"{name}.test.example"
        asked = {"Host": host if port == 80 else f"{host}:8443"}
        moved = site("echo", host).ask("/a?b=c", headers=asked, port=port)
        assert (moved.status, moved.headers["Location"]) == (301, "https://echo.test.example:8443/a?b=c")
    back = apply()
    assert back.status == 0, back.output


def ask_without_a_name(address, request, port=443):
    """The head of the answer and its body, of a client that does not send a name when it shakes hands."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((address, port), timeout=20) as plain:
        connection = context.wrap_socket(plain) if port == 443 else plain
        connection.sendall(request.encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def test_a_site_may_answer_clients_that_send_no_name(apply, address, echo):
    with pytest.raises(ssl.SSLError):
        ask_without_a_name(address, "GET / HTTP/1.0\r\n\r\n")
    changed = apply({"default_site": True})
    assert changed.status == 0, changed.output
    for host in ("", f"Host: {address}\r\n", "Host: [fd00::1]\r\n", "Host: echo.test.example\r\n"):
        answer = ask_without_a_name(address, f"GET /a HTTP/1.0\r\n{host}\r\n")
        assert answer.startswith("HTTP/1.1 200 ")
        assert '"host": "echo.test.example"' in answer
    assert " 421 " in ask_without_a_name(address, "GET / HTTP/1.0\r\nHost: unknown.test.example\r\n\r\n")
    assert " 401 " in ask_without_a_name(address, "GET / HTTP/1.0\r\nHost: bystander.test.example\r\n\r\n")
    for host in ("", f"Host: {address}\r\n"):
        moved = ask_without_a_name(address, f"GET /a?b HTTP/1.0\r\n{host}\r\n", port=80)
        assert "Location: https://echo.test.example/a?b\r\n" in moved
    with pytest.raises(ConnectionResetError):  # without an answer
        ask_without_a_name(address, "GET / HTTP/1.0\r\nHost: unknown.test.example\r\n\r\n", port=80)
    with pytest.raises(ssl.SSLError):
        echo.connect(server_name="unknown.test.example")


def test_an_odd_name_below_a_star_is_refused(apply, site):
    changed = apply({"domains": ["echo.test.example", "*.echo.test.example"]})
    assert changed.status == 0, changed.output
    echo = site("echo", "echo.test.example")  # with another certificate than before
    for name, status in (("a-1.b_2", 200), ('a"b', 400), ("a<b", 400), ("*", 400)):
        assert echo.ask("/", headers={"Host": f"{name}.echo.test.example"}).status == status
        assert echo.ask("/", headers={"Host": f"{name}.echo.test.example"}, port=80).status == (
            301 if status == 200 else 400
        )


def test_another_list_of_names_gets_another_certificate_at_once(apply, site):
    changed = apply({"domains": NAMES})
    assert changed.status == 0, changed.output
    assert site("echo", "new.test.example").ask("/").status == 200


def test_a_certificate_that_somebody_else_provides_is_left_alone_until_it_is_gone(host, apply, echo):
    with host.sudo():
        host.check_output("cp -aL /etc/nginx/self-signed/echo /etc/nginx/better")
        host.check_output("ln -sfn /etc/nginx/better /etc/nginx/certificates/echo")
        again = apply({"domains": NAMES})
        assert (again.status, again.changed) == (0, False), again.output
        assert host.file("/etc/nginx/certificates/echo").linked_to == "/etc/nginx/better"
        host.check_output("rm -r /etc/nginx/better")
        repaired = apply({"domains": NAMES})
        assert (repaired.status, repaired.changed) == (0, True), repaired.output
        assert host.file("/etc/nginx/certificates/echo").linked_to.startswith("/etc/nginx/self-signed/echo.")
    assert echo.ask("/").status == 200


def test_a_reload_that_was_missed_is_made_up_for(host, apply):
    with host.sudo():
        host.check_output("mkdir -p /run/flask-ops")
        host.check_output(f"touch {PENDING}")
        reloaded = apply({"domains": NAMES})
        assert (reloaded.status, reloaded.changed) == (0, True), reloaded.output
        assert not host.file(PENDING).exists


def test_an_absent_site_is_gone_and_its_neighbour_is_not(host, apply, echo, site):
    removed = apply({"state": "absent"})
    assert removed.status == 0, removed.output
    assert not host.file("/etc/nginx/sites-enabled/echo.conf").exists
    assert not host.file("/etc/nginx/self-signed/echo").exists
    assert not host.file("/etc/nginx/certificates/echo").exists
    with pytest.raises(ssl.SSLError):
        echo.connect()
    assert site("bystander", "bystander.test.example").ask("/").status == 401
