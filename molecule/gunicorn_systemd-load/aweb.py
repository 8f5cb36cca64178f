import asyncio
import hashlib
import json
import os
from urllib.parse import parse_qs

WHO = {"release": os.environ["FLASK_OPS_RELEASE"], "slot": os.environ["FLASK_OPS_SLOT"]}


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    answer = {**WHO, "length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    if scope["path"] == "/slow":
        await asyncio.sleep(float(parse_qs(scope["query_string"].decode())["seconds"][0]))
    answer |= {"client": scope["client"], "server": scope["server"], "scheme": scope["scheme"]}
    if scope["path"] == "/say":
        text = dict(scope["headers"])[b"x-request-id"]
    else:
        text = json.dumps(answer).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
    await send({"type": "http.response.body", "body": text})
