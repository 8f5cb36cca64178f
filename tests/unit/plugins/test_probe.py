"""How an app is imported and described before it may go live, by its own Python and whatever it does meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._release import app_settings, probe, secret_keys
from ansible_collections.flask_ops.production.plugins.module_utils._release.program import program

KEY = "canary-0f1e2d3c4b5a69788796a5b4"

FLASK = f"""
import atexit, logging, os, sys, threading
import flask
from werkzeug.middleware.proxy_fix import ProxyFix
app = flask.Flask(__name__)
app.config.update(SECRET_KEY=os.environ.get("KEY") or "{KEY[:15]}" + "{KEY[15:]}")
"""

OTHER_FRAMEWORKS = """
import types

class Config(dict): ...

class Quart:
    debug = False
    def __init__(self, **config): self.config = Config(config); self.url_map = types.SimpleNamespace(iter_rules=list)
    async def asgi_app(self, scope, receive, send): ...
    async def __call__(self, scope, receive, send): ...

class FastAPI:
    async def __call__(self, scope, receive, send): ...
"""


def told(
    tmp_path: Path,
    code: str,
    wsgi: str = "shop:app",
    limit: float = 20,
    given: tuple[str, ...] = (),
    **env: str,
) -> dict[str, Any]:
    """Run the probe as the app's own Python does, without Ansible."""
    (tmp_path / "shop.py").write_text(code)
    asked = json.dumps({"wsgi": wsgi, "limit": limit, "given": given})
    done = subprocess.run(
        [sys.executable, "-c", program(secret_keys, app_settings, probe), asked],
        cwd=tmp_path,
        env={**os.environ, **env},
        capture_output=True,
        check=True,
        timeout=40,
    )
    assert b"canary" not in done.stdout + done.stderr
    return json.loads(done.stdout)


# --- what apps do ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("print('hello'); print('no', file=sys.stderr)", id="words"),
        pytest.param("atexit.register(print, 'metrics flushed')", id="words at exit"),
        pytest.param("atexit.register(lambda: os._exit(7))", id="an exit at exit"),
        pytest.param("atexit.register(lambda: 1 / 0)", id="an exception at exit"),
        pytest.param("threading.Thread(target=threading.Event().wait).start()", id="a thread that does not end"),
        pytest.param("sys.stdout = sys.stderr = None", id="no output"),
        pytest.param("sys.stdout = open(os.devnull, 'w')", id="another output"),
        pytest.param("sys.stdout.close(); sys.stderr.close()", id="a closed output"),
        pytest.param("os.closerange(0, 1000)", id="no descriptors"),
        pytest.param("os.write(1, b'x' * 9_000_000)", id="megabytes"),
        pytest.param("os.write(1, bytes(range(256)) * 40)", id="garbage"),
        pytest.param('print(\'{"failure": {"kind": "exit"}}\')', id="words that look like an answer"),
        pytest.param("logging.basicConfig(level=1, stream=sys.stdout); logging.info('x')", id="logging"),
        pytest.param("import signal; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 12, 15)]", id="signals"),
        pytest.param("import subprocess; subprocess.Popen(['sleep', '30'])", id="a child that stays"),
        pytest.param("os.environ.clear()", id="no environment"),
        pytest.param("sys.setrecursionlimit(80)", id="little room to recurse"),
    ],
)
def test_an_app_that_gunicorn_would_serve_passes(tmp_path: Path, code: str):
    began = time.monotonic()
    found = told(tmp_path, f"{FLASK}\n{code}")
    assert "failure" not in found
    assert (found["framework"], found["interface"]) == ("flask", "wsgi")
    assert time.monotonic() - began < 15


def test_of_a_long_output_both_ends_are_kept(tmp_path: Path):
    output = told(tmp_path, "print('first'); print('x' * 99_000); print('last'); 1 / 0")["output"]
    assert output.startswith("first")
    assert output.endswith("last\n")
    assert len(output) < 25_000


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import os; os._exit(3)", {"kind": "exit", "status": 3}),
        ("import sys; sys.exit()", {"kind": "exit", "status": 0}),
        ("import sys; sys.exit(4)", {"kind": "exit", "status": 4}),
        ("import sys; sys.exit('DATABASE_URL is not set')", {"kind": "exit", "status": 1}),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", {"kind": "signal", "signal": "SIGKILL"}),
        ("import ctypes; ctypes.string_at(0)", {"kind": "signal", "signal": "SIGSEGV"}),
        ("import os; os.abort()", {"kind": "signal", "signal": "SIGABRT"}),
        ("import time; time.sleep(60)", {"kind": "timeout", "limit": 2}),
        ("raise KeyboardInterrupt", {"kind": "error"}),
        ("app = 7", {"kind": "type", "type": "int"}),
        ("application = 7", {"kind": "name", "name": "app"}),
    ],
)
def test_how_an_app_fails_is_told(tmp_path: Path, code: str, expected: dict[str, Any]):
    found = told(tmp_path, code, limit=2)["failure"]
    assert found.items() >= expected.items()


