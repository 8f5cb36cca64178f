# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports an app as gunicorn does, and describes how it is set up: the program of the pre-flight.

The app's own Python runs this file, as the app's user. It uses the standard library alone, and prints one object of
JSON. The app is imported in a child process, whose result comes through shared memory: whatever an app prints, closes,
replaces or leaves running, it cannot disturb the answer.

This module util is private to the collection.
"""

from __future__ import annotations

import contextlib
import difflib
import faulthandler
import importlib
import inspect
import itertools
import json
import mmap
import os
import re
import select
import signal
import sys
import threading
import time
import traceback
import typing as t

ROOM = 1 << 20
"""Bytes of shared memory for the description of an app."""

HEAD, TAIL = 4_000, 16_000
"""How many bytes of what the app prints are kept, from its beginning and its end."""

CODE = "<wsgi>"
"""The file name of the expression in ``wsgi``, by which its frame is known."""

FRAMEWORKS = frozenset("flask quart fastapi starlette django litestar falcon bottle pyramid sanic aiohttp".split())

INNER = ("wsgi_app", "asgi_app", "app", "application", "wsgi_application", "wrapped_app")
"""The attributes in which middleware keeps what it wraps."""

COOKIES = ("SESSION_COOKIE_SECURE", "SESSION_COOKIE_HTTPONLY", "SESSION_COOKIE_SAMESITE")

SERVERS = (
    # The end of a file's name, and the function in it that serves until it is stopped.
    ("werkzeug/serving.py", "run_simple"),
    ("flask_socketio/__init__.py", "run"),
    ("quart/app.py", "run"),
    ("uvicorn/main.py", "run"),
    ("uvicorn/server.py", "serve"),
    ("hypercorn/run.py", "run"),
    ("hypercorn/asyncio/run.py", "worker_serve"),
    ("waitress/__init__.py", "serve"),
    ("gevent/baseserver.py", "serve_forever"),
    ("eventlet/wsgi.py", "server"),
    ("cheroot/server.py", "prepare"),
    ("aiohttp/web.py", "run_app"),
    ("bottle.py", "run"),
)

PLACEHOLDERS = re.compile(
    # Words that stand in documentation and templates where a key should be.
    "secret|changeme|changethis|changeit|changein|changebefore|replaceme|replacethis|replacewith|insecure|placeholder|"
    "password|passwort|default|development|production|example|neverguess|hardtoguess|nottelling|tutorial|keyhere|"
    "mykey|yourkey|testkey|devkey|mustbechanged|precious|qwerty|letmein|topsecret|geheim|supersecure|notsecure|unsafe|"
    "randomstring|randomkey|complexrandom|securerandom|longrandom|temporary"
)

VOCABULARY = sorted(
    # A key of nothing but these words and a few digits is one that others have, too.
    "secret secrets key keys my your our the this is a an i it its in of on to for and or with by as at be not no so "
    "very super ultra mega top really most more some any changeme change me please replace value string random here "
    "enter insert put set use used using must should will would you never guess guessed guessing hard easy difficult "
    "impossible dev devel development develop developer prod production test tests testing tester debug debugging "
    "default example sample demo tutorial placeholder insecure secure security safe unsafe local localhost only "
    "flask django quart fastapi python app apps application web website site server session sessions cookie token jwt "
    "csrf crypt crypto encryption pass password passwd passphrase admin administrator root user guest foo bar baz "
    "qux spam eggs hello world abc abcdef xyz qwerty qwertz asdf asdfgh zxcvbn letmein todo fixme xxx long complex "
    "strong unique precious temporary temp tmp before after deploy deploying deployment do dont forget shh shhh sh "
    "whatever something anything nothing nobody knows know blah bla stuff thing things magic monkey dragon master "
    "geheim geheime schluessel passwort ein mein supersafe real own new old first blog shop store microblog todo "
    "project work in env environment config configuration setting settings that can cannot cant if else but was "
    "sure make made than at least characters chars bytes bit bits generate generated from open ssl rand hex "
    "uuid now later one two three four five six seven eight nine ten zero auth api service notsecret tell told "
    "telling wont find out what who why how ever all always just like think thats".split(),
    key=len,
    reverse=True,
)

PUBLISHED: tuple[str | bytes, ...] = (
    # Keys in documentation, courses and well-known projects that look random.
    b'_5#y2L"F4Q8z\n\xec]/',
    '_5#y2L"F4Q8z\n\xec]/',
    "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
    "A0Zr98j/3yX R~XHH!jmN]LWX/,?RT",
    b'\xfd{H\xe5<\x95\xf9\xe3\x96.5\xd1\x01O<!\xd5\xa2\xa0\x9fR"\xa1\xa8',
    "5791628bb0b13ce0c676dfde280ba245",
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    "\\2\\1thisismyscretkey\\1\\2\\e\\y\\y\\h",
    "\2\1thisismyscretkey\1\2\\e\\y\\y\\h",
    "c292a0a3aa32397cdb050e233733900f",
    "f3cfe9ed8fae309f02079dbf",
    "9OLWxND4o83j4K4iuopO",
)

SKIPPED = frozenset((".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".mypy_cache"))
"""Directories in which nobody looks for a key."""

MOST_FILES, LARGEST_FILE, MOST_BYTES = 20_000, 1_000_000, 64_000_000
"""How much of the source is searched for a key."""


class ServerStarted(BaseException):
    """The app starts a server while it is imported. No ``except Exception`` of the app's may catch this."""


