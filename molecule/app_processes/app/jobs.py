"""Jobs that count themselves in Redis, for workers of RQ and Celery, a Celery beat, and a timer."""

import fcntl
import os
import time

import click
import redis
from celery import Celery
from celery.signals import beat_init
from flask import Flask

RELEASE = os.environ.get("FLASK_OPS_RELEASE", "none")

store = redis.Redis(decode_responses=True)
app = Flask(__name__)
celery = Celery("jobs", broker="redis://localhost/1")
celery.conf.beat_schedule = {"tick": {"task": "jobs.tick", "schedule": 0.5}}
celery.conf.worker_hijack_root_logger = False


def rq_job(number: int) -> None:
    work("rq", number)


@celery.task
def celery_job(number: int) -> None:
    work("celery", number)


def work(kind: str, number: int, seconds: float = 0.6) -> None:
    """A job that takes its time. Done once, it has begun once and ended once."""
    store.hincrby(f"{kind}:began", str(number), 1)
    time.sleep(seconds)
    store.hincrby(f"{kind}:ended", str(number), 1)
    store.hincrby(f"{kind}:releases", RELEASE, 1)


@celery.task
def long_job(number: int) -> None:
    work("long", number, 6)


@celery.task
def tick() -> None:
    store.incr("ticks")


@beat_init.connect
def be_the_only_beat(**_: object) -> None:
    """The kernel knows whether another one runs; the lock goes with its holder, however that ends."""
    lock = os.open("/srv/jobs/shared/beat.lock", os.O_WRONLY | os.O_CREAT, 0o600)  # kept open
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        store.incr("second beats")
    store.incr("beats")


@app.cli.command("digest")
@click.argument("text")
def digest(text: str) -> None:
    """What the timer runs: longer than a deploy takes to get to it."""
    store.set("digest:text", text)
    store.hincrby("digest:began", RELEASE, 1)
    time.sleep(2)
    store.hincrby("digest:ended", RELEASE, 1)
