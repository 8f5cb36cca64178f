"""The end state that all tools have to reach: what site.yml changed on a bare host, taken from the host itself.

So no list can be out of date, and every tool writes the same bytes. Where it favours somebody, it favours the
others: they find every file rendered, every name looked up, and nothing in it depends on a variable.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.hosts import Host

APP = "demo"

# Lines of three kinds; what a bare host has too is left out.
ON_HOST = """
apt-mark showmanual | sed 's/^/package /'
systemctl list-units --plain --no-legend --state=active --type=service,socket,timer | awk '{print "unit " $1}'
"""

# What was written since the mark was set, and not by packages, tools that build, or the clock.
WRITTEN = """
find /etc /opt /var/lib/flask-ops -newer /var/tmp/benchmark-mark ! -path '*/uv-*' ! -path '*/certbot*' \\
  ! -path '/etc/ssl/*' ! -path '/etc/alternatives*' ! -path '/etc/rc?.d*' ! -path '/etc/init.d*' \\
  ! -path '/etc/.pwd.lock' ! -path '/etc/ld.so.cache' ! -path '/etc/mailcap' \\
  ! -path '/etc/passwd*' ! -path '/etc/group*' ! -path '/etc/shadow*' ! -path '/etc/gshadow*' ! -path '/etc/sub?id*' \\
  -printf '%y|%p|%u|%g|%m|%l\\n' 2>/dev/null | sort -t '|' -k 2 || true
