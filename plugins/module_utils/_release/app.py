# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app as the ``python_release`` module receives it, and the environment of its builds."""

from __future__ import annotations

import contextlib
import json
import os
import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.flask_ops.production.plugins.module_utils._host.sandbox import sandbox
from ansible_collections.flask_ops.production.plugins.module_utils._host.secrets import scalars
from ansible_collections.flask_ops.production.plugins.module_utils._host.transaction import State, packed
from ansible_collections.flask_ops.production.plugins.module_utils._release.uv import proxies


class ReleaseError(Exception):
    """A release could not be made. The message names the app, the step, and the reason."""


@dataclass(frozen=True)
class App:
    """One app. Paths are absolute unless said otherwise."""

    name: str
    user: str
    root: str
    source: dict[str, t.Any]
    python: str
    wsgi: str
    deploy_key: str = field(default="", repr=False)
    git_token: str = field(default="", repr=False)
    requirements: str = ""
    constraints: str = ""
    installer: str = "uv"
    extra_index: str = field(default="", repr=False)
    wheelhouse: str = ""
    """The checksum of the directory of wheels that everything is installed from, instead of an index."""
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    additional_requirements: tuple[str, ...] = ()
    """Requirements of the app in addition to those that its source lists."""
    extra_requirements: tuple[str, ...] = ()
    """The server and its requirements, unless the app's own requirements include it."""
    files: tuple[tuple[str, str], ...] = ()
    build_command: str = ""
    build_timeout: int = 600
    build_env: tuple[tuple[str, str], ...] = ()
    shared_paths: tuple[str, ...] = ()
    static_path: str = ""
    static_url: str = "/static/"
    static_keep: int = 86400
    environment_file: str = ""
    credentials_directory: str = ""
    migrate: str = ""
    migrate_timeout: int = 300
    fail_on_insecure: bool = False
    accept_insecure: tuple[str, ...] = ()
    server: str = "gunicorn"
    worker_class: str = "gthread"
    deadline: int = 60
    """Seconds that the app may take until it answers, which its import is part of."""
    given: tuple[str, ...] = ()
    """The names in ``env`` and ``secrets``."""
    secret_names: tuple[str, ...] = ()
    keep: int = 3
    sandbox: tuple[tuple[str, str], ...] = tuple(sandbox())
    uploads: t.Mapping[str, str] = field(default_factory=dict)
    """What the controller has sent: ``source`` and ``wheelhouse``, by path."""

    @property
    def releases(self) -> str:
        return os.path.join(self.root, "releases")

    @property
    def environments(self) -> str:
        return os.path.join(self.root, "environments")

    @property
    def build(self) -> str:
        # In a directory that only builds can enter, and no other process of the same user.
        return os.path.join(self.root, ".build", "work")

    def credentials(self) -> dict[str, str]:
        """The files that systemd hands to the app, by name."""
        return json.loads(packed(self.credentials_directory)) if self.credentials_directory else {}

    def linked_release(self, name: str) -> str | None:
        """The release that the link ``current`` or ``previous`` points to."""
        try:
            return os.path.basename(os.readlink(os.path.join(self.root, name)))
        except OSError:
            return None


def build_environment(app: App) -> dict[str, str]:
    """The whole environment of a build. Of the environment that Ansible runs in, only HTTP proxies are passed on."""
    return {
        **proxies(),
        # Files in a wheel cannot be older than 1980, and those of an archive may be.
        "SOURCE_DATE_EPOCH": "315532800",
        "HOME": app.build,
        "TMPDIR": os.path.join(app.build, "tmp"),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
    }


def secret_values(app: App) -> list[str]:
    """The values of an app that must not be shown, from the files that the app gets them from."""
    environment = State.read(app.environment_file).content.decode() if app.environment_file else ""
    found = re.findall(r'^(\w+)="((?:[^"\\]|\\.)*)"$', environment, re.MULTILINE | re.DOTALL)
    values = [re.sub(r"\\(.)", r"\1", quoted) for name, quoted in found if name in app.secret_names]
    for name, text in app.credentials().items():
        values.append(text.strip())
        # Of a file in JSON, the app prints one of its values rather than a line. Short ones of others are no secrets.
        with contextlib.suppress(ValueError):
            values += [value for value in scalars(json.loads(text)) if name == "secrets.json" or len(value) > 16]
    # Of a value of several lines, each by itself.
    return values + [line for value in values for line in value.splitlines() if len(line) > 16]
