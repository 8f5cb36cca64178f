"""Apps from everywhere, in one run; then new code for them on a host that reaches nobody."""

import io
import subprocess
import tarfile
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest

CONVERGE = str(Path(__file__).parents[2] / "shared" / "converge.yml")
APP = "import greeting\n\ndef app(environ, start_response):\n    return [greeting.TEXT]\n"
LOCKED = (
    '[project]\nname = "locked"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["itsdangerous==2.2.0"]\n'
)


def wheel(directory, name, code):
    """A package of one module, as a wheel."""
    path = directory / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(file, text)
    return str(path)


def archive(directory, files):
    """A compressed tar with one directory at its top, as a release on the web is."""
    path = directory / "shop-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        for name, text in files.items():
            info = tarfile.TarInfo(f"shop-1.0/{name}")
            info.size = len(text)
            packed.addfile(info, io.BytesIO(text.encode()))
    return str(path)


@pytest.fixture
def deploy_key(host, tmp_path):
    """A user of the host's own SSH server that serves repositories, and a key that may read them."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    public = (tmp_path / "key.pub").read_text().strip()
    with host.sudo():
        host.run("useradd --create-home --home-dir /srv/gitolite --shell /bin/sh repos")
        host.check_output("mkdir -p /srv/gitolite/.ssh")
        host.check_output(f"echo 'restrict {public}' > /srv/gitolite/.ssh/authorized_keys")
        host.check_output("chmod 0700 /srv/gitolite/.ssh && chown -R repos /srv/gitolite/.ssh")
    yield (tmp_path / "key").read_text()
    with host.sudo():
        host.check_output("rm /srv/gitolite/.ssh/authorized_keys")


def repository(host, name, commands):
    """A bare repository of the SSH server, made of what some commands write."""
    who = "-c user.name=t -c user.email=t@example.com"
    work, bare = f"/root/{name}", f"/srv/gitolite/{name}.git"
    with host.sudo():
        host.check_output(f"rm -rf {work} {bare} && git init -q --initial-branch=main {work}")
        host.check_output(f"cd {work} && {commands} && git add --all && git {who} commit -qm one")
        host.check_output(f"git clone -q --bare {work} {bare} && chown -R repos {bare}")


@contextmanager
def cut_off(host):
    """No name server and no route to anywhere but the test's own network."""
    with host.sudo():
        route = host.check_output("ip route show default").strip()
        names = host.file("/etc/resolv.conf").content_string
        host.check_output(f"ip route del {route} && : > /etc/resolv.conf")
        try:
            yield
        finally:
            host.check_output(f"ip route add {route}")
            host.check_output(f"printf %s '{names}' > /etc/resolv.conf")


def test_apps_come_from_everywhere_and_new_code_needs_no_network(host, play, deploy_key, tmp_path):
    repository(host, "lib", "echo 'TEXT = b\"from a submodule\"' > greeting.py")
    repository(
        host,
        "mono",
        f"mkdir -p services/hello && printf %s '{APP}' > services/hello/hello.py"
        " && git -c protocol.file.allow=always submodule --quiet add /root/lib services/hello/lib"
        " && git config --file .gitmodules submodule.services/hello/lib.url ../lib.git"
        " && ln -s lib/greeting.py services/hello/greeting.py",
    )
    with host.sudo():
        host_key = host.check_output("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub")
    wheels, locked = tmp_path / "wheels", tmp_path / "locked"
    for directory in (wheels, locked):
        directory.mkdir()
    wheel(wheels, "greeting", 'TEXT = b"from a wheelhouse"')
    (locked / "pyproject.toml").write_text(LOCKED)
    (locked / "locked.py").write_text("import itsdangerous\ndef app(environ, start_response): ...\n")
    subprocess.run(["uv", "lock", "--quiet"], cwd=locked, check=True)
    ssh: dict = {"git": "repos@localhost:/srv/gitolite/mono.git", "version": "main", "subdirectory": "services/hello"}
    ssh |= {"deploy_key": deploy_key, "known_hosts": [f"localhost {host_key}"]}
    packed = {"hello.py": APP, "requirements.txt": "greeting==1.0\n", "constraints.txt": "greeting<2\n"}
    apps = [
        {"name": "overssh", "source": ssh, "wsgi": "hello:app", "installer": "pip"},
        {
            "name": "packed",
            "source": {"archive": archive(tmp_path, packed)},
            "wsgi": "hello:app",
            "wheelhouse": str(wheels),
            "constraints": "constraints.txt",
        },
        {
            "name": "wheeled",
            "source": {"wheel": wheel(tmp_path, "wheeled", "def app(e, s): ...\n")},
            "wsgi": "wheeled:app",
        },
        {"name": "locked", "source": {"path": str(locked)}, "wsgi": "locked:app"},
    ]
    names = [app["name"] for app in apps]
    options = {"python_app_apps": apps, "python_app_extra_requirements": []}

    # The key of the server is not the right one: nothing is built.
    other = [{**apps[0], "source": {**ssh, "known_hosts": [f"localhost ssh-ed25519 {'A' * 68}"]}}]
    refused = play(CONVERGE, **{**options, "python_app_apps": other})
    assert refused.status != 0
    assert "source.known_hosts: the key of the server" in refused.output

    shipped = play(CONVERGE, "-vvv", "--diff", **options)
    assert shipped.status == 0, shipped.output
    assert deploy_key.splitlines()[1] not in shipped.output
    assert "requirements.txt has no hashes" in shipped.output
    with host.sudo():
        assert host.run("ls -d /run/flask-ops/ssh-*").rc != 0
        assert host.run("grep -rl 'PRIVATE KEY' /srv/overssh /etc/flask-ops/overssh").stdout == ""
        environments = {name: host.check_output(f"ls /srv/{name}/environments") for name in names}
        assert host.check_output("cat /srv/overssh/releases/*/app/lib/greeting.py") == 'TEXT = b"from a submodule"'
        assert host.run("find /srv/overssh/releases -name .git").stdout == ""
        assert "/shop-1.0.tar.gz" in host.check_output("cat /srv/packed/releases/*/REVISION")
        assert host.check_output("/srv/locked/releases/*/venv/bin/python -c 'import itsdangerous'") == ""

    # Only code has changed, and the host reaches nobody.
    archive(tmp_path, {**packed, "hello.py": APP + "# changed\n"})
    (locked / "locked.py").write_text("import itsdangerous\ndef app(environ, start_response): 'changed'\n")
    with cut_off(host):
        again = play(CONVERGE, **options)
        more = [{**apps[3], "source": {"pypi": "no-such-package-here==1.0"}}]
        offline = play(CONVERGE, **{**options, "python_app_apps": more})
    assert again.status == 0, again.output
    for name in ("packed", "locked"):
        assert host.check_output(f"ls /srv/{name}/releases").count("\n") == 1
    assert {name: host.check_output(f"ls /srv/{name}/environments") for name in names} == environments
    # A dependency that is not there yet is a clear failure, and leaves nothing half-built.
    assert offline.status != 0
    assert "locked: build of release no-such-package-here" in offline.output
    assert "no-such-package-here" not in host.check_output("ls /srv/locked/releases")
    with host.sudo():
        assert host.check_output("ls /etc/flask-ops/packed/credentials") == ""
