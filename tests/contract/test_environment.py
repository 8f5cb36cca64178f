"""What is tested is this checkout with the pinned tools, and what is published is only what users need."""

import json
import re
import subprocess
import tarfile
from importlib import import_module, metadata
from pathlib import Path

import yaml
from packaging.requirements import Requirement

from tests.package import build

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = {
    "CHANGELOG.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md", "REUSE.toml", "changelogs", "docs", "meta", "playbooks",
    "SECURITY.md", "bindep.txt", "plugins", "requirements.yml", "roles",
}  # fmt: skip


def run(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_python_imports_the_checkout():
    package = import_module("ansible_collections.flask_ops.production")
    assert [Path(place).resolve() for place in package.__path__] == [ROOT]


def test_ansible_finds_the_checkout_and_no_other_copy():
    found = json.loads(run("ansible-galaxy", "collection", "list", "--format", "json"))
    places = [Path(place) for place, collections in found.items() if "flask_ops.production" in collections]
    assert [(place / "flask_ops" / "production").resolve() for place in places] == [ROOT]


def test_the_pins_are_what_is_asked_for_and_what_is_installed():
    asked = [line.split("#")[0].strip() for line in (ROOT / "tests/requirements.in").read_text().splitlines()]
    pins = set(re.findall(r"^([\w.-]+==\S+)", (ROOT / "tests/requirements.txt").read_text(), re.MULTILINE))
    for need in [Requirement(line) for line in asked if line and not line.startswith("-r ")]:
        version = metadata.version(need.name)
        assert f"{need.name.lower()}=={version}" in pins, f"{need} is not pinned as {version}: run `make pins`"
        assert need.specifier.contains(version), f"{need} is pinned as {version}: run `make pins`"


def test_the_package_holds_only_what_users_need(tmp_path: Path):
    with tarfile.open(build(tmp_path)) as archive:
        names = archive.getnames()
    assert {name.split("/")[0] for name in names} <= PUBLISHED
    assert [name for name in names if "/." in name or "__pycache__" in name or "/fragments" in name] == []


def test_an_execution_environment_gets_what_the_collection_needs(tmp_path: Path):
    collection = tmp_path / "ansible_collections" / "flask_ops" / "production"
    with tarfile.open(build(tmp_path)) as archive:
        archive.extractall(collection, filter="data")
    found = yaml.safe_load(run("ansible-builder", "introspect", str(tmp_path)))
    assert [line.split()[0] for line in found["python"]] == ["libpass>=1.9", "bcrypt>=4"]
    assert [line.split()[0] for line in found["system"]] == ["openssh-client", "openssh-clients", "git"]
