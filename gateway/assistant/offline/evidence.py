"""What an answer is made from: hits with their words and pictures, each under a short name of this request."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Withheld:
    """A field of an item that reads like an order to a language model, and is shown to none."""

    id: str
    field: str


@dataclass(frozen=True)
class Evidence:
    """A hit. `ref` names it to the model: nobody who wrote into an item could know it. `picture`: its encoded bytes.

    `metadata` may be shown to a model; `item_metadata` is all of it, and finds the picture.
    """

    ref: str
    id: str
    collection: str = ""
    score: float | None = None
    metadata: Json = field(default_factory=dict)
    picture: bytes | None = None
    item_metadata: Json = field(default_factory=dict, repr=False)
    withheld: tuple[Withheld, ...] = ()


def refs_of(secret: bytes, question: str, ids: list[tuple[str, str]]) -> list[str]:
    """Names for these (collection, id): the same for the same question in this process, and unlike one another."""
    made: list[str] = []
    for collection, item_id in ids:
        digest = hmac.new(secret, f"{question}\0{collection}\0{item_id}".encode(), hashlib.sha256).hexdigest()
        length = next(n for n in range(4, 65) if f"p{digest[:n]}" not in made)
        made.append(f"p{digest[:length]}")
    return made
