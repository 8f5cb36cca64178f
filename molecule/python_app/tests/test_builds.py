"""Builds of every kind succeed; nothing that one leaves behind outlives it; secrets stay secret."""

import json
import textwrap
from pathlib import Path

import pytest

CONVERGE = str(Path(__file__).parents[2] / "shared" / "converge.yml")
REMOVAL = [
    {
        "hosts": "all",
        "become": True,
        "tasks": [
            {
                "flask_ops.production.prepare_apps": {"name": "python_app_apps", "roles": ["python_app"]},
                "register": "__python_app_prepared",
            },
            {"ansible.builtin.include_role": {"name": "flask_ops.production.python_app", "tasks_from": "remove"}},
        ],
    }
]
SERVE = "def app(environ, start_response): ...\n"
WHO = "-c user.name=t -c user.email=t@example.com"

BACKENDS = {
    "flit": ["flit_core<4", "flit_core.buildapi"],
    "hatch": ["hatchling", "hatchling.build"],
    "setuptools": ["setuptools", "setuptools.build_meta"],
    "poetry": ["poetry-core", "poetry.core.masonry.api"],
    "pdm": ["pdm-backend", "pdm.backend"],
    "uvbuild": ["uv_build", "uv_build"],
}


def pyproject(name, requires, backend, *more):
    return (
        f'[build-system]\nrequires = ["{requires}"]\nbuild-backend = "{backend}"\n'
        f'[project]\nname = "{name}"\nversion = "1.0"\ndescription = "x"\ndependencies = ["itsdangerous==2.2.0"]\n'
        + "\n".join(more)
    )


def written(directory, files):
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(textwrap.dedent(text))
    return {"path": str(directory)}


def python(host, app, code):
    with host.sudo(app):
        return host.check_output(f"cd / && $(ls -td /srv/{app}/releases/* | head -1)/venv/bin/python -c '{code}'")


def test_projects_of_every_build_backend_are_installed(host, play, tmp_path):
    apps = [
        {
            "name": f"by-{name}",
            "source": written(
                tmp_path / name,
                # A src layout, and the version of another Python, as 'uv init' writes it.
                {"pyproject.toml": pyproject(f"shop-{name}", *backend), f"src/shop_{name}/__init__.py": SERVE, ".python-version": "3.9\n"},
            ),
            "wsgi": f"shop_{name}:app",
        }
        for name, backend in BACKENDS.items()
    ]  # fmt: skip
    listed = written(
        tmp_path / "listed",
        {
            "pyproject.toml": pyproject("listed", "flit_core<4", "flit_core.buildapi", '[project.optional-dependencies]\nprod = ["blinker==1.9.0"]\n'),
            "requirements.txt": "itsdangerous==2.2.0\n",
            "src/listed/__init__.py": SERVE,
            "lib/pyproject.toml": pyproject("lib", "flit_core<4", "flit_core.buildapi"),
            "lib/lib.py": '"""Lib."""\n',
            "relative.txt": "-e .\n./lib\n",
            "make.py": "import os\nopen('built.txt', 'w').write(os.environ['GREETING'] + os.environ['VIRTUAL_ENV'])\n",
        },
    )  # fmt: skip
    command = {"command": "python make.py", "env": {"GREETING": "hello"}}
    apps += [
        {"name": "by-list", "source": listed, "wsgi": "listed:app", "build": command},
        {"name": "by-paths", "source": listed, "wsgi": "listed:app", "requirements": "relative.txt"},
        {"name": "by-extra", "source": listed, "wsgi": "listed:app", "requirements": "pyproject.toml", "extras": ["prod"],
         "extra_requirements": ["markupsafe==3.0.3"], "files": {"conf/settings.py": "A = 1\n"}},
    ]  # fmt: skip
    built = play(CONVERGE, python_app_apps=apps, python_app_extra_requirements=[])
    assert built.status == 0, built.output
    for app in apps:
        module = app["wsgi"].partition(":")[0]
        assert python(host, app["name"], f"import itsdangerous, {module}") == ""
    assert python(host, "by-paths", "import lib") == ""
    assert python(host, "by-extra", "import blinker, markupsafe") == ""
    with host.sudo():
        assert host.check_output("cat /srv/by-list/releases/*/app/built.txt").startswith(
            "hello/srv/by-list/environments/"
        )
        assert host.check_output("cat /srv/by-extra/releases/*/app/conf/settings.py") == "A = 1"
    again = play(CONVERGE, python_app_apps=apps, python_app_extra_requirements=[])
    assert not again.changed, again.output

    # An error quotes the user's own command, and nothing is left behind.
    broken = {**apps[-3], "build": {"command": "python no_such_file.py"}}
    failed = play(CONVERGE, python_app_apps=[broken], python_app_extra_requirements=[])
    assert failed.status != 0
    assert "'python no_such_file.py' exited with status 2" in failed.output
    for place in ("releases", "environments"):
        assert host.check_output(f"ls /srv/by-list/{place}").count("\n") == 0


