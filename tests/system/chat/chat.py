"""An app with Socket.IO, as docs/bring-your-app.md describes it."""

import os

from flask import Flask
from flask_socketio import SocketIO, emit
from werkzeug.middleware.proxy_fix import ProxyFix

app = Flask(__name__)
app.config.from_prefixed_env()
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]
socketio = SocketIO(app, async_mode="threading")


@socketio.on("say")
def say(text):
    emit("heard", text)


@app.get("/")
def process():
    return str(os.getpid())