class NotAnApp(Exception):
    """What ``wsgi`` names is there, and is no application."""


class NoSuchName(Exception):
    """What ``wsgi`` names is not in the module."""


# --- the parent: waits, and reports whatever happens to the child ------------------------------------------------------


def main() -> None:
    asked = json.loads(sys.argv[1])
    sys.argv[:] = ["gunicorn"]
    shared = mmap.mmap(-1, ROOM)
    printed, crash = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        for descriptor in (printed[0], crash[0]):
            os.close(descriptor)
        os.dup2(printed[1], 1)
        os.dup2(printed[1], 2)
        os.close(printed[1])
        examine(asked, shared, crash[1])
        os._exit(0)
    for descriptor in (printed[1], crash[1]):
        os.close(descriptor)
    for descriptor in (printed[0], crash[0]):
        os.set_blocking(descriptor, False)
    output = Ends()
    status = watch(child, shared, printed[0], output, asked["limit"])
    told = result_of(shared)
    if told is None:
        told = {"failure": {**ending(status, asked["limit"]), "where": drain(crash[0]).decode("utf-8", "replace")}}
    told["output"] = output.text()
    sys.stdout.write(json.dumps(told))
    sys.stdout.flush()
    os._exit(0)


class Ends:
    """Both ends of a stream of any length."""

    def __init__(self) -> None:
        self.head = self.tail = b""
        self.left_out = 0

    def add(self, data: bytes) -> None:
        room = HEAD - len(self.head)
        self.head, data = self.head + data[:room], data[room:]
        self.tail += data
        self.left_out += max(len(self.tail) - TAIL, 0)
        self.tail = self.tail[-TAIL:]

    def text(self) -> str:
        between = f"\n... {self.left_out} bytes left out ...\n".encode() if self.left_out else b""
        return (self.head + between + self.tail).decode("utf-8", "replace")


def watch(child: int, shared: mmap.mmap, printed: int, output: Ends, limit: float) -> int | None:
    """Wait for the child to end; kill it when the time is over. Return its status, or None if it was killed."""
    deadline, answered = time.monotonic() + limit, False
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        with contextlib.suppress(OSError):
            select.select([printed], [], [], 0 if done else 0.05)
        data = drain(printed)
        output.add(data)
        if done:
            return status
        if not data:
            time.sleep(0.01)  # an app that closed its output would keep this loop busy
        if not answered and result_of(shared):
            answered, deadline = True, time.monotonic() + 2  # to flush what it has printed
        if time.monotonic() > deadline:
            if not answered:
                os.kill(child, signal.SIGUSR2)  # faulthandler writes where each thread is
                time.sleep(0.5)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None


def drain(descriptor: int, most: int = 1 << 20) -> bytes:
    """Whatever there is to read, without waiting."""
    found = b""
    with contextlib.suppress(OSError):
        while len(found) < most:
            data = os.read(descriptor, 1 << 16)
            if not data:
                break
            found += data
    return found


