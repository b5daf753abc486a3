"""Adding items to a collection: encode, keep the pictures, then upsert; each item has a status of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clip_core.errors import ClipServeError, FingerprintMismatch, TooLarge, UnknownModel, from_dict
from gateway.encode.chunks import Ask
from gateway.encode.served_model import ServedModel
from gateway.fetch.url_images import Fetched
from gateway.ingest.earlier_captions import keep_earlier
from gateway.ingest.item_captions import ItemCaptions, leave_out_caption
from gateway.ingest.items import IngestItem
from gateway.inputs.source import Source
from gateway.keys.meter import Meter
from gateway.models.known_collections import KnownCollections
from gateway.models.registry import Models
from gateway.pictures.originals import DIGEST
from gateway.pictures.pictures import Pictures, Sent
from gateway.trace import current_trace, timed
from gateway.upstream.index_service import IndexServiceClient

Json = dict[str, Any]


class Ingester:
    """Runs the steps. An item that was encoded but not stored reports the index's error."""

    def __init__(
        self,
        models: Models,
        index: IndexServiceClient,
        known: KnownCollections,
        meter: Meter,
        pictures: Pictures,
        captions: ItemCaptions,
    ) -> None:
        self._models = models
        self._index = index
        self._known = known
        self._meter = meter
        self._pictures = pictures
        self._captions = captions

    async def add(self, collection: str, items: Sequence[IngestItem], model: object = None) -> list[Json]:
        """Raises UnknownCollection, or FingerprintMismatch, also where the caller names another model than its own.

        That is before any work, unless the collection was dropped or made anew in the last moment: then the
        index service refuses the vectors.
        """
        described = await self._known.describe(collection)
        try:
            await self._models.check_names(model, described)
            await self._check_names_of(items, described)
            await self._add(collection, described, items)
        except ClipServeError:
            self._known.forget(collection)
            raise
        return [item.result() for item in items]

    async def _check_names_of(self, items: Sequence[IngestItem], described: Json) -> None:
        for item in items:
            if item.error is None:
                item.error = await self._misnamed(item, described)

    async def _misnamed(self, item: IngestItem, described: Json) -> ClipServeError | None:
        try:
            await self._models.check_names(item.model, described)
        except (FingerprintMismatch, UnknownModel) as error:
            error.param = f"{item.at}.model"
            return error
        return None

    async def _add(self, collection: str, described: Json, items: Sequence[IngestItem]) -> None:
        fingerprint = await self._encode(collection, items, described)
        ready = [item for item in items if item.vector is not None]
        await self._store(collection, fingerprint, [item for item in ready if not item.is_own_vector()])
        await self._store(collection, None, [item for item in ready if item.is_own_vector()])

    async def _encode(self, collection: str, items: Sequence[IngestItem], described: Json) -> str | None:
        """The fingerprint of the model that made the vectors, if any were made."""
        brought = [item for item in items if item.error is None and item.is_own_vector()]
        todo = [item for item in items if item.error is None and not item.is_own_vector()]
        asks = [Ask(item.source) for item in todo if item.source is not None]
        encoder = await self._models.of_collection(described) if asks else None
        if encoder is not None:
            encoder.check(asks)
        charged = len(brought) + sum(ask.source.parts() for ask in asks)
        await self._meter.items(charged)
        for item in brought:
            item.vector = item.source.value if item.source is not None else None
        await self._pictures.want([(item.metadata or {}).get(DIGEST) for item in brought])
        if encoder is None:
            return None
        encoded = await encoder.run(asks, charged=charged)
        for stage, ms in encoded.stages().items():
            current_trace().note(stage, ms)
        served = encoded.served
        if served is not None and served.fingerprint != described["fingerprint"]:
            await self._check_again(collection, served)
        for item, outcome in zip(todo, encoded.outcomes, strict=True):
            if isinstance(outcome, ClipServeError):
                item.error = outcome
            else:
                item.vector = outcome["embedding"]
        sound = [each for each in zip(todo, encoded.sources, strict=True) if each[0].error is None]
        await self._captions.write(self._models.with_encoder(encoder), sound)
        await self._keep(collection, sound)
        await keep_earlier(self._index, collection, [item for item, _ in sound])
        return served.fingerprint if served is not None else None

    async def _check_again(self, collection: str, served: ServedModel) -> None:
        """Raises FingerprintMismatch unless the collection was made anew, for this model."""
        described = await self._known.describe_again(collection)
        if described["fingerprint"] != served.fingerprint:
            raise _mismatch(described, served.model)

    async def _keep(self, collection: str, encoded: Sequence[tuple[IngestItem, Fetched]]) -> None:
        """Of pictures that are sound, since they were encoded."""
        shown = [
            (item, source.value) for item, source in encoded if isinstance(source, Source) and source.kind == "image"
        ]
        digests = await self._pictures.keep(collection, [Sent(item.id, item.metadata, image) for item, image in shown])
        for (item, _), digest in zip(shown, digests, strict=True):
            if digest is not None:
                item.metadata = {**(item.metadata or {}), DIGEST: digest}

    async def _store(self, collection: str, fingerprint: str | None, items: Sequence[IngestItem]) -> None:
        """An item that is too large with the caption that it was given goes in without."""
        if not items:
            return
        with timed("store"):
            results = await self._index.upsert(collection, fingerprint, [item.record() for item in items])
        again = list[IngestItem]()
        for item, result in zip(items, results, strict=True):
            if result["status"] == TooLarge.status and item.captioned:
                leave_out_caption(item, from_dict(result, TooLarge.status))
                again.append(item)
            elif result["status"] >= 400:
                item.error = from_dict(result, result["status"])
                own = item.source if item.error.code == "invalid_vector" else None
                item.error.param = own.param if own is not None else item.at
        await self._store(collection, fingerprint, again)


def _mismatch(described: Json, model: str) -> FingerprintMismatch:
    return FingerprintMismatch(
        f"the collection {described['name']!r} holds vectors of {described['model']!r} "
        f"(fingerprint {described['fingerprint']}), but TorchServe serves another build of {model!r}: "
        f"{FingerprintMismatch.ways_out(described['name'], described['model'])}"
    )
