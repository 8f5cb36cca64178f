"""The load that the demonstration app is tested with."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from .run import Load, Plan, background_load


def demo_load(
    domain: str, address: str, certificate: Path, requests: int, max_seconds: float
) -> AbstractContextManager[Load]:
    """Clients that keep asking: GET and POST on kept connections, and a request of three seconds."""
    return background_load(
        Plan(
            url=f"https://{domain}",
            connect=f"{address}:443",
            cafile=str(certificate),
            requests=requests,
            post_path="/echo",
            long_path="/slow?seconds=3",
            max_seconds=max_seconds,
            # Some 300 requests a second: the deploy and the clients share the machine with the server.
            pause=0.035,
        )
    )
