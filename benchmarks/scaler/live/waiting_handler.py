"""A TorchServe handler that waits 50 ms for each input and uses no CPU; it answers as our handlers do.

It imports nothing of ours, so that a worker starts as fast as TorchServe allows.
"""

import base64
import json
import time
from typing import Any

_WORK_S = 0.05
_VECTOR = base64.b64encode(b"\0\0\x80\x3f" + b"\0" * 12).decode()  # (1, 0, 0, 0) as little-endian float32


class WaitingHandler:
    def initialize(self, context: Any) -> None:
        pass

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[str]:  # noqa: ARG002
        """One answer a request."""
        return [_answer(_body(row)) for row in data]


def _body(row: dict[str, Any]) -> dict[str, Any]:
    """TorchServe has read it already, or not, by its settings."""
    body = row.get("body") or row.get("data") or b""
    return body if isinstance(body, dict) else dict(json.loads(body))


def _answer(body: dict[str, Any]) -> str:
    count = len(body["input"])
    time.sleep(_WORK_S * count)
    data = [{"index": index, "status": 200, "embedding": _VECTOR, "tokens": 1} for index in range(count)]
    named = {"model": "waiting", "fingerprint": "waiting", "dim": 4, "matryoshka_dimensions": []}
    return json.dumps({**named, "data": data, "timing": {"encode_ms": 1e3 * _WORK_S * count}})