def result_of(shared: mmap.mmap) -> dict[str, t.Any] | None:
    length = int.from_bytes(shared[:8], "big")
    return json.loads(shared[8 : 8 + length]) if length else None


def ending(status: int | None, limit: float) -> dict[str, t.Any]:
    """How a child ended that has not answered."""
    if status is None:
        return {"kind": "timeout", "limit": limit}
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
        return {"kind": "signal", "signal": name}
    return {"kind": "exit", "status": os.WEXITSTATUS(status)}


# --- the child: imports the app ----------------------------------------------------------------------------------------


def examine(asked: dict[str, t.Any], shared: mmap.mmap, crash: int) -> None:
    os.set_blocking(crash, False)
    faulthandler.enable(crash)
    faulthandler.register(signal.SIGUSR2, crash, all_threads=True)
    read = watch_environment()
    sys.addaudithook(refuse_server)
    try:
        app = load(asked["wsgi"])
        try:
            told = describe(app, asked, read)
        except Exception as error:  # noqa: BLE001 - an app of an unusual kind is no reason not to serve it
            told = {"error": type(error).__name__}
        json.dumps(told)
    except BaseException as error:  # noqa: BLE001 - sys.exit() at import, too, is something to report
        told = {"failure": failure(error)}
    answer = json.dumps(told).encode()
    shared[8 : 8 + len(answer)] = answer
    shared[:8] = len(answer).to_bytes(8, "big")
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()


def watch_environment() -> set[str]:
    """Return a set that will hold the environment variables that the app has read."""
    read: set[str] = set()
    kind, get = type(os.environ), type(os.environ).__getitem__

    def recorded(self: t.Any, name: str) -> str:
        read.add(name)
        return get(self, name)

    kind.__getitem__ = recorded  # type: ignore[method-assign]
    return read


def refuse_server(event: str, arguments: tuple[t.Any, ...]) -> None:
    """An audit hook: ``app.run()`` at import would serve until the end of time."""
    if event != "socket.bind" or threading.current_thread() is not threading.main_thread():
        return
    frame = sys._getframe()
    while frame is not None:
        code = frame.f_code
        if any(code.co_name == function and code.co_filename.endswith(f"/{name}") for name, function in SERVERS):
            raise ServerStarted
        frame = frame.f_back  # type: ignore[assignment]


def load(wsgi: str) -> t.Any:
    """What gunicorn does with its argument, too. The expression keeps the rule for ``wsgi``: a name, or a call."""
    name, _colon, expression = wsgi.partition(":")
    module = importlib.import_module(name)
    try:
        app = eval(compile(expression, CODE, "eval"), vars(module))
    except (NameError, AttributeError) as error:
        if traceback.extract_tb(error.__traceback__)[-1].filename != CODE:
            raise
        raise NoSuchName(expression, candidates(module, expression)) from None
    if not callable(app):
        raise NotAnApp(type(app).__name__, candidates(module, expression))
    return app


def candidates(module: t.Any, expression: str) -> list[str]:
    """What could have been meant in the module: apps, functions that make one, and names like this one."""
    wanted = re.split(r"[.(]", expression)[0]
    named = {name: value for name, value in vars(module).items() if not name.startswith("_") and callable(value)}
    apps = [name for name, value in named.items() if not isinstance(value, type) and framework(value)]
    made = [
        f"{name}()"
        for name, value in named.items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and makes_apps(name)
    ]
    close = [
        name for name in difflib.get_close_matches(wanted, named, 3) if name not in apps and f"{name}()" not in made
    ]
    return [*apps, *made, *close][:5]


def makes_apps(name: str) -> bool:
    return re.match(r"(create|make|build|get|init)_?(\w*_)?app|(app|application)_?factory$", name) is not None


def failure(error: BaseException) -> dict[str, t.Any]:
    """What went wrong, with the app's own lines of the traceback."""
    told: dict[str, t.Any] = {"kind": "error", "lines": report(error)}
    if isinstance(error, ServerStarted):
        told |= {"kind": "server", "lines": frames(error, last=False)}
    elif isinstance(error, SystemExit):
        told |= {"kind": "exit", "status": error.code if isinstance(error.code, int) else 1}
        if isinstance(error.code, int) or error.code is None:
            told["status"] = error.code or 0
        else:
            told["lines"] = [*frames(error), str(error.code)[:2000]]
    elif isinstance(error, NoSuchName):
        told |= {"kind": "name", "lines": [], "name": error.args[0], "candidates": error.args[1]}
    elif isinstance(error, NotAnApp):
        told |= {"kind": "type", "lines": [], "type": error.args[0], "candidates": error.args[1]}
    elif isinstance(error, ModuleNotFoundError):
        told["module"] = error.name
        told["modules"] = modules()
    return told


