"""Secrets in files of systemd's, and in no environment."""

import hashlib
import json

import pytest

SITE = "flask_ops.production.site"
APP = """
import hashlib, json, os, pathlib
from demo_app import create_app

with open(os.environ["CREDENTIALS_DIRECTORY"] + "/secrets.json") as stream:
    app = create_app(json.load(stream))


@app.get("/credentials")
def credentials():
    # Checksums alone: the content is secret.
    directory = pathlib.Path(os.environ["CREDENTIALS_DIRECTORY"])
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}
"""

KEY = "-----BEGIN KEY-----\ncanary-0badc0de\n-----END KEY-----\n"


@pytest.mark.usefixtures("once")
def test_an_app_reads_its_secrets_from_files_of_systemds(host, play, apps, source, demo):
    (source / "with_credentials.py").write_text(APP)
    options = {
        "source": {"path": str(source)},
        "wsgi": "with_credentials:app",
        "migrate": "flask --app with_credentials db upgrade",
        "secrets": {"SECRET_KEY": "canary-5e0d9c7b1a3f42e8"},
        "secrets_in": "credentials",
        "secret_files": {"client.pem": KEY, "google.json": '{"private_key": "canary-77aa01"}'},
    }
    with host.sudo():
        # A booted server has it so by itself; containers do not.
        host.check_output("mount --make-rshared /")
        deployed = play(SITE, "--diff", "-vvv", flask_apps=apps(demo=options))
        assert deployed.status == 0, deployed.output
        assert "canary-" not in deployed.output
        slot = demo.ask("/").json["slot"]
        read = demo.ask("/credentials").json
        assert sorted(read) == ["client.pem", "google.json", "secrets.json"]
        assert read["client.pem"] == hashlib.sha256(KEY.encode()).hexdigest()
        pid = host.check_output(f"systemctl show --value --property MainPID demo-{slot}.service")
        assert "canary-" not in host.check_output(f"tr '\\0' '\\n' < /proc/{pid}/environ")
        kept = host.file(f"/etc/flask-ops/demo/{slot}/credentials/secrets.json")
        assert json.loads(kept.content_string) == options["secrets"]
        assert (kept.user, kept.group, kept.mode) == ("root", "root", 0o600)
        assert "canary-" not in host.file(f"/etc/flask-ops/demo/{slot}/environment").content_string
        # One that changes and one that goes: the other slot has what is wanted now, and the host no more.
        options["secret_files"] = {"client.pem": KEY * 2}
        changed = play(SITE, "--diff", "-vvv", flask_apps=apps(demo=options))
        assert changed.status == 0, changed.output
        assert "canary-" not in changed.output
        assert demo.ask("/").json["slot"] != slot
        assert demo.ask("/credentials").json["client.pem"] == hashlib.sha256((KEY * 2).encode()).hexdigest()
        assert host.check_output("ls /etc/flask-ops/demo/credentials").split() == ["client.pem", "secrets.json"]
    assert play(SITE, flask_apps=apps(demo={"source": {"path": str(source)}})).status == 0
