"""Inputs → vectors or hits, through TorchServe: picks the endpoint, splits lists, fans out, restores the order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from clip_core.errors import (
    BadInput,
    ClipServeError,
    Conflict,
    InferenceFailed,
    Overloaded,
    TorchServeUnavailable,
    UnknownModel,
    from_dict,
)
from clip_core.wire import SearchPart
from gateway.admission.controller import AdmissionCall
from gateway.admission.endpoints import EndpointAdmissions
from gateway.encode.request_coalescing import Key, RequestCoalescer
from gateway.fetch.url_images import Fetched, UrlImageLoader
from gateway.inputs.paging import Page
from gateway.inputs.source import Source
from gateway.keys.meter import Meter
from gateway.settings import GatewaySettings
from gateway.upstream.answer_bytes import AnswerBudget, answer_bytes
from gateway.upstream.torchserve import TorchServeClient

CANARY_TEXT = "a canary"
Answer = dict[str, Any] | ClipServeError  # to a chunk
Outcome = dict[str, Any] | ClipServeError  # of an ask


@dataclass(frozen=True)
class ServedModel:
    """The model that TorchServe serves now."""

    model: str
    fingerprint: str
    dim: int
    matryoshka_dimensions: tuple[int, ...] = ()  # what its vectors may be cut to

    @classmethod
    def of(cls, answer: dict[str, Any]) -> ServedModel:
        shorter = tuple(answer.get("matryoshka_dimensions") or ())
        return cls(answer["model"], answer["fingerprint"], answer["dim"], shorter)


@dataclass(frozen=True)
class Ask:
    """One input, and what to search with its vector; without a search the vector itself is wanted.

    `model` is the name that the caller asked for, if any; `page` is the part of the ranking that it wants to see.
    """

    source: Source
    search: SearchPart | None = None
    model: object = None
    page: Page | None = None


@dataclass
class EncodeChunk:
    """The asks of one TorchServe request: same endpoint, same search."""

    endpoint: str
    search: SearchPart | None
    truncate: str | None
    places: list[int] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    weight: int = 0  # its texts, images and vectors
    bytes: int = 0
    ms: float = 0.0  # what the request took, once it was answered

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def key(self) -> Key:
        """Chunks of the same key may travel together."""
        options = {"truncate": self.truncate, "search": self.search.to_dict() if self.search else None}
        return self.endpoint, orjson.dumps(options)

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"input": [source.item() for source in self.sources]}
        if self.search is not None:
            body["search"] = self.search.to_dict()
        if self.truncate is not None:
            body["truncate"] = self.truncate
        return body


@dataclass
class EncodeResult:
    """`outcomes` has one entry an ask, in order: the handler's entry, or what went wrong with that ask.

    Times are those of the slowest request among those that ran side by side; `queue_ms` is what TorchServe took
    beyond encoding and searching: waiting for the batch, and transport.
    """

    outcomes: list[Outcome]
    served: ServedModel | None = None
    encode_ms: float = 0.0
    search_ms: float = 0.0
    queue_ms: float = 0.0

    def model(self) -> ServedModel:
        """What encoded the asks. Raises the first error when nothing was encoded."""
        if self.served is None:
            raise self.first_error() or InferenceFailed("TorchServe encoded nothing")
        return self.served

    def stages(self) -> dict[str, float]:
        """For the Server-Timing header."""
        times = {"queue": self.queue_ms, "encode": self.encode_ms, "search": self.search_ms}
        return {name: ms for name, ms in times.items() if ms}

    def first_error(self) -> ClipServeError | None:
        return next((outcome for outcome in self.outcomes if isinstance(outcome, ClipServeError)), None)

    def entries(self) -> list[dict[str, Any]]:
        """All the handlers' entries. Raises the first error when there is one."""
        error = self.first_error()
        if error is not None:
            raise error
        return [outcome for outcome in self.outcomes if isinstance(outcome, dict)]