@pytest.mark.parametrize("code", ["import ctypes; ctypes.string_at(0)", "import time; time.sleep(60)"])
def test_the_place_of_a_crash_and_of_a_hanging_import_is_told(tmp_path: Path, code: str):
    found = told(tmp_path, f"\n\n{code}", limit=2)["failure"]
    assert f'File "{tmp_path}/shop.py", line 3' in found["where"]


def test_a_traceback_has_the_apps_own_lines_and_the_place_of_the_exception(tmp_path: Path):
    code = "import json\ndef settings():\n    return json.loads('{')\nsettings()\n"
    lines = told(tmp_path, code)["failure"]["lines"]
    assert lines[:4] == [
        f'  File "{tmp_path}/shop.py", line 4, in <module>',
        "    settings()",
        f'  File "{tmp_path}/shop.py", line 3, in settings',
        "    return json.loads('{')",
    ]
    assert "json/decoder.py" in lines[4]
    assert lines[-1].startswith("json.decoder.JSONDecodeError: Expecting property name")
    assert "Copyright" not in "".join(lines)
    assert "<string>" not in "".join(lines)


def test_the_cause_of_an_exception_is_told(tmp_path: Path):
    code = "try:\n    {}['STRIPE_API_KEY']\nexcept KeyError as error:\n    raise RuntimeError('no settings') from error"
    assert told(tmp_path, code)["failure"]["lines"][-2:] == [
        "RuntimeError: no settings",
        "caused by KeyError: 'STRIPE_API_KEY'",
    ]


def test_a_syntax_error_is_shown_with_its_line(tmp_path: Path):
    lines = told(tmp_path, "app = 1 +")["failure"]["lines"]
    assert "    app = 1 +" in lines
    assert lines[-1] == "SyntaxError: invalid syntax"


@pytest.mark.parametrize(
    "code",
    [
        "app.run()",
        "app.run(debug=True, port=5055)",
        "from werkzeug.serving import run_simple; run_simple('127.0.0.1', 5055, app)",
        "\ntry:\n    app.run()\nexcept Exception:\n    pass",
    ],
)
def test_a_server_at_import_is_found_at_once(tmp_path: Path, code: str):
    found = told(tmp_path, FLASK + code)["failure"]
    assert found["kind"] == "server"
    assert any("run" in line for line in found["lines"])
    assert "werkzeug" not in "".join(found["lines"][::2])


def test_a_port_that_is_no_server_of_the_apps_is_let_be(tmp_path: Path):
    code = (
        "import socket; socket.socket().bind(('127.0.0.1', 0))\nfrom wsgiref.simple_server import make_server\n"
        "server = make_server('127.0.0.1', 0, app); threading.Thread(target=server.serve_forever, daemon=True).start()"
    )
    assert "failure" not in told(tmp_path, FLASK + code)


# --- what could have been meant ----------------------------------------------------------------------------------------


def test_names_that_could_have_been_meant_are_given(tmp_path: Path):
    code = f"{FLASK}\nshop = app\ndel app\ndef create_app(): ...\ndef aps(): ..."
    assert told(tmp_path, code)["failure"]["candidates"] == ["shop", "create_app()", "aps"]


def test_an_attribute_error_of_the_apps_own_is_none_of_wsgi(tmp_path: Path):
    found = told(tmp_path, "def create_app():\n    return None.run", "shop:create_app()")["failure"]
    assert found["kind"] == "error"
    assert found["lines"][-1] == "AttributeError: 'NoneType' object has no attribute 'run'"


def test_the_modules_that_are_there_are_given(tmp_path: Path):
    (tmp_path / "src" / "blog").mkdir(parents=True)
    (tmp_path / "src" / "blog" / "__init__.py").touch()
    assert (
        told(tmp_path, "", "blog:app")["failure"].items() >= {"module": "blog", "modules": ["shop", "src/blog"]}.items()
    )


