"""One app of the list, with another version."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flask_ops.production.plugins.filter.with_version import with_version

GIT: dict[str, Any] = {
    "name": "shop",
    "source": {"git": "https://git.example.com/shop.git", "version": "v1"},
    "wsgi": "shop:app",
}
PYPI: dict[str, Any] = {"name": "bin", "source": {"pypi": "httpbin[mainapp]==0.10.1"}}
PATH: dict[str, Any] = {"name": "blog", "source": {"path": "/home/me/blog"}}
GONE: dict[str, Any] = {"name": "old", "state": "absent"}
APPS = [GIT, PYPI, PATH, GONE]


@pytest.mark.parametrize(
    ("app", "version", "source"),
    [
        ("shop", "v2", {"git": "https://git.example.com/shop.git", "version": "v2"}),
        ("shop", None, GIT["source"]),
        ("bin", "0.10.2", {"pypi": "httpbin[mainapp]==0.10.2"}),
        ("blog", None, PATH["source"]),
    ],
)
def test_the_version_is_replaced_and_all_else_is_kept(app: str, version: str | None, source: dict[str, Any]) -> None:
    (chosen,) = with_version(APPS, app, version)
    (given,) = [entry for entry in APPS if entry["name"] == app]
    assert chosen == {**given, "source": source}


@pytest.mark.parametrize(
    ("app", "version", "said"),
    [
        ("shpo", None, "'shpo' is not an app in flask_apps; did you mean 'shop'?"),
        ("zzzzz", None, "'zzzzz' is not an app in flask_apps; there are bin, blog, shop"),
        ("old", None, "'old' is not an app in flask_apps"),
        ("blog", "v2", "the source of 'blog' is a directory, which has no version"),
    ],
)
def test_what_cannot_be_is_refused(app: str, version: str | None, said: str) -> None:
    with pytest.raises(AnsibleFilterError, match=said.replace("?", r"\?")):
        with_version(APPS, app, version)


def test_the_list_itself_is_not_changed() -> None:
    with_version(APPS, "shop", "v2")
    assert GIT["source"]["version"] == "v1"
