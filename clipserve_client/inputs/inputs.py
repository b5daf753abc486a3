"""What callers give: texts, pictures, mixes of both, searches and new items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, TypeVar, Union

from clipserve_client.inputs.pictures import Picture, PictureSource, Vector, encoded_picture, encoded_vector

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")
Json = dict[str, Any]
Content = Union[str, "PathLike[str]", bytes, bytearray, "Image", Picture]  # a plain string is a text
CaptionWanted: TypeAlias = bool | Literal["captioner", "llm"]  # True: by the captioner
QueryPart = Mapping[str, Any]  # {"text" | "image" | "vector" | "like": …, "weight": …}


@dataclass(frozen=True)
class Mix:
    """Texts and pictures that become one vector."""

    parts: Sequence[Content]


def listed(values: Iterable[T]) -> list[T]:
    """Raises TypeError for a plain string, which would be taken letter by letter."""
    if isinstance(values, str | bytes):
        raise TypeError(f"a list is needed: [{values!r}]")
    return list(values)


def as_content(content: Content) -> Json:
    """{"text": …} or {"image": …}."""
    return {"text": content} if isinstance(content, str) else {"image": encoded_picture(content)}


@dataclass(frozen=True)
class Query:
    """A search of `collection` by one of text, image, vector, like (an item's id) and query (weighted parts).

    A list of collections of one model makes one ranking over all of them; it goes without `like`, and not in a batch.

    `consistency`: "strong", "session" or "eventually", of a collection in Milvus.

    `rerank`: "captioner", "tree" or "llm", or an object with `by` and its options, of one collection and by text.
    """

    collection: str | Sequence[str]
    text: str | None = None
    image: PictureSource | Picture | None = None
    vector: Vector | None = None
    like: str | None = None
    query: Sequence[QueryPart] | None = None
    k: int = 10
    filter: Json | None = None
    include: Sequence[str] | None = None
    min_score: float | None = None
    exact: bool | str | None = None
    cursor: str | None = None
    rerank: str | Json | None = None
    consistency: str | None = None

    def body(self) -> Json:
        """As the gateway takes it."""
        plain = ("text", "like", "k", "filter", "min_score", "exact", "consistency", "cursor", "rerank")
        asked = self._where() | {name: getattr(self, name) for name in plain if getattr(self, name) is not None}
        if self.include is not None:
            asked["include"] = listed(self.include)
        if self.query is not None:
            asked["query"] = [_encoded(part) for part in self.query]
        return asked | _encoded({"image": self.image, "vector": self.vector})

    def _where(self) -> Json:
        if isinstance(self.collection, str):
            return {"collection": self.collection}
        return {"collections": list(self.collection)}


def _encoded(part: QueryPart) -> Json:
    """With its picture and its vector as the gateway takes them; what is None is left out."""
    encoders = {"image": encoded_picture, "vector": encoded_vector}
    return {
        name: encoders[name](value) if name in encoders else value for name, value in part.items() if value is not None
    }


@dataclass(frozen=True)
class NewItem:
    """To be added under `id` (1 to 512 characters) by exactly one of text, image and vector.

    `caption`: the gateway captions the picture, and keeps that as `caption` in the metadata, unless there is one:
    True by the model's captioner, "llm" by the language model.
    """

    id: str
    text: str | None = None
    image: PictureSource | Picture | None = None
    vector: Vector | None = None
    metadata: Json = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # told again with the item's result, and not sent
    caption: CaptionWanted = False

    def body(self) -> Json:
        """As the gateway takes it. Raises OSError when the picture's file can't be read."""
        asked = _encoded({"text": self.text, "image": self.image, "vector": self.vector})
        more: Json = {"metadata": self.metadata, "caption": self.caption}
        return {"id": self.id, **asked, **{name: value for name, value in more.items() if value}}


class SearchOptions(TypedDict, total=False):
    """The fields of `Query` besides the collection and the text."""

    image: PictureSource | Picture | None
    vector: Vector | None
    like: str | None
    query: Sequence[QueryPart] | None
    k: int
    filter: Json | None
    include: Sequence[str] | None
    min_score: float | None
    exact: bool | str | None
    cursor: str | None
    rerank: str | Json | None
    consistency: str | None
