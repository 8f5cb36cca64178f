"""The callback that looks for secrets in what Ansible says finds them, also where only -vvv or --diff would show them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SECRET = "canary-0f1e2d3c"


def watched(tmp_path: Path, task: str) -> list[str]:
    """The lines that a run of one task on this machine leaves."""
    play = f"- hosts: localhost\n  gather_facts: false\n  vars: {{secret: {SECRET}}}\n  tasks:\n    - {task}\n"
    (tmp_path / "play.yml").write_text(play)
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
    return leaks.read_text().splitlines()


@pytest.mark.parametrize(
    ("task", "where"),
    [
        ("{ansible.builtin.debug: {msg: 'it is {{ secret }}'}}", "result of"),
        ("{name: 'Say {{ secret }}', ansible.builtin.debug: {msg: x}}", "output"),
        # Told with -v or -vvv only: an argument, and a diff.
        ("{ansible.builtin.command: {argv: [test, -n, '{{ secret }}']}}", "result of"),
        ("{ansible.builtin.copy: {content: '{{ secret }}', dest: '{{ playbook_dir }}/x'}}", "result of"),
    ],
)
def test_a_secret_is_found_and_not_repeated(tmp_path: Path, task: str, where: str):
    first, *rest = watched(tmp_path, task)
    assert first == "watched play.yml"
    assert [line for line in rest if line.startswith(where)]
    assert SECRET not in "".join(rest)


def test_what_is_kept_secret_is_not_found(tmp_path: Path):
    task = "{no_log: true, ansible.builtin.command: {argv: [test, -n, '{{ secret }}']}}"
    assert watched(tmp_path, task) == ["watched play.yml"]
