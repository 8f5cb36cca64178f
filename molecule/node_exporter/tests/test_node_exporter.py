"""What the exporters of a server tell, to whom, and what they survive. Later tests build on earlier ones."""

import http.client
import re
import socket
import time

import pytest

from tests.waiting import eventually

testinfra_hosts = ["ansible://flask_servers"]

METRICS = "/var/lib/prometheus/node-exporter"
UNITS = ["node-exporter.service", "nginx-exporter.service", "access-log-exporter.service", "gunicorn-exporter.service"]
PROMETHEUS, READER = "prometheus:canary-9d1f7c20", "reader:canary-3b8e1a55"


def test_the_exporters_run_and_come_back_after_a_reboot(unit):
    for name in [*UNITS, "flask-ops-metrics.timer"]:
        assert unit(name).is_running
        assert unit(name).is_enabled


def test_only_who_has_a_password_gets_metrics(scrape):
    assert scrape(PROMETHEUS)[0] == scrape(READER)[0] == 200
    for user in (None, "prometheus:wrong", "reader:canary-9d1f7c20", "other:canary-9d1f7c20"):
        assert scrape(user)[0] == 401


def test_without_tls_there_is_nothing_to_get(address):
    connection = http.client.HTTPConnection(address, 9100, timeout=20)
    connection.request("GET", "/metrics")
    assert connection.getresponse().status == 400


def test_all_else_listens_on_the_loopback_and_debians_own_services_do_not_run(host, address):
    ports = " or ".join(f"sport = :{port}" for port in (3903, 8125, 9103, 9113))
    listening = host.check_output(f"ss --no-header --listening --numeric --tcp --udp '( {ports} )'").splitlines()
    assert sorted((line.split()[0], line.split()[4]) for line in listening) == [
        ("tcp", "127.0.9.1:3903"),
        ("tcp", "127.0.9.1:9103"),
        ("tcp", "127.0.9.1:9113"),
        ("udp", "127.0.0.1:8125"),
    ]
    for port in (3903, 9103, 9113):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, port), timeout=20)
    for name in ("prometheus-node-exporter", "prometheus-nginx-exporter", "mtail", "collectd"):
        assert not host.service(name).is_running
        assert host.service(name).is_masked