@pytest.fixture
def private_server(host):
    """A server that gives a repository by HTTPS to those who know a token."""
    with host.sudo():
        host.check_output("mkdir -p /root/https && cd /root/https && rm -rf work shop.git && git init -q -b main work")
        host.check_output(
            "cd /root/https && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
            " -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem 2>/dev/null"
            " && cp cert.pem /usr/local/share/ca-certificates/private-server.crt && update-ca-certificates"
        )
        project = pyproject("scm", "setuptools-scm[toml]>=8", "setuptools.build_meta").replace(
            'version = "1.0"', 'dynamic = ["version"]'
        )
        for name, text in {
            "pyproject.toml": project + "\n[tool.setuptools_scm]\n",
            "src/scm/__init__.py": SERVE,
        }.items():
            host.check_output(f"mkdir -p $(dirname /root/https/work/{name})")
            host.check_output(f"printf %s '{text}' > /root/https/work/{name}")
        host.check_output(
            f'cd /root/https/work && sed -i \'s/"setuptools-scm/"setuptools", "setuptools-scm/\' pyproject.toml'
            f" && git add --all && git {WHO} commit -qm one && git tag v1.4.2"
            " && git clone -q --bare . ../shop.git && git -C ../shop.git update-server-info"
        )
        server = """
            import base64, functools, http.server, ssl
            class Handler(http.server.SimpleHTTPRequestHandler):
                def do_GET(self):
                    wanted = "Basic " + base64.b64encode(b"x-token-auth:canary-70ce2b9f1d").decode()
                    if self.headers.get("Authorization") == wanted:
                        return super().do_GET()
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", "Basic realm=git")
                    self.end_headers()
            server = http.server.HTTPServer(("127.0.0.1", 8443), functools.partial(Handler, directory="/root/https"))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain("/root/https/cert.pem", "/root/https/key.pem")
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.serve_forever()
        """
        host.check_output(
            "umask 077; printf %s '{}' > /root/https/server.py".format(textwrap.dedent(server).replace("'", ""))
        )
        host.check_output("systemd-run --unit=private-server --collect python3 /root/https/server.py")
        yield "https://localhost:8443/shop.git"
        host.run("systemctl stop private-server")
        host.run("rm /usr/local/share/ca-certificates/private-server.crt && update-ca-certificates --fresh")


def test_a_token_opens_a_repository_and_tags_give_a_version(host, play, private_server):
    source = {"git": private_server, "version": "v1.4.2", "token": "canary-70ce2b9f1d"}
    app = {"name": "by-token", "source": source, "wsgi": "scm:app"}
    options: dict = {"python_app_extra_requirements": []}
    refused = play(CONVERGE, python_app_apps=[{**app, "source": {**source, "token": "canary-00000000"}}], **options)
    assert refused.status != 0
    assert "source.token: the token for https://localhost:8443/shop.git is not accepted" in refused.output
    built = play(CONVERGE, "-vvv", "--diff", python_app_apps=[app], **options)
    assert built.status == 0, built.output
    assert "canary-70ce2b9f1d" not in built.output + refused.output
    version = python(host, "by-token", 'from importlib.metadata import version; print(version("scm"))')
    assert version == "1.4.2"
    with host.sudo():
        assert host.run("grep -rlF -e canary-70ce2b9f1d /srv/by-token /run/flask-ops /etc/flask-ops /tmp").stdout == ""
        assert host.check_output("ls -A /run/flask-ops/.build") == ""
        assert host.run("find /srv/by-token/releases -name .git").stdout == ""
        # A process of the app sees nothing of a build, although both have the same user.
        build = "systemd-run --quiet --collect --unit=as-a-build --uid=by-token --gid=nogroup"
        host.check_output(f"{build} --property=SupplementaryGroups=by-token sleep 60")
        process = host.check_output("systemctl show --property=MainPID --value as-a-build")
    with host.sudo("by-token"):
        for path in (
            "/srv/by-token/.build/work",
            "/run/flask-ops/.build",
            f"/proc/{process}/root/",
            f"/proc/{process}/fd/0",
        ):
            assert "Permission denied" in host.run(f"ls --dereference {path}").stderr, path
        assert host.run(f"cat /proc/{process}/environ").rc != 0
    with host.sudo():
        host.run("systemctl stop as-a-build")


