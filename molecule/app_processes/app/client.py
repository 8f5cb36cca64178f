"""Asks for jobs of both kinds until told to stop; waits until all of these are done; or asks for a single long one."""

import sys
import time

from jobs import celery_job, long_job, rq_job, store
from rq import Queue, Retry

KINDS = ("rq", "celery")


def open_jobs() -> int:
    return int(store.get("enqueued") or 0) - min(store.hlen(f"{kind}:ended") for kind in KINDS)


def enqueue() -> None:
    queue = Queue(connection=store)
    while not store.exists("stop"):
        if open_jobs() < 10:  # a queue that only grows would be as long as the machine is slow
            number = store.incr("enqueued")
            queue.enqueue(rq_job, number, retry=Retry(max=1))
            celery_job.delay(number)
        time.sleep(0.3)


def wait(seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while open_jobs():
        if time.monotonic() > deadline:
            sys.exit(f"{open_jobs()} of {store.get('enqueued')} jobs have not ended")
        time.sleep(0.2)


if __name__ == "__main__":
    {"enqueue": enqueue, "wait": wait, "long": long_job.delay}[sys.argv[1]](*map(int, sys.argv[2:]))
