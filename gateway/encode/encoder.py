"""Inputs → vectors or hits, through TorchServe: charges, fetches, splits into requests, restores the order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from clip_core.errors import ClipServeError, InferenceFailed
from gateway.admission.endpoints import EndpointAdmissions
from gateway.encode.chunks import Ask, ChunkPlanner, EncodeChunk
from gateway.encode.dispatcher import Dispatcher
from gateway.encode.endpoints import Endpoints
from gateway.encode.results import Answer, EncodedInputs, is_untried
from gateway.encode.served_model import ServedModel
from gateway.fetch.url_images import UrlImageLoader
from gateway.inputs.source import Source
from gateway.keys.meter import Meter
from gateway.settings import GatewaySettings
from gateway.upstream.replies import EncodeReply
from gateway.upstream.torchserve import TorchServeClient
from gateway.upstream.waking import Predicting, Waking

CANARY_TEXT = "a canary"


class Encoder:
    """The gateway's only way to a model. `served` is what answered last, None before the first answer."""

    def __init__(
        self,
        torchserve: TorchServeClient,
        settings: GatewaySettings,
        meter: Meter,
        admissions: EndpointAdmissions,
        endpoints: Endpoints,
        url_images: UrlImageLoader | None = None,
        name: str = "",
    ) -> None:
        """Without `url_images` no URL is fetched. `name` is the model's; "": what its handlers say."""
        self._torchserve, self._endpoints, self._name = torchserve, endpoints, name
        self._meter = meter
        self._admissions = admissions
        self._url_images = url_images
        self._planner = ChunkPlanner(settings, endpoints)
        predicting: Predicting = torchserve
        if settings.autoscaled != "no":
            predicting = Waking(torchserve, settings.cold_start_timeout_s, replicas=settings.autoscaled == "replicas")
        self._dispatcher = Dispatcher(predicting, settings, admissions, self._planner)
        self.served: ServedModel | None = None

    @property
    def name(self) -> str:
        """ "" while it isn't known."""
        return self._name or (self.served.model if self.served is not None else "")

    def check(self, asks: Sequence[Ask]) -> None:
        """Raises Overloaded when these inputs can neither run nor wait."""
        self._admissions.check({self._planner.endpoint_for(ask.source) for ask in asks})

    async def run(
        self, asks: Sequence[Ask], *, truncate: str | None = None, charged: int | None = None
    ) -> EncodedInputs:
        """Encode the inputs; errors of single inputs are in the outcomes.

        `charged` says that the caller has called `check` already, and charged that many items for the whole call.
        Requests that are refused for overload, or that TorchServe was not there for, are not charged. Raises Overloaded
        when the inputs cannot even wait, RateLimited or TooLarge when the key's allowance does not reach, which then
        takes nothing, and Conflict when the endpoints serve different models.
        """
        sources = [ask.source for ask in asks]
        if charged is None:
            self.check(asks)
            charged = sum(source.parts() for source in sources)
            await self._meter.items(charged)
        fetched = await self._url_images.load(sources) if self._url_images is not None else sources
        await self._meter.images([source for source in fetched if isinstance(source, Source)], charged)
        missing = InferenceFailed("TorchServe did not answer this input")
        result = EncodedInputs([each if isinstance(each, ClipServeError) else missing for each in fetched], fetched)
        chunks = self._planner.split(asks, fetched, truncate)
        answers = await self._dispatcher.answers(chunks)
        untried = [chunk for chunk, answer in zip(chunks, answers, strict=True) if is_untried(answer)]
        if untried and charged:
            await self._meter.give_back([source for chunk in untried for source in chunk.sources])
        for chunk, answer in zip(chunks, answers, strict=True):
            self._collect(result, chunk, answer)
        return result

    async def describe(self, timeout_s: float | None = None) -> ServedModel:
        """Ask TorchServe which model it serves and for its facts, without admission. Raises ClipServeError."""
        body = {"input": [{"text": CANARY_TEXT}], "describe": True}
        return self._note(await self._torchserve.predict(self._endpoints.text, body, timeout_s=timeout_s))

    def _collect(self, result: EncodedInputs, chunk: EncodeChunk, answer: Answer) -> None:
        if isinstance(answer, ClipServeError):
            result.fail(chunk, answer)
        else:
            result.add(chunk, answer, self._note(answer))

    def _note(self, answer: EncodeReply) -> ServedModel:
        """Facts are told to `describe` only, and hold as long as the model is the same."""
        served = ServedModel.of(answer, self._name)
        if self.served is not None and not served.facts and served.fingerprint == self.served.fingerprint:
            served = replace(served, facts=self.served.facts)
        self.served, self._planner.dim = served, served.dim
        return served