EVIL = """
    import glob, json, os, time, zipfile

    def build_wheel(directory, config_settings=None, metadata_directory=None):
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        seen = {"nnp": status["NoNewPrivs"].strip(), "seccomp": status["Seccomp"].strip(), "gid": os.getgid()}
        seen["others"] = [p for p in glob.glob("/proc/[0-9]*") if os.stat(p).st_uid not in (os.getuid(),)]
        for path in ("/srv/evil/shared/x", "/srv/evil/releases/x", "/etc/x", "/var/tmp/../../srv/x"):
            try:
                open(path, "w").close()
                seen["wrote"] = path
            except OSError:
                pass
        stream = open(os.path.join(os.getcwd(), "data.txt"), "w")
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            for _ in range(600):
                stream.write("changed ")
                stream.flush()
                time.sleep(0.1)
            os._exit(0)
        name = "evil-1.0-py3-none-any.whl"
        with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
            wheel.writestr("report.py", "SEEN = " + repr(seen))
            wheel.writestr("evil-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: evil\\nVersion: 1.0\\n")
            wheel.writestr("evil-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
            wheel.writestr("evil-1.0.dist-info/RECORD", "")
        return name
"""


def test_nothing_of_a_build_outlives_it(host, play, tmp_path):
    source = written(
        tmp_path / "evil",
        {
            "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
            '[project]\nname = "evil"\nversion = "1.0"\n',
            "backend.py": EVIL,
            "evil.py": SERVE,
        },
    )
    app = {"name": "evil", "source": source, "wsgi": "evil:app"}
    options: dict = {"python_app_extra_requirements": []}
    built = play(CONVERGE, python_app_apps=[app], **options)
    assert built.status == 0, built.output
    with host.sudo():
        assert host.run("pgrep -u evil").rc == 1
        before = host.check_output("cat /srv/evil/releases/*/app/data.txt")
        assert before.startswith("changed")
        host.run("sleep 2")
        assert host.check_output("cat /srv/evil/releases/*/app/data.txt") == before
        assert host.run("systemctl is-active flask-ops-build-evil.service").stdout.strip() == "inactive"
    seen = python(host, "evil", "import report; print(report.SEEN)")
    assert "'nnp': '1', 'seccomp': '2'" in seen
    assert "'others': []" in seen
    assert "wrote" not in seen

    # Processes that run as the app's user do not keep it on the host.
    with host.sudo():
        host.check_output("systemd-run --quiet --collect --unit=left-behind --uid=evil sleep 600")
    removal = tmp_path / "remove.yml"
    removal.write_text(json.dumps(REMOVAL))
    removed = play(str(removal), python_app_apps=[{**app, "state": "absent"}], **options)
    assert removed.status == 0, removed.output
    assert not host.user("evil").exists


def test_requirements_that_lead_out_of_the_source_are_refused_at_once(host, play, tmp_path):
    source = tmp_path / "led-out"
    written(source, {"evil.py": SERVE})
    (source / "requirements.txt").symlink_to("/proc/kmsg")
    refused = play(CONVERGE, python_app_apps=[{"name": "evil", "source": {"path": str(source)}, "wsgi": "evil:app"}])
    assert refused.status != 0
    assert "requirements.txt cannot be read: " in refused.output


def test_an_old_server_among_the_requirements_is_replaced_with_a_warning(host, play, tmp_path):
    source = written(tmp_path / "old", {"requirements.txt": "gunicorn==21.2.0\n", "old.py": SERVE})
    built = play(CONVERGE, python_app_apps=[{"name": "old", "source": source, "wsgi": "old:app"}])
    assert built.status == 0, built.output
    assert "the app's requirements pin gunicorn 21.2.0, which is too old" in " ".join(built.output.split())
    assert python(host, "old", "import gunicorn; print(gunicorn.__version__)") == "27.0.1"


def test_the_users_number_may_change(host, play, tmp_path):
    source = written(tmp_path / "moved", {"moved.py": SERVE})
    apps = {
        "python_app_apps": [{"name": "moved", "source": source, "wsgi": "moved:app"}],
        "python_app_extra_requirements": [],
    }
    assert play(CONVERGE, **apps).status == 0
    with host.sudo():
        uid, gid = host.check_output("id -u moved"), host.check_output("id -g moved")
        # Somebody else has the numbers by the time the user is made again.
        host.check_output(
            f"userdel moved && groupadd --gid {gid} spare && useradd --no-create-home --uid {uid} --gid {gid} spare"
        )
    repaired = play(CONVERGE, **apps)
    assert repaired.status == 0, repaired.output
    assert python(host, "moved", "import sys; print(1)") == "1"
    with host.sudo("moved"):
        assert host.run("cat /srv/moved/releases/*/app/moved.py").rc == 0
    assert not play(CONVERGE, **apps).changed
    with host.sudo():
        host.run("userdel spare")
