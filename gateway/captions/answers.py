"""What the worker said, as callers get it: captions, scores and errors of pictures, and events of a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clip_core.errors import BadInput, ClipServeError, NotFound
from gateway.captions.captioning import Captioned, CaptionOutcome, PictureEvent
from gateway.captions.drafts import told_of, usage_of
from gateway.captions.event_stream import data_event
from gateway.captions.wanted import CaptionWork
from gateway.key_masking import without_keys
from gateway.trace import current_trace
from gateway.upstream.caption_replies import CaptionReply, ReplyCaption

Json = dict[str, Any]
_USAGE = ("prompt_tokens", "caption_tokens", "image_tokens")
DONE = b"data: [DONE]\n\n"


def caption_answer(captioned: Captioned, model: str) -> Json:
    """The body of /v1/captions."""
    data = [_data(place, outcome, _caption) for place, outcome in enumerate(captioned.outcomes)]
    replies = _replies(captioned)
    return {"object": "list", "data": data, **_named(replies, model), "usage": _usage(replies), **_timing(captioned)}


def score_answer(captioned: Captioned, model: str, work: CaptionWork) -> Json:
    """The body of /v1/captions/score."""

    def scores(reply: CaptionReply) -> Json:
        pairs = zip(work.texts, reply.get("scores") or [], strict=False)
        told = [{"text": text, "logprob": _logprob(each), "tokens": each.get("tokens", 0)} for text, each in pairs]
        return {"object": "scores", "scores": told}

    data = [_data(place, outcome, scores) for place, outcome in enumerate(captioned.outcomes)]
    return {"object": "list", "data": data, **_named(_replies(captioned), model), **_timing(captioned)}


def event_bytes(event: PictureEvent, model: str) -> bytes:
    """As a server-sent event: https://html.spec.whatwg.org/multipage/server-sent-events.html"""
    if isinstance(event.told, ClipServeError):
        return b"event: error\n" + data_event(_error(event.index, event.told))
    if not event.told.get("done"):
        return data_event({"object": "caption.chunk", "index": event.index, "delta": event.told.get("delta", "")})
    told = _caption(event.told)
    whole = {"index": event.index, **told, **_named([event.told], model), "usage": _usage([event.told])}
    drafts = told_of(event.drafts, event.told)
    return data_event({"object": "caption", **whole, **({} if drafts is None else {"drafts": drafts})})


def check_of_call(outcomes: Sequence[CaptionOutcome], lone: bool) -> None:
    """Raises an error that is not one picture's own: about the call's settings, or one that left no picture captioned.

    A `lone` picture's error is the call's.
    """
    errors = [each for each in outcomes if isinstance(each, ClipServeError)]
    for error in errors:
        if lone or of_call(error):
            raise error
    if len(errors) == len(outcomes):
        for error in errors:
            if not isinstance(error, BadInput | NotFound):
                raise error


def of_call(error: ClipServeError) -> bool:
    """Whether it is about what all pictures share."""
    return isinstance(error, BadInput) and not str(error.param).startswith("image")


def _data(place: int, outcome: CaptionOutcome, told: Any) -> Json:
    if isinstance(outcome, ClipServeError):
        return _error(place, outcome)
    return {"index": place, **told(outcome)}


def _caption(reply: CaptionReply) -> Json:
    best, *others = map(_alternative, reply.get("captions") or [ReplyCaption()])
    return {"object": "caption", **best, "alternatives": others}


def _alternative(caption: ReplyCaption) -> Json:
    return {
        "text": caption.get("text", ""),
        "logprob": _logprob(caption),
        "finish_reason": caption.get("finish", "stop"),
    }


def _logprob(told: Mapping[str, Any]) -> float:
    return float(told.get("logprob") or 0.0)


def _error(place: int, error: ClipServeError) -> Json:
    error.message = without_keys(error.message)
    return {"object": "error", "index": place, **error.to_dict()}


def _replies(captioned: Captioned) -> list[CaptionReply]:
    return [each for each in captioned.outcomes if not isinstance(each, ClipServeError)]


def _named(replies: Sequence[CaptionReply], model: str) -> Json:
    """Under the name that the gateway has for the model, or the worker's own."""
    first = replies[0] if replies else CaptionReply()
    return {"model": model or first.get("model", ""), "fingerprint": first.get("fingerprint")}


def _usage(replies: Sequence[CaptionReply]) -> Json:
    counted = {name: sum((reply.get("usage") or {}).get(name, 0) for reply in replies) for name in _USAGE}
    return counted | usage_of(replies)


def _timing(captioned: Captioned) -> Json:
    times = {
        "total_ms": current_trace().elapsed_ms(),
        "queue_ms": captioned.queue_ms,
        "caption_ms": captioned.caption_ms,
    }
    return {"timing": {**{name: round(ms, 2) for name, ms in times.items()}, **_drafts(captioned)}}


def _drafts(captioned: Captioned) -> Json:
    pairs = zip(captioned.drafts, captioned.outcomes, strict=False)
    told = [told_of(drafts, reply) for drafts, reply in pairs if not isinstance(reply, ClipServeError)]
    if not any(told):
        return {}
    slowest = max(drafts.ms for drafts in captioned.drafts)
    return {"retrieval_ms": round(slowest, 2), "drafts": list(dict.fromkeys(filter(None, told)))}
