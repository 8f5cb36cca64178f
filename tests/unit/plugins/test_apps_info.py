"""The deploys in the status."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.flask_ops.production.plugins.module_utils._metrics.deploys import deploys_by_app
from ansible_collections.flask_ops.production.plugins.modules.apps_info import deploy_in_words

DEPLOY = {
    "time": "2026-11-23T18:36:12+00:00", "app": "shop", "by": "me@laptop as ops", "from": "r1", "to": "r2",
    "slot": "green", "result": "ok", "seconds": 3.1, "reason": None,
}  # fmt: skip


def test_each_app_has_its_deploys_in_words(tmp_path: Path):
    log = tmp_path / "deploys.jsonl"
    failed = DEPLOY | {"app": "blog", "from": None, "result": "failed", "reason": "blog: GET / gave 500"}
    log.write_text("".join(json.dumps(deploy) + "\n" for deploy in (DEPLOY, failed, DEPLOY | {"to": "r3"})))
    found = deploys_by_app(str(log))
    assert {app: [*map(deploy_in_words, deploys)] for app, deploys in found.items()} == {
        "shop": [
            "2026-11-23 18:36 UTC ok: r1 to r2 in 3.1 s, by me@laptop as ops",
            "2026-11-23 18:36 UTC ok: r1 to r3 in 3.1 s, by me@laptop as ops",
        ],
        "blog": ["2026-11-23 18:36 UTC failed: nothing to r2 in 3.1 s, by me@laptop as ops. blog: GET / gave 500"],
    }
