# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entry point of ``/opt/flask-ops/flask-ops.pyz``, which the timers of a host run with Python's standard library alone.

    flask-ops.pyz certificates       renew the certificates of the host
    flask-ops.pyz metrics SETTINGS   write metrics for node_exporter

``plugin_utils/_task/zipapp.py`` builds it on the controller from this file and its imports.

This module util is private to the collection.
"""

from __future__ import annotations

import sys


def main() -> int:
    command, *arguments = sys.argv[1:]
    # Each command compiles only its own imports, some of them once a minute.
    if command == "certificates":
        from ansible_collections.flask_ops.production.plugins.module_utils._certificates.manage import renew_all

        return renew_all()
    from ansible_collections.flask_ops.production.plugins.module_utils._metrics.collect import collect

    collect(*arguments)
    return 0
