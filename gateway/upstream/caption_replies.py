"""What a captioner's worker answers: captions or scores of one picture, at once or line by line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypedDict

import msgspec

_MOST_LINE_BYTES = 1024 * 1024


class ReplyCaption(TypedDict, total=False):
    """`tokens` is a number."""

    text: str
    logprob: float
    tokens: int
    finish: str


class ReplyScore(TypedDict, total=False):
    """log P(text | picture), and how many tokens the text has."""

    logprob: float
    tokens: int


class WorkTimes(TypedDict, total=False):
    """Milliseconds in the worker's queue, and from there to the end."""

    queue_ms: float | None
    caption_ms: float | None


class ReplyPicture(TypedDict, total=False):
    """Of one picture among several: `scores` in the order of the texts, or what is wrong with it."""

    scores: list[ReplyScore]
    error: dict[str, Any]


class CaptionReply(TypedDict, total=False):
    """Has `captions`, the best first, or `scores` in the order of the texts; of several pictures `pictures`.

    There null stands for a picture that was left out. `drafts`: what became of them.
    """

    captions: list[ReplyCaption]
    scores: list[ReplyScore]
    pictures: list[ReplyPicture | None]
    model: str
    fingerprint: str
    usage: dict[str, int]
    timing: WorkTimes
    drafts: dict[str, Any]


class CaptionLine(CaptionReply, total=False):
    """Of a stream: a piece of the text, the end (`done`), or an error; TorchServe's own has `code` and `message`."""

    delta: str
    done: bool
    error: dict[str, Any]
    code: int
    type: str
    message: str


_REPLY, _LINE = msgspec.json.Decoder(CaptionReply), msgspec.json.Decoder(CaptionLine)


def caption_reply(content: bytes) -> CaptionReply | None:
    """None for what is none."""
    try:
        reply = _REPLY.decode(content)
    except ValueError:
        return None
    return reply if any(reply.get(name) for name in ("captions", "scores", "pictures")) else None


async def caption_lines(piece: Callable[[], Awaitable[bytes]]) -> AsyncIterator[CaptionLine | None]:
    """The lines of a stream as they come, in whatever pieces; None for one that is no line of a captioner."""
    begun = b""
    while content := await piece():
        *ends, begun = (begun + content).split(b"\n")
        for end in ends:
            if end.strip():
                yield _line(end)
        if len(begun) > _MOST_LINE_BYTES:
            yield None
            return
        if begun.startswith(b"{") and (whole := _line(begun)) is not None:
            begun = b""
            yield whole
    if begun.strip():
        yield _line(begun)


def _line(text: bytes) -> CaptionLine | None:
    try:
        return _LINE.decode(text)
    except ValueError:
        return None
