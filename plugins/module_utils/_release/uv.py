# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""uv on the host, and the environments that it makes for programs of ours, such as certbot."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import typing as t

from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import (
    ensure_directory,
    host_lock,
    link,
    remove,
    write,
)

UV = (
    "uv==0.13.9"
    # The wheels for x86_64 and aarch64.
    " --hash=sha256:d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19"
    " --hash=sha256:ecb6028d79dc96fbeafffe5c8af62a7099487ebc05a701e76714eebcffd06375"
)
"""The version of uv, as a line of a requirements file."""

TOOLS = "/opt/flask-ops"
"""Where uv and the programs live on the host."""

PYTHONS = f"{TOOLS}/python"
"""Where the interpreters live that the host does not have itself."""

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def proxies() -> dict[str, str]:
    """The HTTP proxies that this run was given, for the programs that fetch something."""
    return {name: value for name, value in os.environ.items() if name.lower() in PROXIES}


SETTINGS = {
    "UV_PYTHON_DOWNLOADS": "never",
    # The host's own CAs: a company's mirror is trusted as everything else on the host trusts it.
    "UV_SYSTEM_CERTS": "1",
    "UV_COMPILE_BYTECODE": "1",
    "UV_LINK_MODE": "copy",
}


def ensure_uv(wheels: str = "") -> str:
    """Return the path of uv on this host, installing it first, checked by its hashes, where it is missing.

    :param wheels: a directory to install it from, instead of an index.
    """
    version = UV.split("==", 1)[1].split()[0]
    home = os.path.join(TOOLS, f"uv-{version}")
    with tools_lock():
        _install_uv(home, version, wheels)
    return f"{home}/bin/uv"


def tools_lock() -> contextlib.AbstractContextManager[None]:
    """One run at a time installs programs: two apps may be deployed at once."""
    return host_lock(os.path.join(TOOLS, ".lock"))


def _install_uv(home: str, version: str, wheels: str) -> None:
    if not os.path.exists(f"{home}/.complete"):
        remove(home)
        # Debian has a wheel of pip, which runs as it is: to install it first takes as long as all the rest.
        wheel = next(iter(glob.glob("/usr/share/python-wheels/pip-*.whl")), "")
        run(["/usr/bin/python3", "-m", "venv", *(["--without-pip"] if wheel else []), home])
        listed = os.path.join(home, "requirements.txt")
        write(listed, f"{UV}\n".encode(), 0o644, "root", "root")
        pip = [f"{home}/bin/python", *([f"{wheel}/pip"] if wheel else ["-m", "pip"])]
        pip += ["--quiet", "--no-input", "--disable-pip-version-check"]
        origin = ["--no-index", f"--find-links={wheels}"] if wheels else []
        try:
            run([*pip, "install", "--only-binary=:all:", "--require-hashes", *origin, f"--requirement={listed}"])
        except CommandError as error:
            hint = f" Put the wheel of uv {version} into the wheelhouse, or choose installer: pip." if wheels else ""
            raise CommandError(f"uv cannot be installed.{hint} {error}") from error
        write(f"{home}/.complete", b"", 0o644, "root", "root")


def interpreter(wanted: str) -> str:
    """The path of an interpreter, given by its path or its version: the host's own, or else one that uv installed.

    A version that is not there gets the path that it will have.
    """
    if wanted.startswith("/"):
        return wanted
    name = f"python{wanted}"
    own = [path for path in (f"/usr/bin/{name}", f"/usr/local/bin/{name}") if os.path.exists(path)]
    return own[0] if own else os.path.join(PYTHONS, wanted, "bin", name)


def ensure_python(path: str, mirror: str = "") -> None:
    """Install the interpreter that :func:`interpreter` promised, unless it is there."""
    if not path.startswith(f"{PYTHONS}/") or os.path.exists(path):
        return
    version = path.removeprefix(f"{PYTHONS}/").split("/")[0]
    uv = ensure_uv()
    environment = {
        "HOME": "/root",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "UV_PYTHON_INSTALL_DIR": PYTHONS,
        "UV_SYSTEM_CERTS": "1",
        "UV_NO_CACHE": "1",
        **proxies(),
        **({"UV_PYTHON_INSTALL_MIRROR": mirror} if mirror else {}),
    }
    with tools_lock():
        ensure_directory(PYTHONS)
        try:
            run([uv, "python", "install", "--quiet", "--no-bin", version], env=environment, timeout=900)
            found = run([uv, "python", "find", "--managed-python", "--no-project", version], env=environment).strip()
        except CommandError as error:
            raise CommandError(
                f"python: this host has no Python {version}, and uv cannot install it. Without a way to GitHub, set "
                f"python_app_python_mirror. {error}"
            ) from error
        link(os.path.join(PYTHONS, version), os.path.dirname(os.path.dirname(os.path.realpath(found))))


def tool_home(name: str, requirements: str, extra: t.Sequence[str], python: str) -> str:
    """Where the environment with exactly these packages is, or would be."""
    inputs = "\n".join([requirements, *extra, run([python, "-c", "import sys; print(sys.version)"])])
    return os.path.join(TOOLS, f"{name}-{hashlib.sha256(inputs.encode()).hexdigest()[:8]}")


def tool_complete(name: str, home: str) -> bool:
    """Whether the environment is there, its Python too, which an upgrade of Debian takes away, and is the one in use."""
    place = os.path.join(TOOLS, name)
    return (
        os.path.exists(f"{home}/.complete")
        and os.path.exists(f"{home}/bin/python")
        and os.path.islink(place)
        and os.readlink(place) == home
    )


def build_tool(name: str, home: str, requirements: str, extra: t.Sequence[str], python: str) -> None:
    """Build the new environment, while the old one is in use, and point the link ``/opt/flask-ops/<name>`` to it last.

    :param requirements: text of a requirements file, every line with its hashes.
    :param extra: more lines, in versions that fit to those.
    """
    uv = ensure_uv()
    with tools_lock():
        _build_tool(uv, name, home, requirements, extra, python)


def _build_tool(uv: str, name: str, home: str, requirements: str, extra: t.Sequence[str], python: str) -> None:
    environment = {
        **SETTINGS,
        **proxies(),
        "UV_NO_CACHE": "1",
        "HOME": "/root",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
    }
    remove(home)
    run([uv, "venv", "--quiet", "--python", python, home], env=environment)
    # Nothing is built here: a package could run anything while it is, and this is root.
    install = [uv, "pip", "install", "--quiet", "--no-build", "--python", f"{home}/bin/python"]
    pinned, wanted = f"{home}/requirements.txt", f"{home}/extra-requirements.txt"
    write(pinned, requirements.encode(), 0o644, "root", "root")
    run([*install, "--require-hashes", "--requirement", pinned], env=environment)
    if extra:
        write(wanted, "".join(f"{line}\n" for line in extra).encode(), 0o644, "root", "root")
        run([*install, "--constraint", pinned, "--requirement", wanted], env=environment)
    write(f"{home}/.complete", b"", 0o644, "root", "root")
    link(os.path.join(TOOLS, name), home)
    for other in glob.glob(os.path.join(TOOLS, f"{name}-*")):
        if other != home:
            remove(other)
