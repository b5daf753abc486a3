"""Adding items to a collection: encode what needs encoding, then upsert, each item with a status of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clip_core.errors import ClipServeError, FingerprintMismatch, from_dict
from gateway.encode.chunks import Ask
from gateway.encode.encoder import Encoder
from gateway.ingest.items import IngestItem
from gateway.keys.meter import Meter
from gateway.upstream.index_service import IndexServiceClient

Json = dict[str, Any]


class Ingester:
    """Runs the two steps. An item that was encoded but not stored reports the index's error."""

    def __init__(self, encoder: Encoder, index: IndexServiceClient, meter: Meter) -> None:
        self._encoder = encoder
        self._index = index
        self._meter = meter

    async def add(self, collection: str, items: Sequence[IngestItem]) -> list[Json]:
        """Raises UnknownCollection or FingerprintMismatch before any work is done."""
        described = await self._index.describe(collection)
        await self._encode(items, described)
        ready = [item for item in items if item.vector is not None]
        made = [item for item in ready if not item.is_own_vector()]
        await self._store(collection, described["fingerprint"], made)
        await self._store(collection, None, [item for item in ready if item.is_own_vector()])
        return [item.result() for item in items]

    async def _encode(self, items: Sequence[IngestItem], described: Json) -> None:
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

    async def _store(self, collection: str, fingerprint: str | None, items: Sequence[IngestItem]) -> None:
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
