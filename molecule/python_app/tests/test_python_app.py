"""A release of each app is on the host, and trusted by nobody more than it must be."""

from pathlib import Path

import pytest

APPS = ["fromgit", "fromdir"]
CONVERGE = Path(__file__).parents[2] / "shared" / "converge.yml"


@pytest.fixture(params=APPS)
def app(request):
    return request.param


@pytest.fixture
def release(host, app):
    """The one complete release of an app. Nothing has put it into traffic, so no link names it yet."""
    found = host.check_output(f"ls -d /srv/{app}/releases/*").splitlines()
    assert len(found) == 1
    assert host.file(f"{found[0]}/.complete").exists
    return found[0]


def test_the_app_has_a_user_that_cannot_log_in(host, app):
    user = host.user(app)
    assert user.shell == "/usr/sbin/nologin"
    assert user.home == f"/srv/{app}"
    assert user.uid < 1000


def test_the_release_belongs_to_root_and_is_for_the_app_to_read(host, app, release):
    for part in ("app", "venv"):
        tree = host.file(host.check_output(f"readlink -f {release}/{part}"))
        assert (tree.user, tree.group, tree.mode) == ("root", app, 0o750)
    with host.sudo():
        foreign = host.check_output(f"find {release}/app/ {release}/venv/ ! -user root -o ! -group {app}")
    assert foreign == ""
    with host.sudo(app):
        assert host.run(f"find {release}/ {release}/venv/ -writable ! -type l").stdout == ""
        assert host.run(f"{release}/venv/bin/python -c 'import flask, gunicorn'").rc == 0
    with host.sudo("nobody"):
        assert host.run(f"ls {release}/app").rc != 0


def test_bytecode_is_compiled_since_nobody_can_write_it_later(host, release):
    with host.sudo():
        assert host.check_output(f"find {release}/app -name '*.pyc'")
        assert host.check_output(f"find {release}/venv/ -path '*/flask/*' -name '*.pyc'")


def test_the_revision_names_the_source_of_the_release(host):
    with host.sudo():
        commit = host.check_output("git -C /root/hello rev-parse v1^{commit}")
    revision = host.check_output("cat /srv/fromgit/releases/*/REVISION")
    assert f"revision: {commit}" in revision
    assert "source.git: git://localhost/hello.git" in revision
    assert "source.version: v1" in revision
    assert host.check_output("ls /srv/fromgit/releases").startswith(commit[:12])


def test_the_environment_is_for_root_only(host, app):
    environment = host.file(f"/etc/flask-ops/{app}/environment")
    with host.sudo():
        assert (environment.user, environment.mode) == ("root", 0o600)
        assert "canary-" in environment.content_string


def test_static_files_are_where_nginx_can_read_them(host):
    with host.sudo("www-data"):
        assert host.run("cat /srv/fromdir/releases/*/static/style.css").rc == 0
        assert host.run("cat /srv/fromdir/releases/*/app/demo_app/__init__.py").rc != 0


def test_what_the_app_writes_is_outside_of_the_release(host):
    with host.sudo():
        assert host.check_output("readlink /srv/fromdir/releases/*/app/uploads") == "/srv/fromdir/shared/uploads"
    assert host.file("/srv/fromdir/shared").user == "fromdir"


def test_the_migration_was_run_once_by_the_app(host):
    with host.sudo():
        assert host.check_output("ls /srv/fromdir/releases/*/.migrated")
        database = host.check_output("ls /srv/fromdir/shared/data/*.db /srv/fromdir/shared/data/*.sqlite* || true")
        assert host.file(database.split()[0]).user == "fromdir"


@pytest.fixture
def build(play, host):
    """Apply the role with another version of the app from git."""

    def run(version):
        given = host.ansible.get_variables()["python_app_apps"]
        changed = {**given[0], "source": {**given[0]["source"], "version": version}}
        return play(str(CONVERGE), python_app_apps=[changed])

    return run


def test_a_branch_that_moved_gives_another_release(host, build):
    before = host.check_output("ls /srv/fromgit/releases").split()
    with host.sudo():
        host.check_output(
            "git -C /root/hello -c user.name=t -c user.email=t@example.com commit -q --allow-empty -m Two"
        )
        host.check_output("git -C /root/hello push -q /srv/git/hello.git HEAD:refs/heads/next")
    built = build("next")
    assert built.status == 0, built.output
    assert len(host.check_output("ls /srv/fromgit/releases").split()) == len(before) + 1
    assert not build("next").changed


def test_a_version_that_is_not_there_is_refused_by_name(host, build):
    refused = build("v9")
    assert refused.status != 0
    assert "fromgit: source.version: git://localhost/hello.git has no branch or tag 'v9'" in refused.output
    assert not refused.changed


def test_a_build_that_was_interrupted_is_repaired(host, build):
    with host.sudo():
        newest = host.check_output("ls -td /srv/fromgit/releases/*").split()[0]
        host.check_output(f"rm -r {newest}/.complete {newest}/venv")
    assert build("next").status == 0
    assert host.file(f"{newest}/.complete").exists
    with host.sudo("fromgit"):
        assert host.run(f"{newest}/venv/bin/python -c 'import flask'").rc == 0


def test_one_host_has_a_strict_umask(host):
    if host.backend.host != "debian12":
        pytest.skip("prepare.yml gives it to Debian 12 only")
    with host.sudo():
        assert host.check_output("umask") == "0027"
    modes = host.check_output(
        "stat --format %a /run/flask-ops /opt/flask-ops /srv/fromdir/environments /srv/fromdir/releases/*"
    )
    assert set(modes.split()) == {"755"}