class Encoder:
    """The gateway's only way to TorchServe. Remembers which model answered last."""

    def __init__(
        self,
        torchserve: TorchServeClient,
        settings: GatewaySettings,
        meter: Meter,
        admissions: EndpointAdmissions,
        fetching: UrlImageLoader | None = None,
    ) -> None:
        self._torchserve = torchserve
        self._settings = settings
        self._meter = meter
        self._admissions = admissions
        self._fetching = fetching
        self._large_answers = asyncio.Semaphore(1)  # one is as large as all others of a TorchServe batch
        self._coalescer = RequestCoalescer(self._send, settings.share_above, self._fits)
        self.served: ServedModel | None = None

    def endpoint_for(self, source: Source) -> str:
        """A mix of images and text goes to the multimodal endpoint, anything else to its own."""
        kinds = source.kinds()
        if "image" in kinds:
            return self._settings.multimodal_endpoint if "text" in kinds else self._settings.image_endpoint
        return self._settings.text_endpoint if "text" in kinds else self._settings.multimodal_endpoint

    def check(self, asks: Sequence[Ask]) -> None:
        """Raises Overloaded when these may not even wait for their turn."""
        self._admissions.check({self.endpoint_for(ask.source) for ask in asks})

    async def run(self, asks: Sequence[Ask], *, truncate: str | None = None, charged: bool = False) -> EncodeResult:
        """Raises Conflict when the endpoints turn out to serve different models, Overloaded when it may not even wait,
        RateLimited when the key has no more of its allowance; all else is in the outcomes. What is refused for overload
        later than that is not charged either; `charged` says that the caller of this has checked and charged.
        """
        sources = [ask.source for ask in asks]
        if not charged:
            self.check(asks)
            await self._meter.items(sum(source.parts() for source in sources))
        fetched = await self._fetching.all(sources) if self._fetching is not None else sources
        await self._meter.images([source for source in fetched if isinstance(source, Source)])
        encoded = EncodeResult([InferenceFailed("TorchServe did not answer this input")] * len(asks))
        chunks = self._split(asks, fetched, encoded, truncate)
        answers = await self._answers(chunks)
        for chunk, answer in zip(chunks, answers, strict=True):
            self._collect(encoded, chunk, answer)
        refused = [chunk for chunk, answer in zip(chunks, answers, strict=True) if isinstance(answer, Overloaded)]
        if refused:
            await self._meter.give_back([source for chunk in refused for source in chunk.sources])
        return encoded

    async def describe(self) -> ServedModel:
        """Ask TorchServe which model it serves, whatever is under way. Raises ClipServeError."""
        source = Source("text", CANARY_TEXT, None)
        canary = EncodeChunk(self.endpoint_for(source), None, None, [0], [source])
        self.served = ServedModel.of(await self._send([canary]))
        return self.served

    async def require(self, model: object) -> None:
        """Raises UnknownModel unless `model` is None or the served one, asking again before it refuses."""
        if model is None or (self.served is not None and self.served.model == model):
            return
        check_model(model, await self.describe())

    async def _answers(self, chunks: Sequence[EncodeChunk]) -> list[Answer]:
        """A bounded number at a time; once TorchServe is seen to be down, or the answers are too large, the rest is not
        tried.
        """
        calls = {chunk.endpoint: self._admissions.call() for chunk in chunks}
        if len(chunks) == 1:
            return [await self._answer(chunks[0], calls[chunks[0].endpoint])]
        width = asyncio.Semaphore(self._settings.fan_out_width)
        down: dict[str, TorchServeUnavailable] = {}
        budget = AnswerBudget(self._settings.max_answer_bytes)

        async def one(chunk: EncodeChunk) -> Answer:
            async with width:
                known = down.get(chunk.endpoint) or budget.refusal()
                answer = known or await self._answer(chunk, calls[chunk.endpoint])
            budget.add(answer)
            if isinstance(answer, TorchServeUnavailable):
                down[chunk.endpoint] = answer
            return answer

        return await asyncio.gather(*map(one, chunks))

    async def _answer(self, chunk: EncodeChunk, call: AdmissionCall) -> Answer:
        if chunk.search is None or self._most_answers(chunk.search) > 0:
            return await self._answer_in_turn(chunk, call)
        async with self._large_answers:
            return await self._answer_in_turn(chunk, call)

    async def _answer_in_turn(self, chunk: EncodeChunk, call: AdmissionCall) -> Answer:
        admission = self._admissions.at(chunk.endpoint)
        try:
            await admission.turn(call, chunk.weight)
        except Overloaded as error:
            return error
        started = time.perf_counter()
        answer: Answer | None = None
        try:
            answer = await (self._send([chunk]) if self._is_large(chunk) else self._coalescer.answer(chunk))
            return answer
        except ClipServeError as error:
            answer = error
            return answer
        finally:
            chunk.ms = (time.perf_counter() - started) * 1e3
            admission.leave(call, chunk.weight, *_waited_and_worked(answer, chunk.ms / 1e3))

    async def _send(self, chunks: Sequence[EncodeChunk]) -> dict[str, Any]:
        body = chunks[0].body()
        body["input"] = [source.item() for chunk in chunks for source in chunk.sources]
        return await self._torchserve.predict(chunks[0].endpoint, body)

    def _is_large(self, chunk: EncodeChunk) -> bool:
        """Half of what a request may carry gains nothing from company."""
        return not self._fits(chunk.weight, chunk.bytes, chunk)

    def _fits(self, weight: int, size: int, chunk: EncodeChunk) -> bool:
        most = self._most(chunk.endpoint)
        if chunk.search is not None:
            most = min(most, self._most_answers(chunk.search))
        return weight + chunk.weight <= most and size + chunk.bytes <= self._most_bytes(chunk.endpoint)

    def _most(self, endpoint: str) -> int:
        texts = endpoint == self._settings.text_endpoint
        return self._settings.fan_out_texts if texts else self._settings.fan_out_images

    def _most_bytes(self, endpoint: str) -> int:
        texts = endpoint == self._settings.text_endpoint
        return self._settings.fan_out_text_bytes if texts else self._settings.fan_out_bytes

    def _most_answers(self, search: SearchPart) -> int:
        """How many searches like this one may share a request; 0 when one of them is large already."""
        dim = self.served.dim if self.served is not None else None
        return self._settings.fan_out_answer_bytes // answer_bytes(search, dim)

    def _split(
        self, asks: Sequence[Ask], sources: Sequence[Fetched], encoded: EncodeResult, truncate: str | None
    ) -> list[EncodeChunk]:
        """Neighbouring asks share a request up to the limits on number and bytes; what was not fetched is left out."""
        chunks: list[EncodeChunk] = []
        filling: dict[tuple[str, bytes], EncodeChunk] = {}
        for place, (ask, source) in enumerate(zip(asks, sources, strict=True)):
            if isinstance(source, ClipServeError):
                encoded.outcomes[place] = source
                continue
            endpoint, weight, size = self.endpoint_for(source), source.parts(), source.size()
            key = (endpoint, orjson.dumps(ask.search.to_dict()) if ask.search else b"")
            chunk = filling.get(key)
            if chunk is None or self._is_full(chunk, weight, size):
                chunk = filling[key] = EncodeChunk(endpoint, ask.search, truncate)
                chunks.append(chunk)
            chunk.places.append(place)
            chunk.sources.append(source)
            chunk.weight += weight
            chunk.bytes += size
        return chunks

    def _is_full(self, chunk: EncodeChunk, weight: int, size: int) -> bool:
        most = self._most(chunk.endpoint)
        if chunk.search is not None and len(chunk) >= self._most_answers(chunk.search):
            return True
        return chunk.weight + weight > most or chunk.bytes + size > self._most_bytes(chunk.endpoint)

    def _collect(self, encoded: EncodeResult, chunk: EncodeChunk, answer: Answer) -> None:
        if isinstance(answer, ClipServeError):
            for place in chunk.places:
                encoded.outcomes[place] = answer
            return
        self._note_served(encoded, ServedModel.of(answer))
        timing = answer.get("timing") or {}
        encode_ms, search_ms = timing.get("encode_ms") or 0.0, timing.get("search_ms") or 0.0
        encoded.encode_ms = max(encoded.encode_ms, encode_ms)
        encoded.search_ms = max(encoded.search_ms, search_ms)
        encoded.queue_ms = max(encoded.queue_ms, chunk.ms - encode_ms - search_ms)
        for place, source, entry in zip(chunk.places, chunk.sources, answer["data"], strict=False):
            encoded.outcomes[place] = _outcome(entry, source)

    def _note_served(self, encoded: EncodeResult, served: ServedModel) -> None:
        self.served = served
        if encoded.served is not None and encoded.served.fingerprint != served.fingerprint:
            names = f"{encoded.served.model} and {served.model}"
            raise Conflict(f"TorchServe's endpoints serve different models ({names}); try again after the roll-out")
        encoded.served = served


