"""Logging that the gateway, the index service and the handlers share: text lines or JSON lines."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from types import FrameType
from typing import Any

from clip_core.tracing.spans import trace_id

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    ord("\n"): r"\n",
    ord("\r"): r"\r",
    ord("\t"): r"\t",
    0x2028: r"\u2028",
    0x2029: r"\u2029",
}
_OWN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line; whatever a call passes in `extra=` becomes a field."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{record.msecs:03.0f}Z",
            "level": record.levelname,
            "service": self.service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(_fields(record))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """The same fields for people: `message key=value …`. What callers name, such as files, can't begin a line."""

    def __init__(self, service: str) -> None:
        super().__init__(f"%(asctime)s %(levelname)-7s {service} %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{key}={value}" for key, value in _fields(record).items()).translate(_CONTROLS)
        first, newline, rest = super().format(record).partition("\n")
        return f"{first} {fields}".rstrip() + newline + rest

    def formatMessage(self, record: logging.LogRecord) -> str:
        return super().formatMessage(record).translate(_CONTROLS)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What the call passed, and the trace that it is a part of."""
    extra = {key: value for key, value in vars(record).items() if key not in _OWN}
    trace = trace_id()
    return extra if trace is None else {**extra, "trace_id": trace}


def configure_logging(
    service: str, *, json_lines: bool, level: str = "INFO", stream: Any = None, logger: str | None = None
) -> None:
    """Send `logger` (the root unless given) to `stream` (stderr unless given), once; uvicorn's own loggers follow.

    A TorchServe worker keeps its root logger: TorchServe reads its metrics from those lines.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(service) if json_lines else TextFormatter(service))
    target = logging.getLogger(logger)
    target.handlers = [handler]
    target.setLevel(level.upper())
    target.propagate = False
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = name != "uvicorn.access"


def switch_level_by_signal(level: str, logger: str | None = None) -> None:
    """SIGUSR1 switches `logger` to DEBUG, and back to `level`. From the main thread."""
    target, usual = logging.getLogger(logger), logging.getLevelName(level.upper())

    def switch(_signal: int, _frame: FrameType | None) -> None:
        target.setLevel(usual if target.level == logging.DEBUG else logging.DEBUG)

    signal.signal(signal.SIGUSR1, switch)
