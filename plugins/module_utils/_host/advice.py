# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line of advice for errors that many apps meet: which option to set."""

from __future__ import annotations

import os
import re
import typing as t

PACKAGES = {
    # By the Python package: the Debian packages that it is built with, or that it loads.
    "cffi": "gcc python3-dev libffi-dev",
    "cryptography": "gcc python3-dev libssl-dev",
    "cysqlite": "gcc python3-dev libsqlite3-dev",
    "dbus-python": "gcc python3-dev libdbus-1-dev libglib2.0-dev pkgconf",
    "gdal": "g++ python3-dev libgdal-dev",
    "gssapi": "gcc python3-dev libkrb5-dev",
    "h5py": "gcc python3-dev libhdf5-dev pkgconf",
    "lxml": "gcc python3-dev libxml2-dev libxslt1-dev zlib1g-dev",
    "mariadb": "gcc python3-dev libmariadb-dev",
    "mysqlclient": "gcc python3-dev libmariadb-dev pkgconf",
    "pillow": "gcc python3-dev libjpeg-dev zlib1g-dev libfreetype-dev libwebp-dev",
    "psycopg": "libpq5",
    "psycopg-c": "gcc python3-dev libpq-dev",
    "psycopg2": "gcc python3-dev libpq-dev",
    "pycairo": "gcc python3-dev libcairo2-dev pkgconf",
    "pycurl": "gcc python3-dev libcurl4-openssl-dev libssl-dev",
    "pygobject": "gcc python3-dev libgirepository-2.0-dev libcairo2-dev pkgconf",
    "pygraphviz": "gcc python3-dev graphviz libgraphviz-dev pkgconf",
    "pymssql": "gcc python3-dev freetds-dev",
    "pyodbc": "g++ python3-dev unixodbc-dev",
    "python-ldap": "gcc python3-dev libldap-dev libsasl2-dev",
    "python-magic": "libmagic1",
    "uwsgi": "gcc python3-dev",
    "weasyprint": "libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0",
    "xmlsec": "gcc python3-dev libxmlsec1-dev libxml2-dev pkgconf",
}

MISSING = {
    # By what is missing: headers, programs, libraries.
    "Python.h": "gcc python3-dev",
    "ffi.h": "gcc python3-dev libffi-dev",
    "libpq-fe.h": "gcc python3-dev libpq-dev",
    "pg_config": "gcc python3-dev libpq-dev",
    "libpq": "libpq5",
    "mysql.h": "gcc python3-dev libmariadb-dev pkgconf",
    "mysql_config": "gcc python3-dev libmariadb-dev pkgconf",
    "mariadb_config": "gcc python3-dev libmariadb-dev",
    "ldap.h": "gcc python3-dev libldap-dev libsasl2-dev",
    "lber.h": "gcc python3-dev libldap-dev libsasl2-dev",
    "sasl.h": "gcc python3-dev libldap-dev libsasl2-dev",
    "sql.h": "g++ python3-dev unixodbc-dev",
    "xmlsec1": "gcc python3-dev libxmlsec1-dev libxml2-dev pkgconf",
    "cairo": "gcc python3-dev libcairo2-dev pkgconf",
    "jpeglib.h": "gcc python3-dev libjpeg-dev zlib1g-dev",
    "zlib.h": "gcc python3-dev zlib1g-dev",
    "xslt-config": "gcc python3-dev libxml2-dev libxslt1-dev zlib1g-dev",
    "xmlversion.h": "gcc python3-dev libxml2-dev libxslt1-dev zlib1g-dev",
    "libxml/xmlversion.h": "gcc python3-dev libxml2-dev libxslt1-dev zlib1g-dev",
    "curl-config": "gcc python3-dev libcurl4-openssl-dev libssl-dev",
    "openssl/ssl.h": "gcc python3-dev libssl-dev",
    "gssapi.h": "gcc python3-dev libkrb5-dev",
    "krb5-config": "gcc python3-dev libkrb5-dev",
    "gdal-config": "g++ python3-dev libgdal-dev",
    "pkg-config": "pkgconf",
    "cmake": "cmake g++",
    "make": "make gcc",
    "git": "git",
    "cargo": "cargo",
    "rustc": "cargo",
    "g++": "g++ python3-dev",
    "c++": "g++ python3-dev",
    "gcc": "gcc python3-dev",
    "cc": "gcc python3-dev",
    "libpango-1.0-0": "libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0",
    "libgobject-2.0-0": "libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0",
    "libmagic": "libmagic1",
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libmariadb.so.3": "libmariadb3",
    "libpq.so.5": "libpq5",
    "libldap": "libldap2",
    "ffmpeg": "ffmpeg",
    "node": "nodejs",
    "npm": "npm",
}

