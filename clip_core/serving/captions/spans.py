"""The spans of a caption, which several calls of TorchServe make: one in the trace of each of its callers."""

from __future__ import annotations

import logging
import time
from typing import Any

from clip_core.serving.captions.request import CaptionCall
from clip_core.tracing.spans import Span, begin, recording

log = logging.getLogger("clipserve.tracing")


def begin_caption(endpoint: str, request: CaptionCall, started_ns: int) -> list[Span]:
    """Nothing where it is not recorded. What is recorded never spoils an answer."""
    if not recording():
        return []
    try:
        return [span for span in _begun(endpoint, request, started_ns) if isinstance(span, Span)]
    except Exception:
        log.exception("a caption can't be traced")
        return []


def _begun(endpoint: str, request: CaptionCall, started_ns: int) -> list[object]:
    sent_s = request.callers.sent_s
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "text_completion" if request.texts is None else "score",
        "gen_ai.request.model": endpoint,
        "gen_ai.request.max_tokens": request.ask.max_tokens,
        "clipserve.caption.method": request.ask.method,
        "clipserve.queue_ms": round(max(0.0, started_ns / 1e6 - sent_s * 1e3), 3) if sent_s else None,
    }
    contexts = request.callers.contexts or (None,)
    return [
        begin(endpoint, context, kind="server", started_ns=started_ns, attributes=dict(attributes))
        for context in contexts
    ]


def end_caption(spans: list[Span], status: int, code: str | None, attributes: dict[str, Any]) -> None:
    now = time.time_ns()
    for span in spans:
        span.attributes |= {"http.response.status_code": status, **attributes}
        if code is not None:
            span.fail(code)
        span.end(now)
