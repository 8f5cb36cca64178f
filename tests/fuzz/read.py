"""Have nginx, systemd and logrotate read the files in this directory, and print every value that they read differently.

Runs on a host, as root. Needs nothing but Python. What it makes, it removes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RUNTIME = Path("/run/systemd/system")


def run(*command: str | Path) -> tuple[int, str]:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def nginx() -> list[str]:
    """Everything that nginx finds wrong. All paths are changed to this directory, and nothing is opened elsewhere."""
    here, pair = HERE / "nginx", [HERE / "privkey.pem", HERE / "fullchain.pem"]
    (HERE / "log").mkdir(exist_ok=True)
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=fuzz",
        "-keyout", pair[0], "-out", pair[1])  # fmt: skip
    for path in [here / "nginx.conf", *here.glob("*/*.conf")]:
        text = path.read_text()
        for there, instead in {
            "/etc/nginx/mime.types": "/etc/nginx/mime types",
            "/etc/nginx/modules-": "/etc/nginx/modules ",
        }.items():
            text = text.replace(there, instead)
        text = text.replace("/etc/nginx/", f"{here}/").replace("/var/log/nginx/", f"{HERE}/log/")
        text = text.replace(f"{here}/mime types", "/etc/nginx/mime.types").replace(
            f"{here}/modules ", "/etc/nginx/modules-"
        )
        text = re.sub(rf"{here}/certificates/[^/]+/", f"{HERE}/", text).replace("/run/nginx.pid", f"{HERE}/nginx.pid")
        path.write_text(text)
    status, said = run("nginx", "-t", "-c", here / "nginx.conf")
    # So many headers have no site.
    wrong = [line for line in said.splitlines() if "[" in line and "optimal variables_hash" not in line]
    wrong = [
        line for line in wrong if any(f"[{level}]" in line for level in ("emerg", "alert", "crit", "error", "warn"))
    ]
    return wrong or ([f"nginx -t ended with {status}"] if status else [])


def units(expected: dict[str, list[list[str]]]) -> list[str]:
    """Units whose command systemd takes for another one, or in which it finds something that it does not know."""
    wrong = []
    RUNTIME.mkdir(exist_ok=True)
    for path in (HERE / "units").iterdir():
        shutil.copy(path, RUNTIME)
    run("systemctl", "daemon-reload")
    try:
        _, said = run(
            "systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *(RUNTIME / unit for unit in expected)
        )
        wrong += [line for line in said.splitlines() if "fuzz-" in line]
        for unit, words in expected.items():
            place = "".join(c if c.isalnum() and c.isascii() else f"_{ord(c):02x}" for c in unit)
            _, text = run("busctl", "--json=short", "get-property", "org.freedesktop.systemd1",
                          f"/org/freedesktop/systemd1/unit/{place}", "org.freedesktop.systemd1.Service", "ExecStart")  # fmt: skip
            try:
                found = [command[1] for command in json.loads(text)["data"]]
            except ValueError:
                wrong.append(f"{unit}: {text}")
                continue
            if len(found) != len(words):
                wrong.append(f"{unit}: {len(found)} commands are not {len(words)}")
            for one, meant in zip(found, words, strict=False):
                # A dollar is halved when the command is run, and would begin the name of a variable if it stood alone.
                if any("$" in word.replace("$$", "") for word in one) or [w.replace("$$", "$") for w in one] != meant:
                    wrong.append(f"{unit}: {one} is not {meant}")
    finally:
        for unit in expected:
            (RUNTIME / unit).unlink(missing_ok=True)
        run("systemctl", "daemon-reload")
    return wrong


def variables(expected: dict[str, str]) -> list[str]:
    """Variables that a service gets with another value, does not get, or gets in addition."""
    said = subprocess.run(
        ["systemd-run", "--quiet", "--wait", "--pipe", f"--property=EnvironmentFile={HERE}/environment", "env", "-0"],
        capture_output=True, check=False,
    )  # fmt: skip
    found = dict(pair.split("=", 1) for pair in said.stdout.decode(errors="surrogateescape").split("\0") if pair)
    wrong = [
        f"{key}: {found.get(key)!r} is not {value!r}" for key, value in expected.items() if found.get(key) != value
    ]
    systemds_own = {"LANG", "PATH", "INVOCATION_ID", "SYSTEMD_EXEC_PID", "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE",
                    "LOGNAME", "HOME", "USER", "SHELL", "TERM"}  # fmt: skip
    more = found.keys() - expected.keys() - systemds_own
    return wrong + [f"{key} was not asked for" for key in sorted(more) if not key.startswith("FLASK_")]


def schedules(expected: list[str]) -> list[str]:
    status, said = run("systemd-analyze", "calendar", *expected)
    return [line for line in said.splitlines() if "Failed" in line] or ([said[-500:]] if status else [])


def logs() -> list[str]:
    files = sorted((HERE / "logrotate").iterdir())
    for path in files:
        path.chmod(0o644)
    status, said = run("logrotate", "-d", "-s", HERE / "state", *files)
    wrong = [
        line for line in said.splitlines() if line.startswith(("error", "warning")) and "in debug mode" not in line
    ]
    return wrong or ([said[-500:]] if status else [])


def main() -> None:
    os.chdir("/")
    expected = json.loads((HERE / "expected.json").read_text())
    wrong = {
        "nginx": nginx(),
        "units": units(expected["units"]),
        "variables": variables(expected["variables"]),
        "schedules": schedules(expected["schedules"]),
        "logs": logs(),
    }
    json.dump({name: said for name, said in wrong.items() if said}, sys.stdout)


if __name__ == "__main__":
    main()