# --- how it is called ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def app(environ, start_response): ...", "wsgi"),
        ("def app(env, start): ...", "wsgi"),
        ("app = lambda e, s: []", "wsgi"),
        ("class App:\n    def __init__(self, environ, start_response): ...\napp = App", "wsgi"),
        ("class App:\n    def __call__(self, environ, start_response): ...\napp = App()", "wsgi"),
        ("async def app(scope, receive, send): ...", "asgi"),
        ("def app(scope, receive, send): ...", "asgi"),
        ("class App:\n    async def __call__(self, scope, receive, send): ...\napp = App()", "asgi"),
        ("def app(*args): ...", ""),
        ("app = print", ""),
        ("def app(): ...", "factory"),
        ("def app(config=None): ...", "factory"),
        ("def create_app(config=None, debug=False): ...\napp = create_app", "factory"),
        ("async def app(): ...", "factory"),
        ("def app(*, config=None): ...", "factory"),
        ("import functools\ndef create_app(a, b=1): ...\napp = functools.wraps(create_app)(lambda *a: 1)", "factory"),
        ("import flask\napp = flask.Flask", "factory"),
        ("import flask\napp = flask.Flask('x').wsgi_app", "wsgi"),
        ("import flask, functools\napp = functools.partial(flask.Flask('x').wsgi_app)", "wsgi"),
    ],
)
def test_how_an_app_is_called(tmp_path: Path, code: str, expected: str):
    assert told(tmp_path, code)["interface"] == expected


def test_flask_is_found_within_middleware(tmp_path: Path):
    found = told(tmp_path, f"{FLASK}\nflask_app = app\ndef create(): return ProxyFix(flask_app)", "shop:create()")
    assert found["middleware"][:2] == ["ProxyFix", "Flask"]
    found = told(tmp_path, f"{FLASK}\napp.wsgi_app = ProxyFix(app.wsgi_app)")
    assert found["middleware"][:2] == ["Flask", "ProxyFix"]


@pytest.mark.parametrize(("name", "framework"), [("Quart", "quart"), ("FastAPI", "fastapi")])
def test_other_frameworks_are_known(tmp_path: Path, name: str, framework: str):
    (tmp_path / f"{framework}.py").write_text(OTHER_FRAMEWORKS)
    found = told(tmp_path, f"import {framework}\napp = {framework}.{name}()")
    assert (found["framework"], found["interface"]) == (framework, "asgi")
    assert ("key" in found) == (framework == "quart")


def test_a_framework_of_ones_own_is_served_however_odd(tmp_path: Path):
    code = "class App:\n    def __getattr__(self, name): raise RuntimeError\n    def __call__(self, e, s): ...\napp = App()"
    assert "failure" not in told(tmp_path, code)


# --- keys ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        "dev", "secret", "secret!", "changeme", "change-me", "CHANGE_ME_TO_A_COMPLEX_RANDOM_SECRET_KEY", "my_precious",
        "you-will-never-guess", "hard to guess string", "super secret key", "your-secret-key-here", "s3cr3t_k3y",
        "dev-secret-key-change-in-production", "My_l0ng_very_secure_secret_k3y", "mentorai_secret_key_2024",
        "thisISaSECRET_1234", "this is a secret key, please change it", "development key", "default-secret-key",
        "django-insecure-x8$k2l(9qv_w3#e5r7t@y1u", "CHANGE_THIS_TO_A_RANDOM_STRING", "SecretKey123456789",
        "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf", b'_5#y2L"F4Q8z\n\xec]/',
        "A0Zr98j/3yX R~XHH!jmN]LWX/,?RT", "replace-this-with-a-long-random-string", "insecure-key-for-dev",
        "x", "kx8qz2", "Tr0ub4dor&3", "a" * 32, "abcabcabcabcabcabcabcabc", "0123456789abcdef", "01234567890123456789",
        "abcdefghijklmnopqrstuvwxyz",
    ],
)  # fmt: skip
def test_a_key_that_others_know_or_guess(key: str | bytes):
    assert secret_keys.weakness(secret_keys.as_text(key))


def test_random_keys_are_good():
    # Of every common kind, made once: secrets.token_hex, token_urlsafe, uuid4, urandom, pwgen, words of diceware.
    for key in (
        "c5be6b1d1c1a4b2e9f3a7d8e0b6f4c21", "8GkQ2vN1xTzR5mWy7pLc", "f81d4fae-7dec-41d0-a765-00a0c91e6bf6",
        b"\x8a\xf1\x03\x9c\xee\x17\xd4\x5b\xa0\x66\x2f\xc8\x91\x3d\x7e\x04", "ohX7eeNg9aiK3quu", "KEY-that-Nobody9f2b71Xc",
        "correct horse battery staple orbit velvet", "shop-secret-9f8a7b6c5d4e3f2a1b0c", "dev-9f8a7b6c5d4e3f2a1b0c",
    ):  # fmt: skip
        assert secret_keys.weakness(secret_keys.as_text(key)) == ""


