"""The lines that TorchServe's own code prints for each batch, and which nobody reads: not printed.

Its frontend reads a worker's stdout line by line and matches each against three patterns. For every batch its worker
adds `Backend received inference at: …`, which no part of it uses, and the metric PredictionTime, which the frontend
drops where metrics.yaml does not declare it.
"""

from __future__ import annotations

import logging
from typing import Any

_PREDICTION_TIME = "PredictionTime"


class UnreadMetric:
    """A metric that is nowhere declared."""

    def add_or_update(self, *_: object, **__: object) -> None:
        """Nothing: ts.metrics would print a line."""


def _is_read(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Backend received inference at")


def silence_unread_lines(context: Any, root: logging.Logger) -> None:
    """`root`: the logger that TorchServe's worker prints with. A declared PredictionTime goes on."""
    root.addFilter(_is_read)
    groups = getattr(getattr(context, "metrics", None), "cache", None) or {}
    for kind, metrics in groups.items():
        if str(getattr(kind, "value", kind)).lower() == "gauge":
            metrics.setdefault(_PREDICTION_TIME, UnreadMetric())
