# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another version of an app than the one that its source names.

This plugin util is private to the collection.
"""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

KINDS = {"path": "a directory", "archive": "an archive", "wheel": "a wheel"}


def with_version(app: t.Any, version: str) -> tuple[t.Any, list[str]]:
    """An app of the user's list with this version as its source's, and the error where its source has no versions."""
    source = app.get("source") if isinstance(app, Mapping) else None
    if not isinstance(source, Mapping):
        return app, []
    if source.get("git"):
        return {**app, "source": {**source, "version": version}}, []
    if source.get("pypi"):
        return {**app, "source": {**source, "pypi": f"{str(source['pypi']).split('==', maxsplit=1)[0]}=={version}"}}, []
    kind = next((word for key, word in KINDS.items() if source.get(key)), "nothing")
    return app, [f"version: the source of '{app.get('name')}' is {kind}, which has no version; leave it out"]
