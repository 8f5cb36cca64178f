"""A bounded load client: does a service answer every request while it is being changed?

    from tests.load import Plan, background_load, run_load

    report = run_load(Plan(url="https://demo.test", connect="10.89.0.5:443", cafile="cert.pem"))

    with background_load(Plan(url=..., requests=2000)) as load:
        deploy()
        report = load.finish()  # still at least 2000 requests, never beyond max_seconds
    assert report["ok"], report["failures"]

Nothing is tried twice. A request that fails in any way is one failure, and leaving the `with` block
without `finish()` cuts the load off. It sends to loopback and private addresses only.
"""

from .client import Failure
from .demo import demo_load
from .run import Load, Plan, RefusedError, background_load, run_load

__all__ = ["Failure", "Load", "Plan", "RefusedError", "background_load", "demo_load", "run_load"]