def _waited_and_worked(answer: Answer | None, elapsed_s: float) -> tuple[float, float | None]:
    """What the time at TorchServe was: the queue's, and the model's; None when no model worked on it."""
    if isinstance(answer, dict):
        timing = answer.get("timing") or {}
        worked_s = ((timing.get("encode_ms") or 0.0) + (timing.get("search_ms") or 0.0)) / 1e3
        return max(0.0, elapsed_s - worked_s), worked_s
    return (max(elapsed_s, 1.0), 0.0) if isinstance(answer, Overloaded) else (0.0, None)


def check_model(model: object, served: ServedModel) -> None:
    """Raises UnknownModel unless `model` is None or the served one."""
    if model is not None and model != served.model:
        raise unknown_model(model, served)


def unknown_model(model: object, served: ServedModel) -> UnknownModel:
    return UnknownModel(f"the model {str(model)[:100]!r} is not served; {served.model!r} is", param="model")


def _outcome(entry: dict[str, Any], source: Source) -> Outcome:
    """The entry, or its error; one about the input names the place that the input had in our request."""
    if entry.get("status", 200) == 200:
        return entry
    error = from_dict(entry, entry["status"])
    if isinstance(error, BadInput) and not str(error.param).startswith(_SEARCH_FIELDS):
        error.param = source.param
    return error


_SEARCH_FIELDS = ("collection", "k", "filter", "include", "exact", "search")
