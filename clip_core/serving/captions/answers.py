"""Captions and scores → the bytes that a request gets: one JSON object, or lines of JSON for a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson

from clip_core.captions.caption import Caption, DraftUse
from clip_core.errors import ClipServeError
from clip_core.model_spec import ModelSpec
from clip_core.serving.answers import FACTS, Answer, failure


class PieceKind(Enum):
    """Where a piece stands in its answer."""

    WHOLE = "whole"
    MORE = "more"  # some of a stream, and not its end
    LAST = "last"


@dataclass(frozen=True)
class Piece:
    """What a request gets of one call."""

    answer: Answer
    kind: PieceKind = PieceKind.WHOLE
    lines: bool = False  # of JSON


def captions_body(captions: Sequence[Caption], prompt_tokens: int, image_tokens: int) -> dict[str, Any]:
    """`prompt_tokens`: of each caption's first tokens, after the start."""
    told: list[dict[str, Any]] = [
        {
            "text": caption.text,
            "logprob": caption.logprob,
            "tokens": len(caption.tokens) - prompt_tokens - 1,
            "finish": caption.finish,
        }
        for caption in captions
    ]
    made = sum(each["tokens"] for each in told)
    usage = {"prompt_tokens": prompt_tokens, "caption_tokens": made, "image_tokens": image_tokens}
    return {"captions": told, "usage": usage}


def drafts_body(use: DraftUse | None, *, speculates: bool) -> dict[str, Any]:
    """Of a request that brought drafts: what became of them, or why they were left alone.

    `off`: "setting", also where compiled steps are faster; "method", of a search or several samples; "no_gain", where
    drafts of this origin have brought too little; "load", where too many rows share a pass.
    """
    if not speculates:
        return {"drafts": {"off": "setting"}}
    if use is None:
        return {"drafts": {"off": "method"}}
    if not use.passes:
        return {"drafts": {"off": "no_gain" if use.disappoints else "load"}}
    counts = {"drafted": use.drafted, "accepted": use.accepted, "passes": use.passes, "guarded": use.guarded}
    return {"drafts": counts}


def scores_body(logprobs: Sequence[float], counts: Sequence[int]) -> dict[str, Any]:
    """`counts`: tokens of each text with its start, which is given."""
    return {"scores": [{"logprob": p, "tokens": n - 1} for p, n in zip(logprobs, counts, strict=True)]}


def head(spec: ModelSpec, *, described: bool) -> dict[str, Any]:
    facts = {"facts": {name: getattr(spec, name) for name in FACTS}} if described else {}
    return {"model": spec.name, "fingerprint": spec.fingerprint, **facts}


def whole(body: Mapping[str, Any]) -> Piece:
    return Piece(Answer(200, orjson.dumps(body)))


def refused(error: ClipServeError) -> Piece:
    return Piece(failure(error))


def more(delta: str) -> Piece:
    """The first one, which may be empty, tells the client that its request was taken."""
    return Piece(Answer(200, orjson.dumps({"delta": delta}) + b"\n" if delta else b""), PieceKind.MORE, lines=True)


def last(delta: str, body: Mapping[str, Any], *, begun: bool) -> Piece:
    """The end of a stream; its whole where no piece of it went before."""
    said = orjson.dumps({"delta": delta}) + b"\n" if delta else b""
    kind = PieceKind.LAST if begun else PieceKind.WHOLE
    return Piece(Answer(200, said + orjson.dumps({"done": True, **body}) + b"\n"), kind, lines=True)


def broken_off(error: ClipServeError) -> Piece:
    """The end of a stream whose status is sent already."""
    return Piece(Answer(200, failure(error).body + b"\n", (error.code,)), PieceKind.LAST, lines=True)
