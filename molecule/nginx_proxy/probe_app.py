"""What gunicorn serves in this scenario: it returns the request as JSON, and misbehaves on request."""

import json
import time
from urllib.parse import parse_qs


def app(environ, start_response):
    path, query = environ["PATH_INFO"], parse_qs(environ["QUERY_STRING"])
    if path.startswith("/ws/") and environ.get("HTTP_UPGRADE") == "websocket":
        return switch_protocols(environ)
    if path.startswith("/events"):
        return events(path, start_response)
    time.sleep(float(query.get("sleep", ["0"])[0]))
    length = 0
    while chunk := environ["wsgi.input"].read(65536):
        length += len(chunk)
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    shown = {
        "path": environ["RAW_URI"],
        "decoded": path,
        "scheme": environ["wsgi.url_scheme"],
        "headers": headers,
        "length": length,
    }
    answer = json.dumps(shown).encode()
    extra = [("X-Frame-Options", "DENY")] if path == "/own-headers" else []
    extra += [("Set-Cookie", f"c{number}={'x' * 1000}") for number in range(int(query.get("cookies", ["0"])[0]))]
    if path == "/report":
        extra.append(("X-Accel-Redirect", "/handed-over/report.txt"))
    start_response(
        query.get("status", ["200 OK"])[0],
        [("Content-Length", str(len(answer))), ("X-Powered-By", "probe"), ("Via", "1.1 probe"), *extra],
    )
    return [answer]


def events(path, start_response):
    """Three server-sent events, half a second apart."""
    more = [("X-Accel-Buffering", "no")] if path == "/events-by-header" else []
    start_response("200 OK", [("Content-Type", "text/event-stream"), *more])
    for number in range(3):
        yield f"data: {number}\n\n".encode()
        time.sleep(0.5)


def switch_protocols(environ):
    """Enough of a WebSocket for a test: after the handshake, what comes goes back."""
    connection = environ["gunicorn.socket"]
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    while chunk := connection.recv(1024):
        connection.sendall(chunk)
    raise SystemExit
