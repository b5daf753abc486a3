"""What every source of a job gives: entries, each an item or the reason why it can't be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import pybase64

from clip_core.errors import ClipServeError, ImageTooLarge
from gateway.inputs.files import PICTURES

Wanted = Callable[[int], bool]
SUFFIXES = PICTURES | {".tif", ".tiff"}


class Entry(NamedTuple):
    """`item` as `/v1/collections/{name}/items` takes it, or why it can't be read."""

    place: int
    id: str
    item: dict[str, Any] | ClipServeError


class EntrySource(Protocol):
    def count(self) -> int | None:
        """How many entries there are; None when only reading it all would tell."""
        ...

    def entries(self, wanted: Wanted) -> Iterator[Entry]:
        """Those whose place is wanted, in order. Blocks on files: not for the event loop."""
        ...


def image_item(item_id: str, content: bytes, metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": item_id, "image": pybase64.b64encode_as_string(content), "metadata": dict(metadata)}


def too_large(max_bytes: int) -> ImageTooLarge:
    return ImageTooLarge(f"the image is larger than {max_bytes} bytes")
