# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics of other exporters on the loopback interface, passed on through node_exporter.

This module util is private to the collection.
"""

from __future__ import annotations

import re
import typing as t
import urllib.request

from ansible_collections.flask_ops.production.plugins.module_utils._host.files import remove
from ansible_collections.flask_ops.production.plugins.module_utils._metrics.exposition import Metric, write_file

MAX_BYTES = 1 << 24
"""How much of an exporter's response is read."""

COLLECTD_SAMPLE = re.compile(
    r'^collectd_statsd_(\w+)\{statsd="([a-z0-9-]+)\.gunicorn\.([a-z0-9.-]+)",[^{}]*\} (-?\d+(?:\.\d+)?(?:e[+-]\d+)?) \d+$',
    re.MULTILINE,
)
"""What write_prometheus, a plugin of collectd, writes for ``shop.gunicorn.requests``. It writes ``nan`` where it has no number."""


def pass_on(exporter: dict, apps: t.Container[str], path: str) -> None:
    """Write the metrics of an exporter to a file. One that does not answer leaves no old values."""
    try:
        with urllib.request.urlopen(exporter["url"], timeout=10) as answer:
            text = answer.read(MAX_BYTES).decode(errors="replace")
    except (OSError, ValueError):
        remove(path)
    else:
        if exporter.get("form") == "statsd":
            write_file(path, gunicorn_metrics(text, apps))
        else:
            write_file(path, [with_prefix(text, exporter["prefix"])])


def with_prefix(text: str, prefix: str) -> str:
    """The metrics whose names begin with a prefix, without those about the exporter itself."""
    ours = re.compile(rf"(# (HELP|TYPE) )?{re.escape(prefix)}")
    return "".join(f"{line}\n" for line in text.splitlines() if ours.match(line))


def gunicorn_metrics(text: str, apps: t.Container[str]) -> list[Metric]:
    """What gunicorn has sent by statsd, from collectd's metrics, in which all of a type have one name.

    Any process on the host can send anything: what gunicorn does not send, or for an unknown app, is left out.
    """
    requests = Metric("gunicorn_requests_total", "Requests that gunicorn has answered.", "counter")
    responses = Metric("gunicorn_responses_total", "Responses of gunicorn, by their status.", "counter")
    # No summary: that has a sum and a count of all times, and these are of a minute.
    durations = Metric(
        "gunicorn_request_duration_seconds",
        "Within what time so many percent of the last minute's requests were answered.",
    )
    workers = Metric("gunicorn_workers", "Workers, when their number changed last.")
    messages = Metric("gunicorn_log_messages_total", "Lines in gunicorn's error log, by their level.", "counter")
    known = {
        r"derive_total requests": requests,
        r"derive_total request\.status\.(?P<code>\d{3})": responses,
        r"derive_total log\.(?P<level>critical|error|exception|warning)": messages,
        r"gauge workers": workers,
        r"latency request\.duration-percentile-(?P<percentile>\d+)": durations,
    }
    for kind, app, name, value in COLLECTD_SAMPLE.findall(text):
        for pattern, metric in known.items():
            if (found := re.fullmatch(pattern, f"{kind} {name}")) and app in apps:
                metric.add(float(value), app=app, **found.groupdict())
    return list(known.values())
