# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports an app as gunicorn does, and describes how it is set up: the program of the pre-flight.

The app's own Python runs this file after ``secret_keys`` and ``app_settings``, as one program and as the app's user. It
uses the standard library alone, and prints one object of JSON. The app is imported in a child process, whose result comes through shared memory: whatever an app prints, closes,
replaces or leaves running, it cannot disturb the answer.
"""

from __future__ import annotations

import contextlib
import difflib
import faulthandler
import importlib
import inspect
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

from ansible_collections.flask_ops.production.plugins.module_utils._release.app_settings import (
    describe,
    framework,
    makes_apps,
)

RESULT_SIZE = 1 << 20
"""Bytes of shared memory for the description of an app."""

HEAD, TAIL = 4_000, 16_000
"""How many bytes of what the app prints are kept, from its beginning and its end."""

CODE = "<wsgi>"
"""The file name of the expression in ``wsgi``, by which its frame is known."""

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


class ServerStarted(BaseException):
    """The app starts a server while it is imported. No ``except Exception`` of the app's may catch this."""


class NotAnApp(Exception):
    """What ``wsgi`` names is there, and is no application."""


class NoSuchName(Exception):
    """What ``wsgi`` names is not in the module."""


# --- the parent: waits, and reports whatever happens to the child ------------------------------------------------------


def main() -> None:
    request = json.loads(sys.argv[1])
    sys.argv[:] = ["gunicorn"]
    shared = mmap.mmap(-1, RESULT_SIZE)
    printed, crash = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        for descriptor in (printed[0], crash[0]):
            os.close(descriptor)
        os.dup2(printed[1], 1)
        os.dup2(printed[1], 2)
        os.close(printed[1])
        examine(request, shared, crash[1])
        os._exit(0)
    for descriptor in (printed[1], crash[1]):
        os.close(descriptor)
    for descriptor in (printed[0], crash[0]):
        os.set_blocking(descriptor, False)
    output = HeadAndTail()
    status = wait_for_child(child, shared, printed[0], output, request["limit"])
    result = result_of(shared)
    if result is None:
        result = {
            "failure": {
                **exit_reason(status, request["limit"]),
                "where": read_available(crash[0]).decode("utf-8", "replace"),
            }
        }
    result["output"] = output.text()
    sys.stdout.write(json.dumps(result))
    sys.stdout.flush()
    os._exit(0)


class HeadAndTail:
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


def wait_for_child(child: int, shared: mmap.mmap, printed: int, output: HeadAndTail, limit: float) -> int | None:
    """Wait for the child to end; kill it when the time is over. Return its status, or None if it was killed."""
    deadline, answered = time.monotonic() + limit, False
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        with contextlib.suppress(OSError):
            select.select([printed], [], [], 0 if done else 0.05)
        data = read_available(printed)
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


def read_available(descriptor: int, limit: int = 1 << 20) -> bytes:
    """Whatever there is to read, without waiting."""
    found = b""
    with contextlib.suppress(OSError):
        while len(found) < limit:
            data = os.read(descriptor, 1 << 16)
            if not data:
                break
            found += data
    return found


def result_of(shared: mmap.mmap) -> dict[str, t.Any] | None:
    length = int.from_bytes(shared[:8], "big")
    return json.loads(shared[8 : 8 + length]) if length else None


def exit_reason(status: int | None, limit: float) -> dict[str, t.Any]:
    """How a child ended that has not answered."""
    if status is None:
        return {"kind": "timeout", "limit": limit}
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
        return {"kind": "signal", "signal": name}
    return {"kind": "exit", "status": os.WEXITSTATUS(status)}


# --- the child: imports the app ----------------------------------------------------------------------------------------


def examine(request: dict[str, t.Any], shared: mmap.mmap, crash: int) -> None:
    os.set_blocking(crash, False)
    faulthandler.enable(crash)
    faulthandler.register(signal.SIGUSR2, crash, all_threads=True)
    read = watch_environment()
    sys.addaudithook(refuse_server)
    try:
        app = load(request["wsgi"])
        try:
            result = describe(app, request, read)
        except Exception as error:  # noqa: BLE001 - an app of an unusual kind is no reason not to serve it
            result = {"error": type(error).__name__}
        json.dumps(result)
    except BaseException as error:  # noqa: BLE001 - sys.exit() at import, too, is something to report
        result = {"failure": failure(error)}
    answer = json.dumps(result).encode()
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


def failure(error: BaseException) -> dict[str, t.Any]:
    """What went wrong, with the app's own lines of the traceback."""
    result: dict[str, t.Any] = {"kind": "error", "lines": traceback_lines(error)}
    if isinstance(error, ServerStarted):
        result |= {"kind": "server", "lines": app_frames(error, last=False)}
    elif isinstance(error, SystemExit):
        result |= {"kind": "exit", "status": error.code if isinstance(error.code, int) else 1}
        if isinstance(error.code, int) or error.code is None:
            result["status"] = error.code or 0
        else:
            result["lines"] = [*app_frames(error), str(error.code)[:2000]]
    elif isinstance(error, NoSuchName):
        result |= {"kind": "name", "lines": [], "name": error.args[0], "candidates": error.args[1]}
    elif isinstance(error, NotAnApp):
        result |= {"kind": "type", "lines": [], "type": error.args[0], "candidates": error.args[1]}
    elif isinstance(error, ModuleNotFoundError):
        result["module"] = error.name
        result["modules"] = modules()
    return result


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


def traceback_lines(error: BaseException) -> list[str]:
    """The traceback as a person needs it: the app's own frames, the last one, the exception, and its causes."""
    lines = app_frames(error)
    lines += exception_lines(error)
    effect = error
    for _level in range(5):
        cause = effect.__cause__ or (None if effect.__suppress_context__ else effect.__context__)
        if cause is None:
            break
        effect = cause
        lines += [f"caused by {line}" if not number else line for number, line in enumerate(exception_lines(cause))]
    for inner in getattr(error, "exceptions", ())[:3]:
        lines += [f"  - {line}" for line in exception_lines(inner)]
    return lines


def exception_lines(error: BaseException) -> list[str]:
    text = "".join(traceback.format_exception_only(type(error), error))
    if len(text) > 3000:
        text = f"{text[:1500]} ... {text[-1500:]}"
    return text.rstrip().splitlines()


def app_frames(error: BaseException, last: bool = True) -> list[str]:
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