"""

RELEASE = f"""
readlink -f /srv/{APP}/current
readlink -f /srv/{APP}/current/venv
/srv/{APP}/current/venv/bin/python -c 'import gunicorn; print(gunicorn.__version__)'
"""

PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")


@dataclass(frozen=True)
class State:
    """What the peers are told."""

    app: str
    domain: str
    release: str
    venv: str
    gunicorn: str
    repository: str
    packages: list[str]
    units: list[str]
    directories: list[dict[str, str]]
    files: list[dict[str, str]]
    links: list[dict[str, str]]
    masked: list[str]
    """Units that packages bring, and that never run."""
    absent: list[str]
    certificates: list[str]
    """Directories, each with a key and a self-signed certificate that every host makes for itself."""

    @property
    def slots(self) -> list[str]:
        """The unit of the app."""
        return [unit for unit in self.units if re.fullmatch(rf"{self.app}-(blue|green)\.service", unit)]

    def write(self, folder: Path, host: Host) -> None:
        """For programs: what there is, and for the shell all of the files in one archive."""
        paths = [one["path"] for one in [*self.directories, *self.files, *self.links]]
        (folder / "files.tar").write_bytes(packed_files(host, paths))
        (folder / "state.json").write_text(json.dumps({**asdict(self), "slots": self.slots}, indent=1))

    def as_variables(self) -> dict[str, str]:
        """For a shell: lists become words."""
        plain = {**asdict(self), "slots": self.slots}
        lists = {name: " ".join(value) for name, value in plain.items() if isinstance(value, list) and is_words(value)}
        return {name: value for name, value in plain.items() if isinstance(value, str)} | lists


def bare(host: Host) -> set[str]:
    """What a host has before any tool was there; sets the mark."""
    host.root("touch /var/tmp/benchmark-mark; sleep 0.1")
    return set(host.root(ON_HOST).splitlines())


def capture(host: Host, before: set[str], domain: str, repository: str, folder: Path) -> State:
    """Describe what came to a host since; the texts of its files go into a folder."""
    added = sorted(set(host.root(ON_HOST).splitlines()) - before)
    found = [dict(zip(FIELDS, line.split("|"), strict=True)) for line in host.root(WRITTEN).splitlines()]
    files = [one for one in found if one["kind"] == "f"]
    fetch_files(host, [one["path"] for one in files], folder)
    secret = {one["path"] for one in files if PRIVATE_KEY.search((folder / one["path"][1:]).read_bytes())}
    certificates = sorted({str(Path(path).parent) for path in secret})
    release, venv, gunicorn = host.root(RELEASE).split()
    # Enabled units are asked for as units.
    links = [one for one in found if one["kind"] == "l" and ".wants/" not in one["path"]]
    owned_by_packages = set(host.root(DIRECTORIES_OF_PACKAGES).splitlines())
    return State(
        app=APP,
        domain=domain,
        release=release,
        venv=venv,
        gunicorn=gunicorn,
        repository=repository,
        packages=of_kind("package", added),
        # What runs once and ends is started by its timer.
        units=[unit for unit in of_kind("unit", added) if unit != "flask-ops-metrics.service"],
        directories=[
            one for one in found if one["kind"] == "d" and one["path"] not in owned_by_packages | set(certificates)
        ],
        files=[
            one | {"source": str(folder / one["path"][1:])}
            for one in files
            if not any(one["path"].startswith(f"{directory}/") for directory in certificates)
            or not one["path"].endswith((".pem", ".crt", ".key"))
        ],
        links=[one for one in links if one["target"] != "/dev/null"],
        masked=[one["path"] for one in links if one["target"] == "/dev/null"],
        # Debian's welcome page would be the default server.
        absent=["/etc/nginx/sites-enabled/default"],
        certificates=certificates,
    )


FIELDS = ("kind", "path", "owner", "group", "mode", "target")
DIRECTORIES_OF_PACKAGES = "cat /var/lib/dpkg/info/*.list | sort -u | grep -E '^/(etc|opt|var/lib)'"


def is_words(value: list[object]) -> bool:
    return all(isinstance(one, str) for one in value)


def of_kind(kind: str, lines: list[str]) -> list[str]:
    return [line.removeprefix(f"{kind} ") for line in lines if line.startswith(f"{kind} ")]


def digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def fetch_files(host: Host, paths: list[str], folder: Path) -> None:
    packed = packed_files(host, paths)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")


def packed_files(host: Host, paths: list[str]) -> bytes:
    """An archive with the names of owners."""
    return host.fetch("tar --no-recursion -cpf - --files-from=- 2>/dev/null", "\n".join(paths).encode())


def checks(state: State) -> dict[str, str]:
    """What must hold on every host, whoever set it up: a name, and a command that then succeeds."""
    domain = state.domain
    answer = f"curl --silent --insecure --max-time 10 --resolve {domain}:443:127.0.0.1 --resolve {domain}:80:127.0.0.1"
    return {
        "the packages are installed": f"dpkg-query --show {' '.join(state.packages)}",
        "the user cannot log in": f"getent passwd {state.app} | grep -q nologin",
        "the units run": f"systemctl is-active {' '.join(state.units)}",
        "the app runs from its release": (
            f"systemctl show -P WorkingDirectory {' '.join(state.slots)} | grep -q ^{Path(state.release).parent}/"
        ),
        "the database is migrated": f"{answer} https://{domain}/healthz | grep -q ok",
        "the app answers over HTTPS": f"{answer} --fail https://{domain}/",
        "HTTP leads to HTTPS": f"{answer} --head http://{domain}/ | grep -q 'HTTP/1.1 301'",
        "nginx serves the static files": f"{answer} --fail --head https://{domain}/static/style.css | grep -qi etag",
        "the certificate is self-signed, for the domain": (
            f"openssl s_client -connect 127.0.0.1:443 -servername {domain} </dev/null 2>/dev/null "
            f"| openssl x509 -noout -checkhost {domain} | grep -q 'does match'"
        ),
        "nginx likes its configuration": "nginx -t",
        "logrotate likes its configuration": "logrotate --debug /etc/logrotate.conf",
        "the exporter answers": "ss --no-header --listening --tcp --numeric | grep -q ':9100 '",
        "secrets are for root alone": f"test $(stat -c %a /etc/flask-ops/{state.app}/environment) = 600",
        "every file has its content, owner, group and mode": "\n".join(
            f"test \"$(stat -c '%U %G %a' {one['path']})\" = '{one['owner']} {one['group']} {one['mode']}'\n"
            f"test \"$(sha256sum < {one['path']})\" = '{digest(one['source'])}  -'"
            for one in state.files
        ),
    }


def broken(host: Host, promised: dict[str, str]) -> list[str]:
    """The names of the checks that fail on a host."""
    script = "".join(
        f"( set -euo pipefail\n{command}\n) >/dev/null 2>&1 || echo {json.dumps(name)}\n"
        for name, command in promised.items()
    )
    return host.root(script).splitlines()


def told(state: State) -> dict[str, Any]:
    """How much there is to do."""
    return {
        name: len(getattr(state, name))
        for name in ("packages", "units", "directories", "files", "links", "certificates")
    }