Advice = t.Callable[[re.Match[str], str], str]


def with_advice(text: str) -> str:
    """An error's text, with a line of advice at its end if there is some for it."""
    found = advice(text)
    return f"{text}\n=> {found}" if found and found not in text else text


def advice(text: str) -> str:
    """What to set, by the first pattern that the text of an error matches; else empty."""
    for pattern, answer in ADVICE:
        match = re.search(pattern, text, re.IGNORECASE | re.MULTILINE)
        if match:
            given = answer if isinstance(answer, str) else answer(match, text)
            if given:
                return given
    return ""


def _read_only(match: re.Match[str], _text: str) -> str:
    path = match["path"]
    if re.search(r"/(environments/[^/]+|releases/[^/]+/venv)/", path):
        return (
            "the virtual environment is read-only. Give the app a path below its directory 'shared' "
            "(Flask(..., instance_path=...), or the setting that names the file)."
        )
    inside = re.search(r"/(?:releases/[^/]+|current)/app/(.+)", path)
    relative = inside[1] if inside else path
    if relative.startswith("/"):
        return f"the app may write below its shared_paths and in /tmp alone; have it write there instead of {path}."
    return _share(relative.removeprefix("./"))


def _share(path: str) -> str:
    parent, name = os.path.split(path.rstrip("/"))
    is_file = "." in name.lstrip(".")
    if is_file and not parent:
        return f"a release is read-only. Have the app write '{name}' in a directory, and set shared_paths: [<that directory>]."
    return f"a release is read-only. Set shared_paths: [{parent if is_file else path.rstrip('/')}]."


def _install(names: str) -> str:
    return f"set packages: [{', '.join(names.split())}]; site.yml installs them."


def _for_missing(match: re.Match[str], text: str) -> str:
    package = _package(text)
    if package in PACKAGES:
        return f"{package} needs Debian packages: {_install(PACKAGES[package])}"
    what = match["what"].strip("'\"`")
    what = re.sub(r"^\w+-linux-gnu-", "", what)
    names = MISSING.get(what) or MISSING.get(os.path.basename(what)) or MISSING.get(what.partition(".so")[0])
    if names:
        return f"{f'{package} is built on the host, and ' if package else ''}{what} is missing: {_install(names)}"
    if what.endswith((".h", ".hpp")) or ".so" in what:
        return f"{what} is missing: set packages: [...] to the Debian package that has it (apt-file search {what})."
    return ""


def _package(text: str) -> str:
    """The Python package whose build failed."""
    found = re.search(r"Failed to build [`'\"]?([A-Za-z0-9._-]+?)(?:==|[`'\"@ ]|$)", text, re.MULTILINE) or re.search(
        r"Failed building wheel for ([A-Za-z0-9._-]+)", text
    )
    return re.sub(r"[-_.]+", "-", found[1]).lower() if found else ""


def _failed_build(_match: re.Match[str], text: str) -> str:
    package = _package(text)
    if package in PACKAGES:
        return f"{package} needs Debian packages: {_install(PACKAGES[package])}"
    if not package or package == "installable":
        return ""
    return (
        f"{package} has no wheel for this Python, and could not be built. Raise its version, set packages: [...] to "
        "what its build needs, or python: to an interpreter that it has wheels for."
    )


def _no_module(match: re.Match[str], _text: str) -> str:
    return (
        f"if '{match['what']}' is a package, add it to the app's requirements (an extra or a group counts only where it "
        "is chosen); if it is the app's own, the source must have it at its top, or install it."
    )


