import os
import time

from flask import Flask, request

if os.environ["FLASK_OPS_RELEASE"] == "broken":
    raise RuntimeError("this release is broken")


def create_app():
    app = Flask(__name__)

    @app.get("/healthz")
    def healthz():
        return {"release": os.environ["FLASK_OPS_RELEASE"], "slot": os.environ["FLASK_OPS_SLOT"]}

    @app.get("/slow")
    def slow():
        time.sleep(4)
        return f"slow {os.environ['FLASK_OPS_RELEASE']}"

    @app.get("/write")
    def write():
        with open(request.args["path"], "w") as stream:  # noqa: PTH123
            stream.write("x")
        return "written"

    return app
