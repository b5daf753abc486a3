"""One input of a request: a text, an image, a vector, an item's id, or a weighted mix of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["text", "image", "vector", "query", "like"]


KINDS: tuple[Kind, ...] = ("text", "image", "vector", "query", "like")


@dataclass(frozen=True, slots=True)
class Source:
    """One thing to encode; `param` is where it stood in the request, for the errors about it."""

    kind: Kind
    value: Any
    param: str | None

    def item(self) -> dict[str, Any]:
        """As the TorchServe handlers take it."""
        return {self.kind: self.value}

    def kinds(self) -> set[str]:
        """What it is made of: its own kind, or those of its parts."""
        if self.kind != "query":
            return {self.kind}
        return {kind for part in self.value for kind in part if kind != "weight"}

    def parts(self) -> int:
        """How many texts, images, vectors and items it is made of."""
        return len(self.value) if self.kind == "query" else 1

    def images(self) -> list[str]:
        """Its own image or those of its parts, as base64 or URL."""
        if self.kind == "query":
            return [part["image"] for part in self.value if "image" in part]
        return [self.value] if self.kind == "image" else []

    def size(self) -> int:
        """About how many bytes it takes on the wire."""
        if self.kind == "query":
            return sum(len(value) for part in self.value for value in part.values() if isinstance(value, str))
        return len(self.value)
