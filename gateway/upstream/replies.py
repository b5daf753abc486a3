"""What our neighbours answer to encodings and searches, as far as the gateway reads it: hits stay JSON texts."""

from __future__ import annotations

from typing import Any, TypedDict, TypeVar

import msgspec

T = TypeVar("T", "EncodeReply", "SearchReply")


class ReplyTiming(TypedDict, total=False):
    """Milliseconds; not every neighbour tells all of them."""

    encode_ms: float | None
    search_ms: float | None


class ReplyEntry(TypedDict, total=False):
    """Of one input, or of one search by the caller's own vector."""

    status: int
    error: dict[str, Any]
    embedding: str
    hits: list[msgspec.Raw]
    certificate: dict[str, int]
    tokens: int | None
    truncated: bool
    fingerprint: str


class _Encoded(TypedDict):
    data: list[ReplyEntry]


class EncodeReply(_Encoded, total=False):
    """A handler's, with an entry for each input. `bytes` is the size of the whole."""

    model: str
    fingerprint: str
    dim: int
    matryoshka_dimensions: tuple[int, ...]
    logit_scale: float | None
    logit_bias: float | None
    facts: dict[str, Any]
    timing: ReplyTiming
    bytes: int


class _Searched(TypedDict):
    results: list[ReplyEntry]


class SearchReply(_Searched, total=False):
    """The index service's, with an entry for each search. `bytes` is the size of the whole."""

    timing: ReplyTiming
    bytes: int


_ENCODED, _SEARCHED = msgspec.json.Decoder(EncodeReply), msgspec.json.Decoder(SearchReply)


def encode_reply(content: bytes) -> EncodeReply | None:
    """None for what is none."""
    return _read(_ENCODED, content)


def search_reply(content: bytes) -> SearchReply | None:
    """None for what is none."""
    return _read(_SEARCHED, content)


def stage_times(reply: EncodeReply | SearchReply) -> tuple[float, float]:
    """Milliseconds that encoding and searching took; 0 where the neighbour does not say."""
    timing = reply.get("timing") or {}
    return timing.get("encode_ms") or 0.0, timing.get("search_ms") or 0.0


def _read(decoder: msgspec.json.Decoder[T], content: bytes) -> T | None:
    try:
        reply = decoder.decode(content)
    except ValueError:
        return None
    reply["bytes"] = len(content)
    return reply