@pytest.mark.parametrize("name", [*UNITS, "flask-ops-metrics.service"])
def test_each_service_is_in_a_sandbox(host, name):
    rated = host.check_output("systemd-analyze security --no-pager %s", name)
    (score,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", rated)
    assert float(score) <= 2.0, rated


def test_the_sandbox_does_not_distort_what_the_exporter_sees(host, metrics):
    found = metrics()
    mounts = [line.split() for line in host.file("/proc/1/mounts").content_string.splitlines()]
    read_only = {place: "ro" in options.split(",") for _, place, _, options, *_ in mounts}
    written = {
        place: value
        for name, value in found.items()
        for place in re.findall('^node_filesystem_readonly.*mountpoint="(.*?)"', name)
    }
    assert written
    assert written == {place: read_only[place] for place in written}
    failed = {name for name, value in found.items() if name.startswith("node_scrape_collector_success") and not value}
    # The pressure collector of Debian 13 wants a file that not every kernel has, sandbox or not.
    lacking = (
        set() if host.file("/proc/pressure/irq").exists else {'node_scrape_collector_success{collector="pressure"}'}
    )
    assert failed <= lacking
    nodename = host.check_output("uname --nodename")
    assert any(name.startswith("node_uname_info") and f'nodename="{nodename}"' in name for name in found)


def test_the_collectors_are_those_of_the_list(metrics):
    running = {
        collector for name in metrics() for collector in re.findall('^node_scrape_collector_success.*"(.*)"', name)
    }
    assert running == {
        "cpu", "diskstats", "filefd", "filesystem", "loadavg", "meminfo", "netdev", "netstat", "os", "pressure", "sockstat",
        "stat", "textfile", "time", "timex", "uname", "vmstat",
    }  # fmt: skip


def test_the_app_its_last_deploy_its_units_and_versions_are_in_the_metrics(host, metrics):
    found = metrics()
    python = host.check_output("python3 -c 'import platform; print(platform.python_version())'")
    nginx = host.check_output("dpkg-query --show --showformat='${Version}' nginx")
    for sample in (
        'flask_ops_app_info{app="shop",release="r2",slot="green"}',
        'flask_ops_app_healthy{app="shop"}',
        'flask_ops_app_reachable{app="shop"}',
        'flask_ops_last_deploy_success{app="shop"}',
        'flask_ops_unit_state{state="active",unit="shop-green.service"}',
        'flask_ops_unit_state{state="active",unit="nginx.service"}',
        'flask_ops_unit_state{state="inactive",unit="shop-blue.service"}',
        'flask_ops_gunicorn_info{app="shop",version="27.0.1"}',
        f'flask_ops_python_info{{app="shop",version="{python}"}}',
        f'flask_ops_nginx_info{{version="{nginx}"}}',
        'letsencrypt_certificate_served{name="shop"}',
    ):
        assert found.get(sample) == 1, [name for name in found if name.startswith("flask_ops")]
    assert found['flask_ops_app_configured_workers{app="shop"}'] == 2
    assert found['flask_ops_last_deploy_timestamp_seconds{app="shop"}'] == 1795545372
    assert found['flask_ops_last_deploy_duration_seconds{app="shop"}'] == 3.1
    assert not [name for name in found if "gone" in name and name.startswith("flask_ops")]


def test_answers_are_counted_from_the_access_log_also_after_its_rotation(host, site, metrics):
    def asked(*paths):
        return [site("shop", "shop.test.example").ask(path).status for path in paths]

    def counted():
        names = {code: f'flask_ops_responses_total{{app="shop",code="{code}"}}' for code in ("200", "500", "404")}
        found = metrics()
        return {code: found.get(name, 0) - before.get(name, 0) for code, name in names.items()}

    log = "/var/log/nginx/shop.access.log"
    before = metrics()
    assert asked("/", "/broken", "/slow") == [200, 500, 200]
    # mtail looks four times a second: what is written in the moments around a rotation may escape it.
    eventually(lambda: counted() == {"200": 2, "500": 1, "404": 0})
    with host.sudo():
        host.check_output(f"mv {log} {log}.1")
        host.check_output("systemctl kill --kill-whom=main --signal=USR1 nginx.service")
        host.check_output(f"timeout 60 sh -c 'until [ -e {log} ]; do sleep 0.1; done'")
    time.sleep(2)
    assert asked("/", "/slow") == [200, 200]
    combined = '192.0.2.7 - - [25/Nov/2026:21:00:00 +0000] "GET / HTTP/1.1" 404 12 "-" "x"'
    with host.sudo():
        assert host.run(f"echo %s >> {log}", combined).rc == 0
    eventually(lambda: counted() == {"200": 4, "500": 1, "404": 1})

    def bucket(le):
        name = f'flask_ops_response_duration_seconds_bucket{{app="shop",le="{le}"}}'
        return metrics()[name] - before.get(name, 0)

    # The line that another nginx might have written has no time.
    eventually(lambda: bucket("+Inf") == 5)
    assert bucket("0.25") <= 3


def test_the_counters_of_nginx_are_passed_on(metrics):
    found = metrics()
    assert found["nginx_up"] == 1
    assert found["nginx_http_requests_total"] > 0


def test_metrics_of_gunicorn_are_labelled_by_app_and_foreign_ones_are_dropped(host, address, site, metrics):
    def reaches(name, least):
        def arrived():
            time.sleep(2)
            return metrics().get(name, -1) >= least

        # collectd sends the figures of a minute at its end.
        eventually(arrived, 90)

    def elsewhere():
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.connect((address, 8125))
            sender.send(b"shop.gunicorn.log.critical:1|c")

    teapots = 'gunicorn_responses_total{app="shop",code="418"}'
    before = metrics().get(teapots, 0)
    with host.sudo():
        # It sends the number of its workers at its start, and when it changes.
        host.check_output("systemctl restart shop-green.service")
    elsewhere()
    shop = site("shop", "shop.test.example")
    assert [shop.ask(path).status for path in ("/slow", "/teapot", "/teapot")] == [200, 418, 418]
    reaches('gunicorn_request_duration_seconds{app="shop",percentile="99"}', 0.25)
    reaches(teapots, before + 2)
    found = metrics()
    assert found[teapots] == before + 2
    assert found['gunicorn_requests_total{app="shop"}'] >= 3
    assert found['gunicorn_workers{app="shop"}'] == 2
    assert not [name for name in found if name.startswith("gunicorn_") and 'app="shop"' not in name]
    assert not [name for name in found if "critical" in name]


def test_an_app_that_is_down_is_reported_and_so_is_its_return(host, metrics):
    with host.sudo():
        host.check_output("systemctl stop shop-green.service")
        # systemd removed the link with the directory; the switch would leave it.
        host.check_output("mkdir /run/flask-ops/shop")
        host.check_output("ln -s green /run/flask-ops/shop/current")
        down = metrics()
        host.check_output("rm -r /run/flask-ops/shop")
        host.check_output("systemctl start shop-green.service")
    assert down['flask_ops_app_healthy{app="shop"}'] == 0
    assert down['flask_ops_unit_state{state="inactive",unit="shop-green.service"}'] == 1
    assert metrics()['flask_ops_app_healthy{app="shop"}'] == 1


def test_an_app_that_only_nginx_keeps_from_its_visitors_is_not_reachable(host, metrics):
    with host.sudo():
        host.check_output("systemctl stop nginx.service")
        stopped = metrics()
        host.check_output("systemctl start nginx.service")
    assert (stopped['flask_ops_app_healthy{app="shop"}'], stopped['flask_ops_app_reachable{app="shop"}']) == (1, 0)
    assert metrics()['flask_ops_app_reachable{app="shop"}'] == 1


def test_an_app_that_is_closed_for_maintenance_is_reported(host, metrics):
    flag = "/var/lib/flask-ops/maintenance/shop"
    with host.sudo():
        host.check_output(f"sh -c 'mkdir --parents {flag.rpartition('/')[0]} && touch {flag}'")
        closed = metrics()
        host.check_output(f"rm {flag}")
    assert closed['flask_ops_app_maintenance{app="shop"}'] == 1
    assert metrics()['flask_ops_app_maintenance{app="shop"}'] == 0


def test_workers_that_die_are_counted(host, metrics):
    before = metrics()['flask_ops_app_worker_deaths{app="shop"}']
    with host.sudo():
        main = host.check_output("systemctl show --value --property=MainPID shop-green.service")
        host.check_output(f"sh -c 'kill -KILL $(pgrep --parent {main} --newest)'")
    eventually(lambda: metrics()['flask_ops_app_worker_deaths{app="shop"}'] == before + 1)


def test_a_broken_file_of_metrics_does_not_take_the_others_away(host, metrics):
    with host.sudo():
        host.check_output(f"sh -c 'echo \"}} nonsense {{\" > {METRICS}/broken.prom'")
        found = metrics()
        host.check_output(f"rm {METRICS}/broken.prom")
    assert found["node_textfile_scrape_error"] == 1
    assert found['flask_ops_app_healthy{app="shop"}'] == 1
    assert metrics(collect=False)["node_textfile_scrape_error"] == 0


def test_metrics_are_written_whole_and_for_root_to_change(host):
    with host.sudo():
        found = host.check_output(f"find {METRICS} -printf '%f %u %m\\n'").splitlines()
    assert sorted(found) == [
        "access-log.prom root 644",
        "flask_ops.prom root 644",
        "gunicorn.prom root 644",
        "letsencrypt.prom root 644",
        "nginx.prom root 644",
        "node-exporter root 755",
    ]


def test_secrets_are_for_root_alone_and_no_password_is_on_the_host(host):
    with host.sudo():
        for name in ("web.yml", "tls.key"):
            file = host.file(f"/etc/node-exporter/{name}")
            assert (file.user, file.mode) == ("root", 0o600)
        assert "canary" not in host.file("/etc/node-exporter/web.yml").content_string
        assert host.run("grep -rl canary-9d1f7c20 /etc /opt /var/lib/prometheus").stdout == ""
        assert "canary" not in host.check_output("ps -eo args")


def test_an_upstream_release_runs_where_it_was_asked_for(host):
    program = host.check_output("readlink /proc/%s/exe", host.service("node-exporter").systemd_properties["MainPID"])
    if host.backend.host == "debian13":
        assert re.fullmatch(r"/opt/flask-ops/node_exporter-1[.]99[.]0-[0-9a-f]{12}/node_exporter", program)
    else:
        assert program == "/usr/bin/prometheus-node-exporter"


# --- what changes nothing ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("once")
def test_a_collector_that_there_is_not_changes_nothing(host, apply, scrape):
    refused = apply(node_exporter_collectors=["cpu", "astrology"])
    assert refused.status != 0
    assert "every file is as it was before" in refused.output
    assert "--collector.astrology" in refused.output
    assert "canary" not in refused.output
    assert scrape()[0] == 200


@pytest.mark.usefixtures("once")
def test_a_key_that_is_not_the_certificates_changes_nothing(host, apply, scrape):
    with host.sudo():
        host.check_output("openssl genpkey -algorithm ed25519 -out /root/other.key")
        refused = apply(
            node_exporter_certificate="/etc/node-exporter/certificate/fullchain.pem",
            node_exporter_certificate_key="/root/other.key",
        )
        host.check_output("rm /root/other.key")
    assert refused.status != 0
    assert "every file is as it was before" in refused.output
    assert "PRIVATE KEY" not in refused.output
    assert scrape()[0] == 200


@pytest.mark.usefixtures("once")
def test_a_port_of_somebody_elses_changes_nothing(host, apply, unit, site, metrics):
    bind = "import socket, time; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 8126)); time.sleep(600)"
    with host.sudo():
        host.check_output("systemd-run --unit somebody-else python3 -c %s", bind)
        refused = apply(node_exporter_statsd="127.0.0.1:8126")
        host.check_output("systemctl stop somebody-else.service")
    assert refused.status != 0
    assert "every file is as it was before" in refused.output
    assert "Address already in use" in refused.output
    assert unit("gunicorn-exporter.service").is_running
    listening = host.check_output("ss --no-header --listening --numeric --udp 'sport = :8125'")
    assert listening.split()[3] == "127.0.0.1:8125"
    # The others were restarted with their old files, and counted from 0 then.
    shop = site("shop", "shop.test.example")
    eventually(lambda: shop.ask("/").status == 200 and 'flask_ops_responses_total{app="shop",code="200"}' in metrics())


@pytest.mark.usefixtures("once")
def test_an_archive_from_a_url_with_another_checksum_leaves_nothing_behind(host, apply):
    before = host.check_output("ls /opt/flask-ops")
    refused = apply(node_exporter_checksums={"amd64": "0" * 64, "arm64": "0" * 64})
    assert refused.status != 0
    assert "did not match" in refused.output
    assert host.check_output("ls /opt/flask-ops") == before