def modules() -> list[str]:
    """The modules and packages at the top of the source, and those below ``src``."""
    found = []
    for directory in ("", "src"):
        with contextlib.suppress(OSError), os.scandir(directory or ".") as entries:
            for entry in entries:
                name = entry.name.removesuffix(".py")
                if name.isidentifier() and (name != entry.name or os.path.exists(f"{entry.path}/__init__.py")):
                    found.append(f"src/{name}" if directory else name)
    return sorted(found)[:50]


def report(error: BaseException) -> list[str]:
    """The traceback as a person needs it: the app's own frames, the last one, the exception, and its causes."""
    lines = frames(error)
    lines += said(error)
    effect = error
    for _level in range(5):
        cause = effect.__cause__ or (None if effect.__suppress_context__ else effect.__context__)
        if cause is None:
            break
        effect = cause
        lines += [f"caused by {line}" if not number else line for number, line in enumerate(said(cause))]
    for inner in getattr(error, "exceptions", ())[:3]:
        lines += [f"  - {line}" for line in said(inner)]
    return lines


def said(error: BaseException) -> list[str]:
    text = "".join(traceback.format_exception_only(type(error), error))
    if len(text) > 3000:
        text = f"{text[:1500]} ... {text[-1500:]}"
    return text.rstrip().splitlines()


def frames(error: BaseException, last: bool = True) -> list[str]:
    found = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and not frame.filename.endswith("/importlib/__init__.py")
    ]
    here = os.getcwd() + os.sep
    shown = [frame for frame in found if frame.filename.startswith(here)][-8:]
    if found and found[-1] not in shown and (last or not shown):
        shown = (shown or found[-4:-1]) + found[-1:]
    lines = []
    for frame in shown:
        lines.append(f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}')
        if frame.line:
            lines.append(f"    {frame.line}")
    return lines


# --- what it is ----------------------------------------------------------------------------------------------------------


def framework(app: t.Any) -> str:
    """The framework of an app, or of a class, by its package; empty if it is none of those known here."""
    for kind in app.__mro__ if isinstance(app, type) else type(app).__mro__:
        package = str(kind.__module__).partition(".")[0]
        if package in FRAMEWORKS:
            return package
    return ""


def layers(app: t.Any) -> list[t.Any]:
    """The app and what is wrapped around it, from the outside; of Flask also what wraps its ``wsgi_app``."""
    found: list[t.Any] = []
    while app is not None and len(found) < 20 and not any(app is layer for layer in found):
        found.append(app)
        inner = getattr(app, "__self__", None) if inspect.ismethod(app) else None
        inner = inner or next((value for name in INNER if callable(value := getattr(app, name, None))), None)
        app = inner
    return found


def interface(app: t.Any) -> str:
    """How an app is called: ``wsgi``, ``asgi``, or ``factory`` for what has to be called first; empty if unknown."""
    function = inspect.isfunction(app) or isinstance(app, type)
    call = app if function or inspect.isroutine(app) else getattr(app, "__call__", app)  # noqa: B004
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):
        return ""
    two, three = takes(signature, 2), takes(signature, 3)
    if isinstance(app, type) and framework(app):
        return "factory"
    if function and (not (two or three) or (makes_apps(app.__name__) and not protocol(signature))):
        return "factory"
    if inspect.iscoroutinefunction(call) or protocol(signature) == "asgi":
        return "asgi"
    return {(True, False): "wsgi", (False, True): "asgi"}.get((two, three), protocol(signature))


def takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def protocol(signature: inspect.Signature) -> str:
    """Which interface the names of the parameters belong to."""
    names = list(signature.parameters)
    if names[-2:] == ["receive", "send"]:
        return "asgi"
    return "wsgi" if "start_response" in names else ""


