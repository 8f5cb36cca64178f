"""Sandbox, limits and processes of each kind of server."""

import ipaddress

import pytest

NAMES = ["of-gthread", "of-sync", "of-gevent", "of-asgi", "of-waitress"]


@pytest.mark.parametrize(("name", "most"), [(name, 0.9 if name == "of-waitress" else 1.5) for name in NAMES])
def test_the_sandbox_is_tight_and_the_units_are_sound(host, service, name, most):
    unit = service(name)
    with host.sudo():
        rated = host.check_output(f"systemd-analyze security --no-pager {unit}")
        checked = host.run(f"systemd-analyze verify --recursive-errors=no {unit} {unit.replace('.service', '.socket')}")
    assert float(rated.split("Overall exposure level")[1].split(":")[1].split()[0]) <= most
    assert (checked.rc, checked.stderr) == (0, "")


def test_systemd_knows_the_limits(host, service):
    wanted = {
        "MemoryHigh": str(400 * 1024**2),
        "MemoryMax": str(500 * 1024**2),
        "CPUQuotaPerSecUSec": "1.500000s",
        "CPUWeight": "50",
        "TasksMax": "512",
        "LimitNOFILE": "256",
        "OOMPolicy": "continue",
    }
    shown = host.check_output(f"systemctl show --property {','.join(wanted)} {service('of-gthread')}")
    assert dict(line.split("=", 1) for line in shown.splitlines()) == wanted


def test_an_app_has_bounds_by_default(host, service):
    half = int(host.check_output("awk '/^MemTotal/ {print int($2 / 2)}' /proc/meminfo"))
    shown = host.check_output(f"systemctl show --property MemoryMax,OOMScoreAdjust {service('of-sync')}")
    bounds = dict(line.split("=", 1) for line in shown.splitlines())
    assert abs(int(bounds["MemoryMax"]) / 1024 - half) < 1024
    assert bounds["OOMScoreAdjust"] == "500"


def test_what_an_app_writes_for_prometheus_and_into_shared_memory_is_bounded_and_its_own(host, service):
    process = host.check_output(f"systemctl show --value --property MainPID {service('of-sync')}")
    inside = f"nsenter --target {process} --mount"
    places = ("/run/flask-ops-metrics", "/dev/shm")
    with host.sudo():
        memory = int(host.check_output("awk '/^MemTotal/ {print $2}' /proc/meminfo"))
        for place, share in zip(places, (0.1, 0.25), strict=True):
            size = int(host.check_output(f"{inside} df --output=size {place}").split()[-1])
            assert abs(size - share * memory) < 4096
            assert host.run(f"{inside} fallocate --length {size + 1024}K {place}/too-large").rc != 0
            host.check_output(f"{inside} touch {place}/seen-inside")
            assert not host.file(f"{place}/seen-inside").exists
            host.check_output(f"{inside} rm -f {place}/seen-inside {place}/too-large")
        assert host.check_output(f"{inside} ls /run/flask-ops-metrics").endswith(".db")


def test_an_app_does_not_reach_the_services_of_the_host_on_the_loopback(host, service):
    listen = 'import socket, time; socket.create_server(("127.0.9.1", 9113)); s = socket.create_server(("127.0.0.1", 9114)); time.sleep(20)'
    probe = 'import socket; socket.create_connection(("{}", {}), 3)'
    unit = service("of-sync")
    with host.sudo():
        host.check_output(
            f"systemd-run --unit=flask-ops-listener python3 -c '{listen.replace('; socket', '; t = socket')}'"
        )
        deny = host.check_output(f"systemctl show --value --property IPAddressDeny {unit}")
        asked = f"systemd-run --wait --pipe --quiet --collect --property=User=of-sync --property=IPAddressDeny={deny} python3 -c"
        assert host.run(f"{asked} '{probe.format('127.0.0.1', 9114)}'").rc == 0
        assert host.run(f"{asked} '{probe.format('127.0.9.1', 9113)}'").rc != 0
        host.run("systemctl stop flask-ops-listener.service")
    assert deny == "127.0.9.1/32"


def test_a_strict_sandbox_has_no_network(host, service):
    process = host.check_output(f"systemctl show --value --property MainPID {service('of-waitress')}")
    with host.sudo():
        devices = host.check_output(f"nsenter --target {process} --net cat /proc/net/dev").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]


@pytest.mark.parametrize("name", ["of-waitress", "of-asgi"])
def test_other_servers_answer_as_gunicorns_threads_do(web, name):
    told = web(name).ask("/").json
    assert (told["scheme"], told["release"]) == ("https", "r1")
    assert told["client"]


def test_an_asgi_app_knows_its_client_and_its_own_name(web):
    told = web("of-asgi").ask("/").json
    assert ipaddress.ip_address(told["client"][0])
    assert told["server"] == ["of-asgi.test.example", 443]


def test_psutil_needs_one_directive_less(web):
    """As docs/sandbox.md says."""
    assert web("of-gthread").ask("/memory-of-the-host").status == 500
    assert int(web("of-sync").ask("/memory-of-the-host").body) > 0
