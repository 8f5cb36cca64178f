"""Which line of advice an error gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._host.advice import advice, with_advice

ROLES = Path(__file__).resolve().parents[3] / "roles"
RELEASE = "/srv/shop/releases/0a1b2c3d4e5f-00112233"

UV = """\
Resolved 41 packages
  x Failed to build `{package}==6.0.4`
  |-> The build backend returned an error
      {reason}"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"OSError: [Errno 30] Read-only file system: '{RELEASE}/app/instance'", "Set shared_paths: [instance]."),
        (f"OSError: [Errno 30] Read-only file system: '{RELEASE}/app/var/cache/'", "Set shared_paths: [var/cache]."),
        (f"OSError: [Errno 30] Read-only file system: '{RELEASE}/app/data/app.db'", "Set shared_paths: [data]."),
        ("OSError: [Errno 30] Read-only file system: 'logs'", "Set shared_paths: [logs]."),
        ("OSError: [Errno 30] Read-only file system: './logs/app.log'", "Set shared_paths: [logs]."),
        ("OSError: [Errno 30] Read-only file system: 'app.log'", "Have the app write 'app.log' in a directory"),
        ("PermissionError: Read-only file system: '/srv/shop/current/app/uploads'", "shared_paths: [uploads]"),
        ("OSError: Read-only file system: '/var/lib/shop'", "instead of /var/lib/shop"),
        (f"OSError: Read-only file system: '{RELEASE}/venv/var/shop-instance'", "the virtual environment is read-only"),
        ("OSError: Read-only file system: '/srv/shop/environments/0a1b2c3d4e5f/var/x'", "environment is read-only"),
        ("mkdir: cannot create directory \u2018uploads\u2019: Read-only file system", "shared_paths: [uploads]"),
        ("touch: cannot touch 'data/x.db': Read-only file system", "shared_paths: [data]"),
        ("sqlite3.OperationalError: attempt to write a readonly database", "shared_paths"),
        ("sqlite3.OperationalError: unable to open database file", "shared_paths: [instance]"),
        ("sqlite3.OperationalError: no such table: users", "Set migrate:"),
        ('psycopg2.errors.UndefinedTable: relation "users" does not exist', "Set migrate:"),
        (UV.format(package="psycopg2", reason="Error: pg_config executable not found."), "psycopg2 needs Debian packages: set packages: [gcc, python3-dev, libpq-dev]"),
        (UV.format(package="mysqlclient", reason="/bin/sh: 1: pkg-config: not found"), "libmariadb-dev"),
        (UV.format(package="python-ldap", reason="fatal error: lber.h: No such file or directory"), "libldap-dev, libsasl2-dev"),
        (UV.format(package="multidict", reason="error: command 'gcc' failed: No such file or directory"), "set packages: [gcc, python3-dev]"),
        (UV.format(package="multidict", reason="[Errno 2] No such file or directory: 'x86_64-linux-gnu-gcc'"), "set packages: [gcc, python3-dev]"),
        (UV.format(package="some_thing", reason="AttributeError: install_layout"), "some-thing has no wheel"),
        ("fatal error: Python.h: No such file or directory", "set packages: [gcc, python3-dev]"),
        ("fatal error: foo/bar.h: No such file or directory", "apt-file search foo/bar.h"),
        ("/bin/sh: 1: mysql_config: not found", "libmariadb-dev"),
        ("Error: Please make sure the libxml2 and libxslt development packages are installed.", "libxslt1-dev"),
        ("Package cairo was not found in the pkg-config search path.", "libcairo2-dev"),
        ("OSError: cannot load library 'libgobject-2.0-0': cannot open shared object file", "libpango-1.0-0"),
        ("ImportError: libGL.so.1: cannot open shared object file: No such file or directory", "set packages: [libgl1]"),
        ("ImportError: libfoo.so.7: cannot open shared object file: No such file", "apt-file search libfoo.so.7"),
        ("ImportError: failed to find libmagic.  Check your installation", "libmagic1"),
        ("error: could not find a C++ compiler", "g++"),
        ("ERROR: Failed building wheel for psycopg2", "libpq-dev"),
        ("git@git.example.com: Permission denied (publickey,password).", "source.deploy_key"),
        ("Host key verification failed.", "source.known_hosts"),
        ("fatal: could not read Username for 'https://git.example.com': terminal prompts disabled", "source.deploy_key"),
        ("OSError: [Errno 28] No space left on device: '/srv/shop/x'", "the disk is full"),
        ("LookupError: setuptools-scm was unable to detect version for /x.", "SETUPTOOLS_SCM_PRETEND_VERSION"),
        ("Exception: Can not find valid pkg-config name.", "libmariadb-dev"),
        (UV.format(package="multidict", reason="error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory"), "multidict is built on the host, and gcc is missing"),
        ("MemoryError", "limits.memory_max"),
        ("wsgi died by signal SIGKILL while it was imported.", "memory"),
        ("OSError: [Errno 98] Address already in use", "ports of its own"),
        ("socket.gaierror: [Errno -3] Temporary failure in name resolution", "cannot resolve"),
        ("error: tcp connect error: Connection refused", "HTTP proxy"),
        ("ModuleNotFoundError: No module named 'redis'", "if 'redis' is a package, add it to the app's requirements"),
        ("ssl.SSLCertVerificationError: certificate verify failed", "update-ca-certificates"),
    ],
)  # fmt: skip
def test_the_advice_names_what_to_set(text: str, words: str):
    assert words in advice(text)


@pytest.mark.parametrize("text", ["", "KeyError: 'STRIPE_API_KEY'", "no compiler was harmed", "exited with status 1"])
def test_without_a_pattern_there_is_none(text: str):
    assert advice(text) == ""
    assert with_advice(text) == text


def test_advice_is_one_line_at_the_end_and_given_once():
    text = with_advice("OSError: [Errno 30] Read-only file system: 'logs'\nShutting down")
    assert text.splitlines()[-1] == "=> a release is read-only. Set shared_paths: [logs]."
    assert with_advice(text) == text
