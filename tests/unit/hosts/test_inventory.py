"""How others are told to reach a host."""

from __future__ import annotations

import io
import tarfile

import pytest
from hosts.cli import duration, parser
from hosts.host import NAME, Host, archive, check_names
from hosts.image import reference
from hosts.inventory import as_data, as_yaml
from hosts.state import HostsError

HOST = Host("web1.example.com", 13, "10.0.0.2", ("shop.test",))


def test_inventory_is_yaml_that_ansible_reads() -> None:
    yaml = pytest.importorskip("yaml")
    inventory = yaml.safe_load(as_yaml([HOST, Host("web2", 12, "10.0.0.3")]))
    hosts = inventory["flask_servers"]["hosts"]
    assert list(hosts) == ["web1.example.com", "web2"]
    assert hosts["web2"]["ansible_host"] == "10.0.0.3"
    assert hosts["web2"]["ansible_user"] == "admin"
    assert hosts["web2"]["ansible_python_interpreter"] == "/usr/bin/python3"


def test_the_key_of_a_host_is_pinned() -> None:
    arguments = as_yaml([HOST])
    assert "StrictHostKeyChecking=yes" in arguments
    assert f"UserKnownHostsFile={HOST.known_hosts}" in arguments


def test_data_for_programs() -> None:
    assert as_data(HOST).keys() == {
        "name",
        "address",
        "user",
        "port",
        "identity_file",
        "known_hosts",
        "dist",
        "domains",
    }


def test_the_hardware_address_follows_the_address() -> None:
    assert HOST.mac == "02:00:0a:00:00:02"


@pytest.mark.parametrize("name", ["web1", "a", "web1.example.com", "ht-a"])
def test_good_names(name: str) -> None:
    assert NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", "-a", "a-", "Web", "a b", "../a", "a/b", "a" * 64, "a\n"])
def test_bad_names(name: str) -> None:
    assert not NAME.fullmatch(name)


def test_a_domain_is_no_place_for_anything_else() -> None:
    with pytest.raises(HostsError, match="shop"):
        check_names("web1", ["shop.test\n10.0.0.1 bank.test"])


def test_archive_keeps_modes_and_belongs_to_root() -> None:
    with tarfile.open(fileobj=io.BytesIO(archive({"etc/key": ("sécret\n", 0o600)}))) as tar:
        (entry,) = tar.getmembers()
        content = tar.extractfile(entry)
        assert content is not None
        assert content.read().decode() == "sécret\n"
        assert (entry.mode, entry.uid, entry.gid) == (0o600, 0, 0)


def test_images_of_two_releases_differ() -> None:
    assert reference(12) != reference(13)


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200000, "2 d")]
)
def test_duration(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def test_the_newest_release_is_the_default() -> None:
    assert parser().parse_args(["up", "web1"]).dist == 13
    assert parser().parse_args(["up", "web1", "--domain", "a", "--domain", "b"]).domain == ["a", "b"]