def describe(app: t.Any, asked: dict[str, t.Any], read: set[str]) -> dict[str, t.Any]:
    """The settings that matter in production. Of a key never more than what is wrong with it."""
    found = layers(app)
    told: dict[str, t.Any] = {
        "middleware": [type(layer).__name__ for layer in found],
        "interface": interface(app),
        "framework": next(filter(None, map(framework, found)), ""),
    }
    if told["interface"] == "factory":
        return told
    flask = next((layer for layer in found if framework(layer) in ("flask", "quart")), None)
    if told["framework"] == "django":
        told |= of_django(asked)
    elif flask is not None:
        told |= of_flask(flask, asked, read)
    return told


def of_flask(app: t.Any, asked: dict[str, t.Any], read: set[str]) -> dict[str, t.Any]:
    config, prefix = app.config, f"{framework(app)}_".upper()
    fallbacks = config.get("SECRET_KEY_FALLBACKS") or []
    unread = [
        name
        for name in asked["given"]
        if name.startswith(prefix)
        and not re.match(r"\w+?_(APP|ENV|DEBUG|RUN_\w+|SKIP_DOTENV|SECRET_KEY)$", name)
        and name not in read
        and name.removeprefix(prefix).partition("__")[0] not in config
    ]
    return {
        "debug": bool(app.debug),
        "settings": {name: simple(config.get(name)) for name in COOKIES},
        "key": of_key(config.get("SECRET_KEY"), asked),
        "fallback_keys": [of_key(key, asked) for key in (fallbacks if isinstance(fallbacks, (list, tuple)) else [])],
        "unused_keys": unused_keys(config.get("SECRET_KEY"), asked),
        "unread": unread,
        "static": [[folder and below_here(folder), url] for folder, url in static_of(app)],
    }


def of_django(asked: dict[str, t.Any]) -> dict[str, t.Any]:
    from django.conf import settings  # type: ignore[import-not-found,import-untyped,unused-ignore]

    names = (*COOKIES, "CSRF_COOKIE_SECURE", "SECURE_PROXY_SSL_HEADER", "ALLOWED_HOSTS")
    return {
        "debug": bool(settings.DEBUG),
        "settings": {name: simple(getattr(settings, name, None)) for name in names},
        "key": of_key(settings.SECRET_KEY, asked),
        "fallback_keys": [of_key(key, asked) for key in getattr(settings, "SECRET_KEY_FALLBACKS", None) or []],
        "unused_keys": unused_keys(settings.SECRET_KEY, asked),
    }