@pytest.mark.parametrize("make", ["token_hex", "token_urlsafe"])
def test_a_random_key_is_never_taken_for_a_bad_one(make: str):
    import base64
    import hashlib

    for number in range(3000):
        digest = hashlib.sha256(str(number).encode()).digest()
        key = digest[:16].hex() if make == "token_hex" else base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")
        assert secret_keys.weakness(key) == "", key


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.py", "SECRET_KEY = '{key}'"),
        (".env", "SECRET_KEY={key}"),
        ("deep/er/settings.toml", 'key = "{key}"'),
    ],
)
def test_a_key_that_is_in_the_source_is_found_there(tmp_path: Path, name: str, content: str):
    key = "Zq81-vvX0_plMn27tRwe45"
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(content.format(key=key))
    assert told(tmp_path, FLASK, KEY=key)["key"] == {"length": 22, "weak": "", "source": name}
    (tmp_path / name).write_text(content.format(key="another"))
    assert told(tmp_path, FLASK, KEY=key)["key"]["source"] == ""


def test_a_key_of_bytes_is_found_as_python_writes_it(tmp_path: Path):
    code = "import flask\napp = flask.Flask('x', static_folder=None)\napp.secret_key = b'\\x8a\\xf1\\x03\\x9c\\xee\\x17\\xd4[\\xa0f/\\xc8\\x91=~\\x04'"
    assert told(tmp_path, code)["key"] == {"length": 16, "weak": "", "source": "shop.py"}


def test_nothing_that_a_link_leads_to_is_searched(tmp_path: Path):
    key, outside = "Zq81-vvX0_plMn27tRwe45", tmp_path / "outside"
    outside.mkdir()
    (outside / "key").write_text(key)
    code = tmp_path / "code"
    code.mkdir()
    (code / "file").symlink_to(outside / "key")
    for name in "abc":
        (code / name).symlink_to(".")
    os.mkfifo(code / "pipe")
    assert told(code, FLASK, KEY=key)["key"]["source"] == ""


def test_a_key_in_an_installed_package_is_found(tmp_path: Path):
    package = tmp_path / "site" / "pgadmin"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "import flask\napp = flask.Flask('x')\napp.secret_key = 'Zq81-vvX0_plMn27tRwe45'"
    )
    (tmp_path / "code").mkdir()
    found = told(tmp_path / "code", "", "pgadmin:app", PYTHONPATH=str(package.parent))
    assert found["key"]["source"] == "__init__.py"


def test_keys_that_still_verify_are_looked_at_as_well(tmp_path: Path):
    found = told(tmp_path, f"{FLASK}\napp.config['SECRET_KEY_FALLBACKS'] = ['dev']")
    assert [key["weak"] for key in found["fallback_keys"]] == ["known"]


def test_a_key_that_is_given_and_not_used_is_named(tmp_path: Path):
    given = ("FLASK_SECRET_KEY", "FLASK_MAIL_SERVER")
    found = told(tmp_path, FLASK, given=given, FLASK_SECRET_KEY="other", FLASK_MAIL_SERVER="mail")
    assert found["unused_keys"] == ["FLASK_SECRET_KEY"]
    assert found["unread"] == ["FLASK_MAIL_SERVER"]
    found = told(
        tmp_path,
        f"{FLASK}\napp.config.from_prefixed_env()",
        given=given,
        FLASK_SECRET_KEY="other",
        FLASK_MAIL_SERVER="m",
    )
    assert (found["unused_keys"], found["unread"]) == ([], [])


def test_a_variable_that_the_app_reads_by_itself_is_used(tmp_path: Path):
    code = f"{FLASK}\nserver = os.environ['FLASK_MAIL_SERVER']"
    assert told(tmp_path, code, given=("FLASK_MAIL_SERVER",), FLASK_MAIL_SERVER="m")["unread"] == []


def test_a_key_among_credentials_counts_as_given(tmp_path: Path):
    (tmp_path / "secrets.json").write_text(json.dumps({"SECRET_KEY": "Zq81-vvX0_plMn27tRwe46"}))
    assert told(tmp_path, FLASK, CREDENTIALS_DIRECTORY=str(tmp_path))["unused_keys"] == ["SECRET_KEY"]


# --- static files -----------------------------------------------------------------------------------------------------------


def test_where_the_app_serves_static_files(tmp_path: Path):
    code = (
        f"{FLASK}\napp = flask.Flask(__name__, static_url_path='/assets')\n"
        "admin = flask.Blueprint('admin', __name__, url_prefix='/admin', static_folder='admin/static')\n"
        "app.register_blueprint(admin)"
    )
    found = told(tmp_path, code)["static"]
    assert sorted(found) == [["admin/static", "/admin/static/"], ["static", "/assets/"]]
    assert ["static", "/shop/assets/"] in told(tmp_path, code, SCRIPT_NAME="/shop")["static"]
