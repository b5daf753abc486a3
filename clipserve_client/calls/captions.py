"""Captions: their calls, and the events of a stream as pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

from clipserve_client.answers.answers import Caption, CaptionPiece, CaptionScore, Json, Limits
from clipserve_client.answers.reading import oddity
from clipserve_client.calls.calls import Call
from clipserve_client.errors import ApiError, ConnectionFailed, api_error
from clipserve_client.inputs.inputs import listed
from clipserve_client.inputs.pictures import Picture, PictureSource, encoded_picture

Captionable = PictureSource | Picture | Mapping[str, str]
"""A picture, or an item's: {"collection": "demo", "id": "scene-1"}."""
_PATH = "/v1/captions"
_SHARE = 2  # a call's body is at most this part of what the gateway takes, unless one picture is larger
_DATA, _EVENT, _END = "data: ", "event: ", "[DONE]"


class CaptionOptions(TypedDict, total=False):
    """What is left out has the model's default; see the gateway's documentation on captions."""

    prompt: str
    method: str
    n: int
    max_tokens: int
    min_tokens: int
    beams: int
    groups: int
    temperature: float
    top_k: int
    top_p: float
    seed: int
    model: str
    drafts: Mapping[str, Any] | bool


def caption(image: Captionable, options: CaptionOptions) -> Call[Caption]:
    return Call("POST", _PATH, lambda answer: _caption(answer["data"][0]), {"image": _image(image), **options})


def captions(
    images: Sequence[Captionable], options: CaptionOptions, limits: Limits
) -> Iterator[Call[list[Caption | ApiError]]]:
    """One call for each part of the pictures, in their order; one call for none."""
    part: list[Any] = []
    size, most_bytes = 0, limits.max_body_bytes // _SHARE
    for each in listed(images):
        image = _image(each)
        cost = len(image) if isinstance(image, str) else 0
        if part and (len(part) == limits.max_inputs or size + cost > most_bytes):
            yield _captions(part, options)
            part, size = [], 0
        part.append(image)
        size += cost
    yield _captions(part, options)


def _captions(images: list[Any], options: CaptionOptions) -> Call[list[Caption | ApiError]]:
    return Call(
        "POST",
        _PATH,
        lambda answer: [_caption_or_error(each) for each in answer["data"]],
        {"images": images, **options},
    )


def stream(image: Captionable, options: CaptionOptions) -> Call[None]:
    """Its answer is read by an `EventReader`."""
    return Call("POST", _PATH, lambda _: None, {"image": _image(image), "stream": True, **options})


def score(image: Captionable, texts: Sequence[str], model: str | None) -> Call[list[CaptionScore]]:
    body: Json = {"image": _image(image), "texts": listed(texts)}
    return Call("POST", f"{_PATH}/score", _scores, body if model is None else {**body, "model": model})


class EventReader:
    """The lines of a stream of server-sent events → its pieces."""

    def __init__(self) -> None:
        self._event = ""
        self._ended = False

    def piece(self, line: str) -> CaptionPiece | None:
        """What the line tells, if anything. Raises ApiError for an error in the middle, and for an unreadable line."""
        if line.startswith(_EVENT):
            self._event = line.removeprefix(_EVENT)
        if not line.startswith(_DATA):
            return None
        content, event, self._event = line.removeprefix(_DATA), self._event, ""
        if content == _END:
            self._ended = True
            return None
        try:
            told: Any = json.loads(content)
            if event != "error":
                return CaptionPiece("", _caption(told)) if told["object"] == "caption" else CaptionPiece(told["delta"])
        except (KeyError, TypeError, ValueError) as error:
            message = f"the stream has a line that is not as a gateway's: {oddity(error)}"
            raise ApiError(message, status=200, code="unreadable_answer") from error
        raise api_error(200, told)

    def check_end(self) -> None:
        """Raises ConnectionFailed for a stream that broke off."""
        if not self._ended:
            raise ConnectionFailed("the stream ended before the caption did; does the gateway still run?", sent=True)


def _image(given: Captionable) -> Any:
    return dict(given) if isinstance(given, Mapping) else encoded_picture(given)


def _caption(told: Mapping[str, Any]) -> Caption:
    others = [Caption(each["text"], each["logprob"], each["finish_reason"]) for each in told.get("alternatives", [])]
    return Caption(told["text"], told["logprob"], told["finish_reason"], others, raw=dict(told))


def _caption_or_error(told: Mapping[str, Any]) -> Caption | ApiError:
    return api_error(200, told) if told["object"] == "error" else _caption(told)


def _scores(answer: Any) -> list[CaptionScore]:
    return [CaptionScore(each["text"], each["logprob"], each["tokens"]) for each in answer["data"][0]["scores"]]