def simple(value: t.Any) -> t.Any:
    """A setting as JSON can hold it."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return [str(item) for item in value] if isinstance(value, (list, tuple, set)) else type(value).__name__


def below_here(path: str) -> str:
    """A path relative to the top of the source, if it is below that."""
    path, here = os.path.realpath(path), os.path.realpath("")
    return os.path.relpath(path, here) if path.startswith(here + os.sep) else path


def static_of(app: t.Any) -> t.Iterator[tuple[str, str]]:
    """The directories of static files that the app serves itself, with the path of each."""
    prefix = os.environ.get("SCRIPT_NAME", "").rstrip("/")
    for rule in app.url_map.iter_rules():
        blueprint, _dot, view = rule.endpoint.rpartition(".")
        if view == "static" and "<" in rule.rule:
            owner = app.blueprints.get(blueprint) if blueprint else app
            yield str(getattr(owner, "static_folder", None) or ""), prefix + rule.rule.partition("<")[0]


# --- keys ----------------------------------------------------------------------------------------------------------------


def unused_keys(key: t.Any, asked: dict[str, t.Any]) -> list[str]:
    """The variables that were given to be the key, if the app has another one."""
    names = ("SECRET_KEY", "FLASK_SECRET_KEY", "QUART_SECRET_KEY", "DJANGO_SECRET_KEY", "APP_SECRET_KEY")
    given = {name: os.environ[name] for name in asked["given"] if name in names and name in os.environ}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        with open(f"{os.environ['CREDENTIALS_DIRECTORY']}/secrets.json", encoding="utf-8") as stream:
            held = json.load(stream)
        given |= {name: held[name] for name in names if name in held}
    if not given or not key:
        return []
    values = set()
    for value in given.values():
        values.add(value)
        with contextlib.suppress(ValueError, TypeError):
            values.add(str(json.loads(value)))
    return [] if plain(key) in values else sorted(given)


def plain(key: t.Any) -> str:
    return key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else str(key)


def of_key(key: t.Any, asked: dict[str, t.Any]) -> dict[str, t.Any]:
    """What is wrong with a key: never the key."""
    if not isinstance(key, (str, bytes)) or not key:
        return {"length": 0, "weak": "", "source": ""}
    weak = weakness(plain(key))
    return {"length": len(key), "weak": weak, "source": "" if weak else found_in(roots(asked["wsgi"]), key)}


def weakness(key: str) -> str:
    """Why others could know or guess a key; empty if nothing speaks against it."""
    folded = fold(key)
    if folded in {fold(plain(published)) for published in PUBLISHED}:
        return "known"
    for text in (folded, fold(key, leet=True)):
        if made_of_words(text):
            return "known"
        rest = PLACEHOLDERS.sub("", text)
        if rest != text and len(rest) < 16:
            return "known"
    if key.startswith("django-insecure-"):
        return "known"
    if len(key) < 16:
        return "short"
    if len(set(folded)) < 6 and len(set(key)) < 6:
        return "monotonous"
    if key in (key + key)[1:-1] or is_sequence(folded):
        return "monotonous"
    return ""


def fold(key: str, leet: bool = False) -> str:
    """Letters and digits alone, in lower case; with ``leet`` also what people write for letters."""
    text = key.lower()
    if leet:
        text = text.translate(str.maketrans("0134578@$!", "oieastbasi"))
    return re.sub(r"[\W_]", "", text)


def made_of_words(text: str) -> bool:
    """Whether a text is words of the vocabulary from end to end, and few digits.

    >>> made_of_words("mysupersecretkey123"), made_of_words("kx8qz2")
    (True, False)
    """
    digits = sum(letter.isdigit() for letter in text)
    if not text or digits * 5 > len(text) * 2:
        return False
    reached = {0}
    for start in range(len(text)):
        if start in reached:
            if text[start].isdigit():
                reached.add(start + 1)
            reached.update(start + len(word) for word in VOCABULARY if text.startswith(word, start))
    return len(text) in reached


def is_sequence(text: str) -> bool:
    """Whether most characters follow the one before them, as in an alphabet or in a row of digits."""
    steps = sum(ord(after) - ord(before) in (1, -1) for before, after in itertools.pairwise(text))
    return len(text) > 3 and steps * 5 > len(text) * 4


def roots(wsgi: str) -> list[str]:
    """Where the app's source is: here, and, of an app that is a package, where that is installed."""
    package = wsgi.partition(":")[0].partition(".")[0]
    file = os.path.realpath(getattr(sys.modules.get(package), "__file__", None) or "")
    here = os.getcwd()
    installed = file.endswith("/__init__.py") and not file.startswith(here + os.sep)
    return [here, os.path.dirname(file)] if installed else [here]


def found_in(places: list[str], key: str | bytes) -> str:
    """The file of the source that holds the key as it is, or as Python writes it; empty if there is none."""
    written = {repr(key), ascii(key)} if isinstance(key, str) else {repr(key)[1:]}
    forms = {text[1:-1].encode() for text in written}
    forms.add(key.encode("utf-8", "surrogateescape") if isinstance(key, str) else key)
    files = read = 0
    for root in places:
        for top, directories, names in os.walk(root):
            directories[:] = [name for name in directories if name not in SKIPPED]
            for name in names:
                files += 1
                if files > MOST_FILES or read > MOST_BYTES:
                    return ""
                path = os.path.join(top, name)
                with contextlib.suppress(OSError):
                    if os.path.islink(path) or not os.path.isfile(path) or os.path.getsize(path) > LARGEST_FILE:
                        continue
                    with open(path, "rb") as stream:
                        content = stream.read()
                    read += len(content)
                    if any(form in content for form in forms):
                        return os.path.relpath(path, root)
    return ""


# --- on the side of the module ---------------------------------------------------------------------------------------


def source() -> str:
    """This file, as an argument of the app's Python."""
    code = __loader__.get_source(__name__)  # type: ignore[name-defined]
    return f"{code.decode() if isinstance(code, bytes) else code}\nmain()\n"
