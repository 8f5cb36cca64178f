"""An app that somebody has taken over: what it tries as the app's user, inside the sandbox of its slot, is refused."""

import json
import re
import shlex
from pathlib import Path

import pytest

from tests import intruder

UNIT = "flask-ops-intruder.service"
PROGRAM, OUTPUT, SEEN = "/run/flask-ops-intruder.py", "/run/flask-ops-intruder.json", "/tmp/flask-ops-seen"

HIDDEN = {
    "see the host's /tmp",
    "list the homes",
    "list the keys of builds",
    "see another app's process",
    "read another app's environment in /proc",
    "read the environment of process 1",
    "write a setting of the kernel",
    "read the kernel's log by its device",
    "read the memory of the host",
}
"""What is not there at all inside the sandbox. Anything else is there, and refused."""


def as_intruder(slot, arguments):
    """A slot's unit, with another program."""
    for directive in ("Requires", "After", "Type", "Restart.*", "Start.*", "OnFailure"):
        slot = re.sub(rf"^{directive}=.*\n", "", slot, flags=re.MULTILINE)
    program = f"/usr/bin/python3 {PROGRAM} {shlex.quote(json.dumps(arguments))}"
    slot, replaced = re.subn(r"^ExecStart=.*$", lambda _: f"ExecStart={program}", slot, flags=re.MULTILINE)
    assert replaced == 1
    return slot.replace("[Service]\n", f"[Service]\nType=oneshot\nStandardOutput=truncate:{OUTPUT}\n")


@pytest.mark.parametrize(("app", "other"), [("demo", "httpbin")])
def test_an_app_that_was_taken_over_gets_nowhere(host, app, other):
    with host.sudo():
        slot = next(s for s in ("blue", "green") if host.service(f"{app}-{s}.service").is_running)
        running = next(s for s in ("blue", "green") if host.service(f"{other}-{s}.service").is_running)
        pid = int(host.check_output(f"systemctl show --value --property MainPID {other}-{running}.service"))
        arguments = {"app": app, "other": other, "pid": pid, "seen": SEEN}
        unit = as_intruder(host.file(f"/etc/systemd/system/{app}-{slot}.service").content_string, arguments)
        host.check_output("touch %s", SEEN)
        host.check_output("printf %%s %s > %s", Path(intruder.__file__).read_text(), PROGRAM)
        host.check_output("chmod 644 %s", PROGRAM)  # one host has a strict umask
        host.check_output("printf %%s %s > %s", unit, f"/run/systemd/system/{UNIT}")
        try:
            done = host.run(f"systemctl daemon-reload && systemctl start {UNIT}")
            assert done.rc == 0, done.stderr + host.run(f"journalctl -u {UNIT} --lines 20").stdout
            tries = json.loads(host.file(OUTPUT).content_string)
        finally:
            host.run(f"rm -f /run/systemd/system/{UNIT} {PROGRAM} {OUTPUT} {SEEN}; systemctl daemon-reload")
    assert tries.keys() == intruder.tries(**arguments).keys()
    assert [name for name, refusal in tries.items() if refusal is None] == []
    missing = {name for name, refusal in tries.items() if "No such file" in refusal}
    assert missing <= HIDDEN, tries
