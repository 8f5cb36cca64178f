# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics in the text exposition format of Prometheus, as files for node_exporter's textfile collector.

This module util is private to the collection.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.flask_ops.production.plugins.module_utils._host.files import write


@dataclass
class Metric:
    """One metric with all its samples."""

    name: str
    help: str
    kind: str = "gauge"
    samples: list[tuple[dict[str, str], float]] = field(default_factory=list)

    def add(self, value: float, **labels: str) -> None:
        self.samples.append((labels, value))

    def __str__(self) -> str:
        """The metric in the text format; nothing where there are no samples.

        >>> up = Metric("up", "Whether it is up.")
        >>> up.add(1, app="shop")
        >>> print(up, end="")
        # HELP up Whether it is up.
        # TYPE up gauge
        up{app="shop"} 1
        """
        lines = [f"# HELP {self.name} {self.help}", f"# TYPE {self.name} {self.kind}"]
        lines += [f"{self.name}{_labels(labels)} {value:.15g}" for labels, value in self.samples]
        return "".join(f"{line}\n" for line in lines) if self.samples else ""


def _labels(labels: dict[str, str]) -> str:
    escaped = {
        name: value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for name, value in labels.items()
    }
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}" if labels else ""


def write_file(path: str, metrics: t.Iterable[Metric | str]) -> None:
    """Replace a file at once, so that node_exporter never reads a part of it."""
    write(path, "".join(map(str, metrics)).encode(), 0o644, "root", "root")
