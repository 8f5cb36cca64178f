"""The callback that looks for secrets in the output of Ansible finds them, also where only -vvv or --diff would show them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SECRET = "canary-0f1e2d3c"
PLAY = """
- hosts: localhost
  gather_facts: false
  vars: {secret: %s}
  tasks:
    - {name: message, ansible.builtin.debug: {msg: "it is {{ secret }}"}}
    - {name: "name {{ secret }}", ansible.builtin.debug: {msg: x}}
    # With -v or -vvv only: an argument, and a diff.
    - {name: argument, ansible.builtin.command: {argv: [test, -n, "{{ secret }}"]}}
    - {name: diff, ansible.builtin.copy: {content: "{{ secret }}", dest: "{{ playbook_dir }}/x"}}
    - {name: hidden, no_log: true, ansible.builtin.command: {argv: [test, -n, "{{ secret }}"]}}
"""


def test_each_secret_is_found_and_not_repeated_and_what_is_hidden_is_not_found(tmp_path: Path):
    (tmp_path / "play.yml").write_text(PLAY % SECRET)
    leaks = tmp_path / "leaks.txt"
    environment = os.environ | {
        "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests" / "leaks" / "callbacks"),
        "ANSIBLE_CALLBACKS_ENABLED": "leaks",
        "ANSIBLE_DIFF_ALWAYS": "true",
        "FLASK_OPS_LEAKS": str(leaks),
    }
    command = ["ansible-playbook", "-c", "local", "-i", "localhost,", str(tmp_path / "play.yml")]
    subprocess.run(
        command, env=environment, capture_output=True, check=True, stdin=subprocess.DEVNULL, start_new_session=True
    )
    text = leaks.read_text()
    first, *lines = text.splitlines()
    assert first == "watched play.yml"
    found = {line.split(": ...")[0] for line in lines}
    assert {"result of 'message'", "result of 'argument'", "result of 'diff'"} <= found
    assert not [line for line in lines if "hidden" in line]
    assert SECRET not in text
    assert [line for line in lines if line.startswith("output: ...") and "TASK [name" in line], text
