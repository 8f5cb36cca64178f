"""Sandbox, limits and processes of each kind of server."""

import pytest

NAMES = ["of-gthread", "of-sync", "of-gevent", "of-asgi", "of-waitress"]


@pytest.fixture
def service(slot):
    """`service("of-sync")`: the service of the slot in traffic."""
    return lambda name: f"{name}-{slot(name)}.service"


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


def test_a_strict_sandbox_has_no_network(host, service):
    process = host.check_output(f"systemctl show --value --property MainPID {service('of-waitress')}")
    with host.sudo():
        devices = host.check_output(f"nsenter --target {process} --net cat /proc/net/dev").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]


def test_waitress_answers_as_gunicorn_does(web):
    told = web("of-waitress").ask("/").json
    assert (told["scheme"], told["release"]) == ("https", "r1")
    assert told["client"]


def test_psutil_needs_one_directive_less(web):
    """As docs/sandbox.md says."""
    assert web("of-gthread").ask("/memory-of-the-host").status == 500
    assert int(web("of-sync").ask("/memory-of-the-host").body) > 0
