"""Adding items to a collection: encode what needs encoding, then upsert, each item with a status of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clip_core.errors import BadInput, ClipServeError, FingerprintMismatch, InvalidRequest, TooLarge, from_dict
from clip_core.wire import json_text
from gateway.encode.encoder import Ask, Encoder
from gateway.inputs.inputs import InputParser, Source
from gateway.keys.meter import Meter
from gateway.upstream.clients import IndexClient

Json = dict[str, Any]
_MAX_ORIGIN = 8192  # characters that the index service keeps


@dataclass
class Item:
    """One item on its way: `error` stops it, `vector` is set once there is one; `at` is its place in the request."""

    at: str
    id: Any
    metadata: Any = None
    source: Source | None = None
    origin: Json | None = None
    vector: str | None = None
    error: ClipServeError | None = None

    def is_own_vector(self) -> bool:
        """The caller brought the vector, so no fingerprint vouches for it."""
        return self.source is not None and self.source.kind == "vector"

    def result(self) -> Json:
        if self.error is None:
            return {"id": self.id, "status": 200}
        return {"id": self.id, "status": self.error.status, **self.error.to_dict()}

    def record(self) -> Json:
        """As the index service takes it, with what `origin` a later model could embed it from again."""
        record = {"id": self.id, "vector": self.vector, "metadata": self.metadata, "source": self.origin}
        return {name: value for name, value in record.items() if value is not None}


def parse_items(body: Json, parser: InputParser, max_items: int) -> list[Item]:
    """Raises InvalidRequest or TooLarge about the list; what is wrong with one item stays with that item."""
    items = body.get("items")
    if not isinstance(items, list) or not items:
        raise InvalidRequest("`items` is a list of at least one item", param="items")
    if len(items) > max_items:
        raise TooLarge(f"{len(items)} items in one call; at most {max_items}", param="items")
    parsed = [_parse_item(item, f"items[{place}]", parser) for place, item in enumerate(items)]
    _refuse_earlier_duplicates(parsed)
    return parsed


class Ingester:
    """Runs the two steps. An item that was encoded but not stored reports the index's error."""

    def __init__(self, encoder: Encoder, index: IndexClient, meter: Meter) -> None:
        self._encoder = encoder
        self._index = index
        self._meter = meter

    async def add(self, collection: str, items: Sequence[Item]) -> list[Json]:
        """Raises UnknownCollection or FingerprintMismatch before any work is done."""
        described = await self._index.describe(collection)
        await self._encode(items, described)
        ready = [item for item in items if item.vector is not None]
        made = [item for item in ready if not item.is_own_vector()]
        await self._store(collection, described["fingerprint"], made)
        await self._store(collection, None, [item for item in ready if item.is_own_vector()])
        return [item.result() for item in items]

    async def _encode(self, items: Sequence[Item], described: Json) -> None:
        brought = [item for item in items if item.error is None and item.is_own_vector()]
        todo = [item for item in items if item.error is None and not item.is_own_vector()]
        asks = [Ask(item.source) for item in todo if item.source is not None]
        self._encoder.check(asks)
        await self._meter.items(len(brought))
        for item in brought:
            item.vector = item.source.value if item.source is not None else None
        if not asks:
            return
        encoded = await self._encoder.run(asks)
        if encoded.served is not None and encoded.served.fingerprint != described["fingerprint"]:
            raise _mismatch(described, encoded.served.model)
        for item, outcome in zip(todo, encoded.outcomes, strict=True):
            if isinstance(outcome, ClipServeError):
                item.error = outcome
            else:
                item.vector = outcome["embedding"]

    async def _store(self, collection: str, fingerprint: str | None, items: Sequence[Item]) -> None:
        if not items:
            return
        results = await self._index.upsert(collection, fingerprint, [item.record() for item in items])
        for item, result in zip(items, results, strict=True):
            if result["status"] >= 400:
                item.error = from_dict(result, result["status"])
                own = item.source if item.error.code == "invalid_vector" else None
                item.error.param = own.param if own is not None else item.at


def _mismatch(described: Json, model: str) -> FingerprintMismatch:
    return FingerprintMismatch(
        f"the collection {described['name']!r} holds vectors of {described['model']!r} "
        f"(fingerprint {described['fingerprint']}), but TorchServe serves another build of {model!r}"
    )


def _parse_item(item: object, at: str, parser: InputParser) -> Item:
    if not isinstance(item, dict):
        return Item(at, None, error=InvalidRequest("an item is an object", param=at))
    parsed = Item(at, item["id"] if isinstance(item.get("id"), str) else None, item.get("metadata"))
    try:
        parsed.source = _parse_source(item, at, parser)
        parsed.origin = _origin(item)
    except BadInput as error:
        parsed.error = error
    return parsed


def _parse_source(item: Json, at: str, parser: InputParser) -> Source:
    if not isinstance(item.get("id"), str) or not item["id"]:
        raise BadInput("`id` is a non-empty string", param=f"{at}.id")
    if not isinstance(item.get("metadata", {}), dict | None):
        raise BadInput("`metadata` is an object", param=f"{at}.metadata")
    json_text(item.get("metadata"), f"{at}.metadata")
    return parser.source(item, at, ("text", "image", "vector"))


def _origin(item: Json) -> Json | None:
    """A short text, or the address of an image; uploads and long texts are not kept."""
    for kind, starts in (("text", ""), ("image", ("http://", "https://"))):
        value = item.get(kind)
        if isinstance(value, str) and value.startswith(starts) and len(value) <= _MAX_ORIGIN:
            return {kind: value}
    return None


def _refuse_earlier_duplicates(items: Sequence[Item]) -> None:
    """The last item of an id wins, as in the index service; sparing the others saves their encoding."""
    last = {item.id: place for place, item in enumerate(items) if isinstance(item.id, str)}
    for place, item in enumerate(items):
        if item.error is None and last[item.id] != place:
            message = f"another item of this call has the id {item.id!r}; the last one counts"
            item.error = BadInput(message, param=f"{item.at}.id")
