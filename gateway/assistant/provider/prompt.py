"""What is asked of a language model, and what it answered, in no vendor's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

Json = dict[str, Any]
Detail = Literal["low", "high"]


@dataclass(frozen=True)
class ShownPicture:
    """`url` is a data: URI; the size is in pixels."""

    url: str
    width: int
    height: int
    detail: Detail


@dataclass(frozen=True)
class Prompt:
    """`system` and the first parts are the same for many questions, so that a provider's cache may know them.

    `version` is that of the template. The answer is JSON that fits `schema`, or plain text without one. An answer of
    `max_tokens` is a failure, unless it `may_be_cut`.
    """

    system: str
    parts: tuple[str | ShownPicture, ...]
    version: str
    schema: Mapping[str, Any] | None = None
    max_tokens: int = 500
    may_be_cut: bool = False

    def pictures(self) -> list[ShownPicture]:
        return [part for part in self.parts if isinstance(part, ShownPicture)]

    def texts(self) -> list[str]:
        """All that is text in it, with the schema."""
        schema = [] if self.schema is None else [orjson.dumps(self.schema).decode()]
        return [self.system, *(part for part in self.parts if isinstance(part, str)), *schema]


@dataclass(frozen=True)
class TokenUse:
    """As the provider counted. `cached` are those of the input that it had seen before; `images` are a part of it."""

    input: int = 0
    output: int = 0
    cached: int = 0
    images: int = 0


@dataclass(frozen=True)
class Completion:
    """`data` is the JSON of `text`, where a schema was given. `cost_usd` is None where no price is known. `cut`: not
    whole.
    """

    text: str
    use: TokenUse = TokenUse()
    model: str = ""
    data: Json | None = None
    cost_usd: float | None = None
    from_cache: bool = False
    cut: bool = False
    estimated: TokenUse = field(default_factory=TokenUse)
