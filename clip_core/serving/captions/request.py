"""What one request wants of a captioner: a picture's caption, or how likely texts are for it or for several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clip_core.captions.ask import CaptionAsk
from clip_core.errors import BadInput, ClipServeError, InvalidRequest, TooLarge
from clip_core.inputs.images import from_reference
from clip_core.inputs.parsing import read_row
from clip_core.inputs.request import Accepts, AdminRequest
from clip_core.speculation.book import MOST_DRAFTS
from clip_core.tracing.trace_context import NO_CALLERS, Callers

ACCEPTS = Accepts(frozenset({"image"}), "image")
_OPTIONS = (
    *("caption", "score", "drafts", "drafts_from", "pictures", "most_tokens"),
    *("stream", "describe", "traceparent", "sent"),
)
_MOST_DRAFT_CHARS, _MOST_ORIGIN_CHARS = 1024, 64


@dataclass(frozen=True)
class CaptionCall:
    """`picture`: its encoded bytes. `texts` are scored instead of captioning where they are given.

    `drafts`: texts that the caption may resemble, the likest first; they change how fast it comes, and not a token.
    `drafts_from`: any name of where they come from.

    `pictures` are scored together in place of `picture`, as far as `most_tokens` of their texts reach.
    `in_pieces`: whether its stream can be told piece by piece; else it comes as a whole.
    """

    picture: bytes
    ask: CaptionAsk
    texts: tuple[str, ...] | None = None
    drafts: tuple[str, ...] = ()
    drafts_from: str = ""
    pictures: tuple[bytes, ...] | None = None
    most_tokens: int | None = None
    stream: bool = False
    in_pieces: bool = True
    described: bool = False
    request_id: str | None = None
    callers: Callers = NO_CALLERS


def parse_caption_row(
    row: Mapping[str, Any],
    content_type: str | None,
    most: int,
    request_id: str | None = None,
    method: str = CaptionAsk.method,
) -> CaptionCall | AdminRequest:
    """One row of a TorchServe batch; `most` texts, and as many pictures. Raises ClipServeError.

    `method` is that of requests that do not say how to search.
    """
    parsed, options = read_row(row, content_type, ACCEPTS, _OPTIONS)
    if isinstance(parsed, Mapping) and isinstance(parsed.get("admin"), Mapping):
        return AdminRequest(parsed["admin"])
    body = {**(parsed if isinstance(parsed, Mapping) else {"image": parsed}), **options}
    texts = _texts(body["score"], most) if body.get("score") is not None else None
    pictures = _pictures(body["pictures"], texts, most) if body.get("pictures") is not None else None
    return CaptionCall(
        picture=_picture(body.get("image")) if pictures is None else b"",
        ask=_ask(body.get("caption"), method),
        texts=texts,
        pictures=pictures,
        most_tokens=_most_tokens(body.get("most_tokens")),
        drafts=_drafts(body.get("drafts")),
        drafts_from=_origin(body.get("drafts_from")),
        stream=_stream(body.get("stream")),
        described=body.get("describe") is True,
        request_id=request_id,
        callers=Callers.read(body.get("traceparent"), body.get("sent")),
    )


def _picture(value: object) -> bytes:
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if not isinstance(value, str):
        raise BadInput('`image` is base64 or a data URL: {"image": "…", "caption": {}}', param="image")
    try:
        return from_reference(value)
    except ClipServeError as error:
        error.param = error.param or "image"
        raise


def _pictures(value: object, texts: Sequence[str] | None, most: int) -> tuple[bytes, ...]:
    if texts is None or not isinstance(value, list) or not value:
        raise InvalidRequest("`pictures` is a list of pictures to `score` texts for", param="pictures")
    if len(value) > most:
        raise TooLarge(f"`pictures` has {len(value)} pictures, the limit is {most}", param="pictures")
    return tuple(map(_picture, value))


def _most_tokens(value: object) -> int | None:
    if value is not None and (type(value) is not int or value < 0):
        raise InvalidRequest("`most_tokens` is a whole number of at least 0", param="most_tokens")
    return value


def _ask(value: object, method: str) -> CaptionAsk:
    said = {} if value is None else value
    if isinstance(said, Mapping) and not _says_how(said):
        said = {**said, "method": method}
    return CaptionAsk.parse(said)


def _says_how(said: Mapping[str, Any]) -> bool:
    """Several captions, and what only a beam search has, ask for one."""
    return said.get("n", 1) != 1 or not said.keys().isdisjoint(("method", "beams", "groups"))


def _texts(value: object, most: int) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
        raise InvalidRequest("`score` is a list of texts", param="score")
    if len(value) > most:
        raise TooLarge(f"`score` has {len(value)} texts, the limit is {most}", param="score")
    return tuple(value)


def _drafts(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InvalidRequest("`drafts` is a list of texts", param="drafts")
    return tuple(text[:_MOST_DRAFT_CHARS] for text in value[:MOST_DRAFTS])


def _origin(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _MOST_ORIGIN_CHARS:
        raise InvalidRequest(f"`drafts_from` is a text of up to {_MOST_ORIGIN_CHARS} characters", param="drafts_from")
    return value


def _stream(value: object) -> bool:
    if value not in (None, True, False):
        raise InvalidRequest("`stream` is true or false", param="stream")
    return bool(value)
