"""Asks for jobs of both kinds until told to stop; waits until all of these are done; or asks for a single long one."""

import sys
import time

from jobs import celery_job, long_job, rq_job, store
from rq import Queue

KINDS = ("rq", "celery")


def enqueue() -> None:
    queue = Queue(connection=store)
    while not store.exists("stop"):
        number = store.incr("enqueued")
        queue.enqueue(rq_job, number)
        celery_job.delay(number)
        time.sleep(0.4)


def wait(seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    wanted = int(store.get("enqueued"))
    while any(store.hlen(f"{kind}:ended") < wanted for kind in KINDS):
        if time.monotonic() > deadline:
            sys.exit(f"of {wanted} jobs, ended have { {kind: store.hlen(f'{kind}:ended') for kind in KINDS} }")
        time.sleep(0.2)


if __name__ == "__main__":
    {"enqueue": enqueue, "wait": wait, "long": long_job.delay}[sys.argv[1]](*map(int, sys.argv[2:]))
