"""An app of the list, with another version."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.versions import with_version

GIT = {"git": "https://git.example.com/shop.git", "version": "v1"}


@pytest.mark.parametrize(
    ("source", "version", "expected"),
    [
        (GIT, "v2", GIT | {"version": "v2"}),
        ({"pypi": "httpbin[mainapp]==0.10.1"}, "0.10.2", {"pypi": "httpbin[mainapp]==0.10.2"}),
    ],
)
def test_the_version_is_replaced_and_all_else_is_kept(source: dict[str, Any], version: str, expected: dict[str, Any]):
    app = {"name": "shop", "wsgi": "shop:app", "source": source}
    before = copy.deepcopy(app)
    assert with_version(app, version) == ({**app, "source": expected}, [])
    assert app == before


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ({"path": "/home/me/blog"}, "a directory"), ({"archive": "/a.tgz"}, "an archive"), ({"wheel": "/a.whl"}, "a wheel"),
        ({}, "nothing"),
    ],
)  # fmt: skip
def test_a_source_that_has_no_versions_is_refused(source: dict[str, Any], kind: str):
    app = {"name": "blog", "source": source}
    error = f"version: the source of 'blog' is {kind}, which has no version; leave it out"
    assert with_version(app, "v2") == (app, [error])


@pytest.mark.parametrize("app", [{"name": "old", "state": "absent"}, {"source": "x"}, "shop", None])
def test_what_has_no_source_is_left_to_the_other_checks(app: Any):
    assert with_version(app, "v2") == (app, [])
