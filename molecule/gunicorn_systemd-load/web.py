"""The app of all releases; some of them have a fault, by which they are called."""

import contextlib
import hashlib
import importlib
import logging
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

from flask import Flask, Response, request

WHO = {"release": os.environ["FLASK_OPS_RELEASE"], "slot": os.environ["FLASK_OPS_SLOT"]}
GO = Path("/srv/web/go")

if WHO["release"] == "broken":
    importlib.import_module("no_such_module")


def end_the_server():
    if GO.exists():
        os.kill(os.getppid(), signal.SIGKILL)


if WHO["release"] == "dies":
    threading.Timer(4, end_the_server).start()
while WHO["release"] == "slow" and not GO.exists():
    time.sleep(0.2)

app = Flask(__name__)
app.logger.setLevel(logging.INFO)

if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
    from prometheus_client import CollectorRegistry, Counter, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    ASKED = Counter("asked", "How often somebody asked for metrics.")

    @app.get("/metrics")
    def metrics():
        ASKED.inc()
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        return generate_latest(registry)


@app.get("/")
@app.get("/healthz")
def who():
    if request.path == "/healthz" and (
        WHO["release"] == "sick"
        or (WHO["release"] == "sickens" and not GO.exists())
        or (WHO["release"] == "fails-behind-nginx" and "X-Real-IP" in request.headers)
    ):
        return "", 500
    return {**WHO, "pid": os.getpid(), "scheme": request.scheme, "client": request.headers.get("X-Forwarded-For")}


@app.post("/echo")
def echo():
    body = request.get_data()
    return {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}


@app.get("/slow")
def slow():
    time.sleep(float(request.args["seconds"]))
    return "done"


class Upgraded(Response):
    """As flask-sock does: gunicorn learns that nothing is left to answer."""

    def __call__(self, environ, start_response):
        raise StopIteration


@app.route("/websocket", websocket=True)
def websocket():
    from simple_websocket import ConnectionClosed, Server

    channel = Server.accept(request.environ)
    with contextlib.suppress(ConnectionClosed):
        while True:
            channel.send(channel.receive())
    return Upgraded()


@app.get("/say")
def say():
    app.logger.info("said by the app")
    return request.headers["X-Request-ID"]


@app.get("/fail")
def fail():
    raise RuntimeError("this page fails")


@app.get("/files")
def files():
    """Open as many files as asked for, and close them."""
    with contextlib.ExitStack() as opened:
        for _ in range(int(request.args["count"])):
            opened.enter_context(Path("/dev/null").open())
    return "closed"


@app.get("/fork")
def fork():
    """Start as many processes as asked for; say how many there were."""
    started = []
    try:
        for _ in range(int(request.args["count"])):
            started.append(subprocess.Popen(["sleep", "20"]))
    except OSError:
        pass
    finally:
        for process in started:
            process.kill()
            process.wait()
    return str(len(started))


@app.get("/memory")
def memory():
    return str(len(bytearray(int(request.args["mib"]) * 1024 * 1024)))


@app.get("/memory-of-the-host")
def memory_of_the_host():
    import psutil

    return str(psutil.virtual_memory().total)
