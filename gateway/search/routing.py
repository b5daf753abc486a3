"""Which model a search is for: the one that it names, or the one whose vectors its collection holds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from clip_core.errors import ClipServeError, FingerprintMismatch
from gateway.encode.chunks import Ask
from gateway.encode.encoder import Encoder
from gateway.encode.served_model import ServedModel, two_models
from gateway.models.known_collections import KnownCollections
from gateway.models.registry import Models

_OWN = ("vector", "like")  # what needs no model


@dataclass(frozen=True)
class Routed:
    """A search and the encoder of its model; None where its vector is there already."""

    ask: Ask
    encoder: Encoder | None


class SearchRouter:
    """With one model nobody is asked for a collection's."""

    def __init__(self, models: Models, known: KnownCollections) -> None:
        self.models, self._known = models, known

    async def routed(self, asks: Sequence[Ask]) -> list[Routed | ClipServeError]:
        """In order. An error is that of its search: an unknown model, an unknown collection, or no model at all."""
        if self.models.several:
            return await asyncio.gather(*map(self._route, asks))
        return [await self._route(ask) for ask in asks]

    async def _route(self, ask: Ask) -> Routed | ClipServeError:
        try:
            return Routed(ask, None if ask.source.kind in _OWN else await self._encoder(ask))
        except ClipServeError as error:
            return error

    async def again(self, routed: Routed, error: FingerprintMismatch) -> Routed | ClipServeError:
        """After the index service refused the vector: by what the collection is now, or what to say about it."""
        assert routed.ask.search is not None
        name = routed.ask.search.collection
        try:
            described = await self._known.describe_again(name)
            if routed.ask.model is not None:
                return two_models(routed.ask.model, described["name"], described["model"])
            encoder = await self.models.of_collection(described)
        except ClipServeError as failed:
            return failed
        return error if encoder is routed.encoder else Routed(routed.ask, encoder)

    def misnamed(self, ask: Ask, answered: ServedModel) -> ClipServeError | None:
        """What is wrong with the model that a search by vector names."""
        if ask.model in (None, answered.model):
            return None
        if ask.search is None or not self.models.is_served(ask.model):
            return self.models.unknown(ask.model)
        return two_models(ask.model, ask.search.collection, answered.model)

    async def _encoder(self, ask: Ask) -> Encoder:
        assert ask.search is not None
        if ask.model is not None or not self.models.several:
            return await self.models.named(ask.model)
        return await self.models.of_collection(await self._known.describe(ask.search.collection))
