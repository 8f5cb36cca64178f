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
    """One app. An attribute that is not listed here is the option of this name, such as ``migrate``."""

    options: t.Mapping[str, t.Any]
    """The prepared app without its secrets. Of a wheelhouse, the checksum."""
    user: str
    root: str
    python: str
    deploy_key: str = field(default="", repr=False)
    git_token: str = field(default="", repr=False)
    extra_index: str = field(default="", repr=False)
    server_requirements: tuple[str, ...] = ()
    """The server and its requirements, unless the app's own requirements include it."""
    build_env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    environment_file: str = ""
    credentials_directory: str = ""
    keep: int = 3
    uploads: t.Mapping[str, str] = field(default_factory=dict)
    """What the controller has sent: ``source`` and ``wheelhouse``, by path."""

    def __getattr__(self, name: str) -> t.Any:
        if name in self.options:
            return self.options[name]
        raise AttributeError(name)

    @property
    def sandbox(self) -> tuple[tuple[str, str], ...]:
        return tuple(sandbox(**self.options["sandbox"], limits=self.limits))

    @property
    def releases(self) -> str:
        return os.path.join(self.root, "releases")

    @property
    def environments(self) -> str:
        return os.path.join(self.root, "environments")

    @property
    def build_directory(self) -> str:
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
        "HOME": app.build_directory,
        "TMPDIR": os.path.join(app.build_directory, "tmp"),
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
