"""Inventories, names and the files that make an image a certain host."""

from __future__ import annotations

import io
import tarfile

import pytest
import yaml
from hosts.host import NAME, Host, archive, check_names
from hosts.image import reference
from hosts.inventory import as_yaml
from hosts.state import HostsError

HOST = Host("web1.example.com", 13, "10.0.0.2", ("shop.test",))


def test_inventory_is_yaml_that_ansible_reads_and_the_key_of_a_host_is_pinned() -> None:
    hosts = yaml.safe_load(as_yaml([HOST, Host("web2", 12, "10.0.0.3")]))["flask_servers"]["hosts"]
    assert list(hosts) == ["web1.example.com", "web2"]
    assert (hosts["web2"]["ansible_host"], hosts["web2"]["ansible_user"]) == ("10.0.0.3", "admin")
    arguments = hosts["web1.example.com"]["ansible_ssh_common_args"]
    assert "StrictHostKeyChecking=yes" in arguments
    assert f"UserKnownHostsFile={HOST.known_hosts}" in arguments


def test_the_hardware_address_follows_the_address() -> None:
    assert HOST.mac == "02:00:0a:00:00:02"


def test_names_are_no_place_for_anything_else() -> None:
    for name in ("", "-a", "a-", "Web", "a b", "../a", "a/b", "a" * 64, "a\n"):
        assert not NAME.fullmatch(name)
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
