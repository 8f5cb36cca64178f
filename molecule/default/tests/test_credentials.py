"""Secrets in a file of systemd's, and in no environment."""

import json

import pytest

SITE = "flask_ops.production.site"
APP = """
import json, os
from demo_app import create_app

with open(os.environ["CREDENTIALS_DIRECTORY"] + "/secrets.json") as stream:
    app = create_app(json.load(stream))
"""


@pytest.mark.usefixtures("once")
def test_an_app_reads_its_secrets_from_a_file_of_systemds(host, play, apps, source, demo):
    (source / "with_credentials.py").write_text(APP)
    options = {
        "source": {"path": str(source)},
        "wsgi": "with_credentials:app",
        "migrate": "flask --app with_credentials db upgrade",
        "secrets": {"SECRET_KEY": "canary-5e0d9c7b1a3f42e8"},
        "secrets_in": "credentials",
    }
    with host.sudo():
        # A booted server has it so by itself; containers do not.
        host.check_output("mount --make-rshared /")
        deployed = play(SITE, "--diff", "-vvv", flask_apps=apps(demo=options))
        assert deployed.status == 0, deployed.output
        assert "canary-" not in deployed.output
        slot = demo.ask("/").json["slot"]
        pid = host.check_output(f"systemctl show --value --property MainPID demo-{slot}.service")
        assert "canary-" not in host.check_output(f"tr '\\0' '\\n' < /proc/{pid}/environ")
        kept = host.file(f"/etc/flask-ops/demo/{slot}/secrets.json")
        assert json.loads(kept.content_string) == options["secrets"]
        assert (kept.user, kept.group, kept.mode) == ("root", "root", 0o600)
        assert "canary-" not in host.file(f"/etc/flask-ops/demo/{slot}/environment").content_string
    assert play(SITE, flask_apps=apps(demo={"source": {"path": str(source)}})).status == 0
