"""What a call wants: its pictures, and what is to be written or scored for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from clip_core.errors import BadInput, ClipServeError, InvalidRequest, TooLarge
from gateway.captions.drafts import NO_DRAFTS, CaptionDrafts
from gateway.inputs.parser import InputParser
from gateway.inputs.source import Source
from gateway.keys.api_key import current_key
from gateway.schemas.captions import (
    AssistantCaptionsRequest,
    CaptionSettings,
    CaptionsRequest,
    DraftsFrom,
    ScoreRequest,
)

Json = dict[str, Any]
_SAMPLING = ("temperature", "top_k", "top_p", "seed")
MOST_CHARACTERS = 8192  # of a text to score, or to begin with


@dataclass(frozen=True)
class StoredPicture:
    """The picture of an item; `param` is its place in the request."""

    collection: str
    id: str
    param: str


@dataclass(frozen=True)
class DraftWish:
    """Drafts from `k` neighbours in `collection`; without one, in that of the item. `said`: by the caller."""

    collection: str | None = None
    k: int = 16
    said: bool = False


GivenPicture: TypeAlias = Source | StoredPicture | ClipServeError


@dataclass(frozen=True)
class CaptionWork:
    """Of each picture: a caption by these settings of the worker's, or the scores of `texts`."""

    settings: Json | None = None
    texts: Sequence[str] = ()
    drafts: DraftWish | None = None

    @property
    def takes_drafts(self) -> bool:
        """Whether the captioner reads drafts: for one text a picture, said from its beginning to its end."""
        settings = self.settings or {}
        return settings.get("method") in ("greedy", "sample") and settings.get("n", 1) == 1

    @property
    def cost(self) -> int:
        """Items of a call beside its pictures."""
        return len(self.texts)

    def body(self, image: str, *, stream: bool = False, drafts: CaptionDrafts = NO_DRAFTS) -> Json:
        """As the captioner's worker takes it; `image` is base64."""
        if self.settings is None:
            return {"image": image, "score": list(self.texts)}
        drafted = {"drafts": list(drafts.texts), "drafts_from": drafts.origin} if drafts.texts else {}
        return {"image": image, "caption": self.settings, "stream": stream, **drafted}


def caption_work(wanted: CaptionSettings, *, stream: bool = False) -> CaptionWork:
    """Only what the caller said: what is left out has the worker's default.

    Raises InvalidRequest, or ScopeMissing or CollectionForbidden about where drafts come from.
    """
    said = wanted.model_dump(include=set(CaptionSettings.model_fields), exclude_none=True)
    if said.get("min_tokens", 0) > said.get("max_tokens", said.get("min_tokens", 0)):
        raise InvalidRequest("`min_tokens` is more than `max_tokens`", param="min_tokens")
    if "method" not in said and any(name in said for name in _SAMPLING):
        said["method"] = "sample"
    elif "method" not in said and stream:
        said["method"] = "greedy"
    return CaptionWork(said, drafts=_draft_wish(wanted) if isinstance(wanted, CaptionsRequest) else None)


def _draft_wish(wanted: CaptionsRequest) -> DraftWish | None:
    """Raises ScopeMissing or CollectionForbidden about a collection that the key may not search."""
    if wanted.drafts is False:
        return None
    if not isinstance(wanted.drafts, DraftsFrom):
        return DraftWish(said=wanted.drafts is True)
    key = current_key()
    key.check_scope("search")
    key.check_collection(wanted.drafts.collection)
    return DraftWish(wanted.drafts.collection, wanted.drafts.k, said=True)


def score_work(wanted: ScoreRequest, most: int) -> CaptionWork:
    """Raises TooLarge for more texts than `most`, InvalidRequest for one too long."""
    if len(wanted.texts) > most:
        raise TooLarge(f"{len(wanted.texts)} texts in one call; at most {most}", param="texts")
    for place, text in enumerate(wanted.texts):
        if len(text) > MOST_CHARACTERS:
            raise InvalidRequest(f"the text is longer than {MOST_CHARACTERS} characters", param=f"texts[{place}]")
    return CaptionWork(texts=wanted.texts)


def parse_pictures(
    wanted: AssistantCaptionsRequest | CaptionsRequest | ScoreRequest, parser: InputParser, most: int
) -> list[GivenPicture]:
    """What is wrong with one of several stays with it.

    Raises BadInput about the list or a lone picture, ScopeMissing or CollectionForbidden about an item's picture.
    """
    if (wanted.image is None) == (wanted.images is None):
        raise InvalidRequest("give exactly one of `image` and `images`", param="image")
    if wanted.images is None:
        return [_picture(wanted.image, "image", parser)]
    if not wanted.images:
        raise InvalidRequest("`images` is an empty list", param="images")
    if len(wanted.images) > most:
        raise TooLarge(f"{len(wanted.images)} pictures in one call; at most {most}", param="images")
    return [_picture_or_error(each, f"images[{place}]", parser) for place, each in enumerate(wanted.images)]


def _picture_or_error(given: object, param: str, parser: InputParser) -> GivenPicture:
    try:
        return _picture(given, param, parser)
    except BadInput as error:
        return error


def _picture(given: object, param: str, parser: InputParser) -> GivenPicture:
    """A form's file comes as `{"id": its name, "image": …}`."""
    if isinstance(given, dict) and "image" not in given:
        return _stored(given, param)
    return Source("image", parser.image(given["image"] if isinstance(given, dict) else given, param), param)


def _stored(given: Json, param: str) -> StoredPicture:
    collection, item_id = given.get("collection"), given.get("id")
    if given.keys() != {"collection", "id"} or not isinstance(collection, str) or not isinstance(item_id, str):
        raise InvalidRequest("an item's picture is named by its `collection` and its `id`", param=param)
    key = current_key()
    key.check_scope("search")
    key.check_collection(collection)
    return StoredPicture(collection, item_id, param)
