"""What the tests of the schema share: an app that is right, and the errors of a list of apps."""

from __future__ import annotations

import copy
import re
from typing import Any

from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.apps import ask, prepare
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import app_roles

SHOP: dict[str, Any] = {
    "name": "shop",
    "source": {"git": "https://git.example.com/acme/shop.git", "version": "v1.4.2"},
    "wsgi": "shop:create_app()",
    "domains": ["shop.example.com"],
}
KEY = "2f0c9a1b7d205e1c88aa9be01c44f1aa"
PEM = "-----BEGIN OPENSSH " + "PRIVATE KEY-----\nYWJj\n-----END OPENSSH PRIVATE KEY-----\n"


def app(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(SHOP) | changes


def errors_of(*apps: Any) -> list[str]:
    """The errors of the whole list, with places by number alone: ``flask_apps[0]`` for ``flask_apps[0] (shop)``."""
    given, _prepared, errors = prepare(list(apps), "flask_apps", app_roles())
    errors = errors or ask("final_errors", app_roles(), given, {}, "flask_apps")
    return [re.sub(r"(\]) \([a-z0-9-]+\)", r"\1", error) for error in errors]


def prepared(*apps: dict[str, Any]) -> list[dict[str, Any]]:
    """Apps with all that the roles need."""
    _given, found, errors = prepare(list(apps), "flask_apps", app_roles())
    assert errors == []
    return [dict(app) for _place, app in found]
