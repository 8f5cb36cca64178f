"""Talk with chat.py through nginx on the same host, and tell what was heard: by WebSocket, and by polling as 12 clients."""

import http.client
import json
import ssl

import simple_websocket

HOST = "chat.flask-ops.test"
ENGINE = "/socket.io/?EIO=4&transport="
ANYBODY = ssl._create_unverified_context()


def by_websocket():
    server = simple_websocket.Client(f"wss://{HOST}{ENGINE}websocket", ssl_context=ANYBODY)
    server.receive()
    for words in ("40", '42["say","hello"]'):
        server.send(words)
        heard = server.receive()
    server.close()
    return heard


def ask(client, path, words=None):
    connection = http.client.HTTPSConnection(HOST, context=ANYBODY, source_address=(client, 0), timeout=20)
    connection.request("POST" if words else "GET", path, body=words)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return text if answer.status == 200 else f"{answer.status} {text}"


def by_polling(client):
    session = json.loads(ask(client, f"{ENGINE}polling")[1:])["sid"]
    path = f"{ENGINE}polling&sid={session}"
    for words in ("40", '42["say","hello"]'):
        ask(client, path, words)
        heard = ask(client, path)
    return heard


clients = [f"127.0.0.{number}" for number in range(11, 23)]
processes = [{ask(client, "/") for _ in range(4)} for client in clients]
print(
    json.dumps(
        {
            "by polling": [by_polling(client) for client in clients],
            # Last: its thread closes a file descriptor late, which may be another connection's by then.
            "by WebSocket": by_websocket(),
            "processes of a client": [sorted(found) for found in processes],
            "processes": sorted(set().union(*processes)),
        }
    )
)
