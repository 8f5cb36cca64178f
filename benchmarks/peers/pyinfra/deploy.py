"""The end state by pyinfra: one operation for each thing, as its documentation shows; what follows from a change is
done only after one.
"""

import json
import os
from pathlib import Path

from pyinfra.operations import apt, files, git, pip, server, systemd

state = json.loads(Path(os.environ["BENCHMARK_STATE"]).read_text())
app, home, release = state["app"], f"/srv/{state['app']}", state["release"]
pip_program = f"{state['venv']}/bin/pip"

for path in state["masked"]:
    files.link(path=path, target="/dev/null")
apt.packages(packages=state["packages"], no_recommends=True, update=True, cache_time=3600)
server.user(user=app, home=home, shell="/usr/sbin/nologin", system=True, ensure_home=False)

for path in (home, f"{home}/releases", release, f"{home}/environments", f"{home}/shared"):
    files.directory(path=path)
for path in (f"{home}/shared/data", f"{home}/shared/uploads"):
    files.directory(path=path, user=app, group=app, mode="750")

code = git.repo(src=state["repository"], dest=f"{release}/app", branch="main")
for name in ("data", "uploads"):
    files.link(path=f"{release}/app/{name}", target=f"{home}/shared/{name}")
pip.venv(path=state["venv"], python="python3")
files.link(path=f"{release}/venv", target=state["venv"])
files.link(path=f"{release}/static", target=f"{release}/app/demo_app/static")
files.link(path=f"{home}/current", target=release)
server.shell(
    commands=[
        f"{pip_program} install -q -r {release}/app/requirements.txt",
        f"{pip_program} install -q gunicorn=={state['gunicorn']}",
    ],
    _if=code.did_change,
)

for one in state["directories"]:
    files.directory(path=one["path"], user=one["owner"], group=one["group"], mode=one["mode"])
for directory in state["certificates"]:
    names = ("privkey.pem", "fullchain.pem")
    key, certificate = (f"{directory}/{name}" for name in names)
    server.shell(
        commands=[
            (
                f"test -e {key} || (mkdir -p {directory} && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 "
                f"-nodes -days 397 -subj /CN={state['domain']} -addext subjectAltName=DNS:{state['domain']} "
                f"-keyout {key} -out {certificate} 2>/dev/null)"
            )
        ]
    )
written = [
    files.put(src=one["source"], dest=one["path"], user=one["owner"], group=one["group"], mode=one["mode"])
    for one in state["files"]
]
for one in state["links"]:
    files.link(path=one["path"], target=one["target"])
for path in state["absent"]:
    files.link(path=path, present=False)


def anything_written() -> bool:
    return any(one.did_change() for one in written)


server.shell(
    commands=[
        (
            f"systemd-run --quiet --pipe --wait --uid={app} --property=EnvironmentFile=/etc/flask-ops/{app}/environment "
            f"--working-directory={release}/app {state['venv']}/bin/flask --app demo_app db upgrade"
        )
    ],
    _if=code.did_change,
)
systemd.daemon_reload(_if=anything_written)
server.shell(
    commands=["systemd-tmpfiles --create --prefix=/run; install --directory --mode=0700 /run/flask-ops/nginx"],
    _if=anything_written,
)
for unit in state["units"]:
    systemd.service(service=unit, running=True, enabled=True)
server.shell(commands=["nginx -t && systemctl reload nginx"], _if=anything_written)
server.shell(commands=[f"systemctl restart {' '.join(state['slots'])}"], _if=code.did_change)
