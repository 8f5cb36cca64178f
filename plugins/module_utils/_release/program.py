# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that another Python runs: modules of this collection, sent as an argument."""

from __future__ import annotations

import types

LOADER = """
import sys, types
def load(name, text):
    sys.modules[name] = module = types.ModuleType(name)
    exec(compile(text, "<flask-ops>", "exec"), vars(module))
    return module
"""


def program(*modules: types.ModuleType) -> str:
    """A text for ``python -c`` which runs ``main`` of the last module. Each may import those before it."""
    lines = [LOADER]
    for module in modules:
        text = module.__loader__.get_source(module.__name__)  # type: ignore[union-attr]
        text = text.decode() if isinstance(text, bytes) else text
        lines.append(f"module = load({module.__name__!r}, {text!r})\n")
    return "".join([*lines, "module.main()\n"])