ADVICE: tuple[tuple[str, str | Advice], ...] = (
    (r"Read-only file system: '(?P<path>[^']+)'", _read_only),
    (r"(?:cannot|could not|can't) \w+ (?:directory |file )?['\u2018\"]?(?P<path>[^'\u2019\":]+)['\u2019\"]?: Read-only file system", _read_only),
    (r"Read-only file system|attempt to write a readonly database", "a release is read-only. Set shared_paths: [<the directory that the app writes to>]."),
    (
        r"unable to open database file",
        "keep the database below one of the app's shared_paths (shared_paths: [instance] for Flask's instance folder).",
    ),
    (
        r"no such table|relation \"?[\w.]+\"? does not exist|table '[\w.]+' doesn't exist",
        "the database lacks what the release needs. Set migrate: to the command that creates and updates it.",
    ),
    (r"fatal error: (?P<what>\S+\.h(pp)?): No such file", _for_missing),
    (r"Error: (?P<what>pg_config) executable not found|(?P<alias>mysql_config): not found", lambda match, text: _for_missing(re.match("(?P<what>.*)", match["what"] or match["alias"]), text)),  # type: ignore[arg-type]
    (r"command ['`\"]?(?P<what>[\w.+/-]+)['`\"]? failed: No such file", _for_missing),
    (r"(?:^|[\s:'`])(?P<what>pg_config|mysql_config|mariadb_config|pkg-config|xslt-config|curl-config|krb5-config|gdal-config|cmake|make|cargo|rustc|node|npm|ffmpeg)['`]?(?: executable)?: (?:command )?not found", _for_missing),
    (r"No such file or directory: '(?P<what>[^'/ ]*(?:gcc|g\+\+|cc|c\+\+|pg_config|mysql_config|pkg-config|cmake|cargo|git|node|npm|ffmpeg))'", _for_missing),
    (r"(?P<what>pkg-config|pkgconf)\b.{0,40}(?:not found|is required|could not be found)", _for_missing),
    (r"(?P<what>pg_config|mysql_config) (?:executable )?(?:is )?(?:not found|required)", _for_missing),
    (r"Please make sure the (?P<what>libxml2) and libxslt development packages", lambda _match, _text: _install(PACKAGES["lxml"])),
    (r"Package (?P<what>[\w.+-]+) was not found in the pkg-config search path", _for_missing),
    (r"cannot load library '?(?P<what>[\w.+-]+)", _for_missing),
    (r"(?P<what>lib[\w.+-]+\.so[\w.]*): cannot open shared object file", _for_missing),
    (r"failed to find libmagic", lambda _match, _text: _install("libmagic1")),
    (r"(?:no|unable to find|couldn't find|could not find) .{0,30}\bC(?:\+\+)? compiler", lambda _match, text: _failed_build(_match, text) if _package(text) in PACKAGES else _install("gcc g++ python3-dev")),
    (r"Permission denied \(publickey", "set source.deploy_key to a private key that the repository accepts, and source.known_hosts to the server's keys."),
    (r"Host key verification failed", "set source.known_hosts to the keys of the server, as ssh-keyscan prints them."),
    (r"could not read Username|Authentication failed for|terminal prompts disabled", "the repository is not public: take its SSH address and source.deploy_key."),
    (r"No space left on device|Errno 28", "the disk is full: df -h shows which; python_app_keep_releases limits how many releases are kept."),
    (r"Disk quota exceeded", "the app's user has used up its disk quota."),
    (
        r"Cannot allocate memory|MemoryError|oom-kill|Killed signal terminated program|died by signal SIGKILL|exited with status 137",
        "probably the host's memory was used up: see journalctl -k, and raise limits.memory_max, or the memory of the host.",
    ),
    (r"Address already in use", "another process has that port. An app must not open ports of its own while it is imported."),
    (
        r"Temporary failure in name resolution|Name or service not known|Could not resolve host|failed to lookup address|dns error",
        "the host cannot resolve that name: check the name, and the server's DNS (resolvectl query NAME).",
    ),
    (
        r"tcp connect error|Connection timed out|Network is unreachable|ProxyError|Tunnel connection failed|Failed to connect to",
        "the host does not reach that address. Behind an HTTP proxy, builds need its address; without a way out, a wheelhouse.",
    ),
    (r"certificate verify failed|invalid peer certificate|UnknownIssuer", "the server's certificate is not from a CA that this host trusts: add the CA with update-ca-certificates."),
    (
        r"setuptools[-_]scm was unable to detect version",
        'the source has no version of its own: set build: {env: {SETUPTOOLS_SCM_PRETEND_VERSION: "1.4.2"}}.',
    ),
    (r"Can not find valid pkg-config name", lambda _match, _text: _install(PACKAGES["mysqlclient"])),
    (r"ModuleNotFoundError: No module named '(?P<what>[\w.]+)'", _no_module),
    (r"Failed to build|Failed building wheel", _failed_build),
    (r"requires-python|requires a different Python|Requires-Python", "set python: to an interpreter on the host that fits, or change what the app asks for."),
    (r"hashes are required in --require-hashes|do not match the hashes", "with hashes in a requirements file, every line needs its own: write it with pip-compile --generate-hashes."),
)  # fmt: skip
