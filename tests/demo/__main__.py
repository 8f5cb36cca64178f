"""The demonstration: `python3 tests/demo up` makes a bare host a production server, `down` removes it.

Needs the project's environment (`make demo` provides it). It does what a user does: one inventory, one playbook.
"""

from __future__ import annotations

import shlex
import shutil
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".venv" / "demo"
HOST = "demo"
DOMAIN = "demo.flask-ops.test"
HOSTS = ["python3", "tests/hosts"]

SUMMARY = """
{url} answers:

{answer}

What was set up on {address}:
{state}

Ready after {seconds:.0f} s. Look around:   {ssh}
Ask it yourself:          curl --cacert {certificate} {url}
Remove it:                make demo-stop
"""

STATE = """
echo '- units'; systemctl list-units --plain --no-legend 'demo-*' nginx.service | sed 's/^/    /'
echo '- ports'; ss --no-header --listening --tcp --numeric | awk '{print "    " $4}' | sort -u
echo '- paths'; sudo find /srv/demo /srv/demo/releases /etc/flask-ops/demo /run/flask-ops/demo /etc/nginx/sites-enabled -mindepth 1 \\
  -maxdepth 1 ! -name '.*' | sort | sed 's/^/    /'
"""


def up() -> None:
    """Start the host, apply the playbook, and show from outside that the app answers."""
    began = time.monotonic()
    WORK.mkdir(parents=True, exist_ok=True)
    WORK.chmod(0o700)
    inventory = WORK / "hosts.yml"
    inventory.write_text(run(*HOSTS, "up", HOST, "--dist", "13", "--domain", DOMAIN))
    subprocess.run(
        ["ansible-playbook", "-i", inventory, "-i", "inventories/demo", "playbooks/site.yml"], cwd=ROOT, check=True
    )
    ssh = ssh_command(inventory)
    certificate = WORK / "demo.crt"
    certificate.write_text(run(*ssh, "sudo cat /etc/nginx/certificates/demo/fullchain.pem"))
    url = f"https://{DOMAIN}/"
    print(
        SUMMARY.format(
            url=url,
            answer=ask(url, certificate),
            address=ssh[-1].partition("@")[2],
            state=run(*ssh, STATE).strip(),
            seconds=time.monotonic() - began,
            ssh=shlex.join(ssh),
            certificate=certificate.relative_to(ROOT),
        )
    )


def down() -> None:
    """Remove the host and all that the demonstration wrote."""
    subprocess.run([*HOSTS, "down", HOST], cwd=ROOT, check=True)
    shutil.rmtree(WORK, ignore_errors=True)


def ask(url: str, certificate: Path) -> str:
    """The app's answer, trusting the certificate that its server made and no other."""
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    context = ssl.create_default_context(cafile=str(certificate))
    with urllib.request.urlopen(request, context=context, timeout=30) as answer:
        return str(answer.read().decode().strip())


def ssh_command(inventory: Path) -> list[str]:
    """How to reach the host, from the inventory that Ansible uses."""
    host = yaml.safe_load(inventory.read_text())["flask_servers"]["hosts"][HOST]
    arguments = shlex.split(host["ansible_ssh_common_args"])
    key = host["ansible_ssh_private_key_file"]
    return ["ssh", *arguments, "-i", key, f"{host['ansible_user']}@{host['ansible_host']}"]


def run(*command: str) -> str:
    """Run a command whose progress (standard error) is shown, and return what it printed."""
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    commands = {"up": up, "down": down}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(f"usage: {sys.argv[0]} up|down")
    try:
        commands[sys.argv[1]]()
    except subprocess.CalledProcessError as error:
        sys.exit(f"The demonstration stopped: {shlex.join(map(str, error.cmd))[:200]} ended with {error.returncode}.")
