"""How the inputs of a call are split into TorchServe requests: by endpoint and search, number and bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from clip_core.errors import ClipServeError
from clip_core.tracing.spans import Place
from clip_core.wire import SearchPart
from gateway.encode.endpoints import Endpoints
from gateway.encode.request_coalescing import Key
from gateway.fetch.url_images import Fetched
from gateway.inputs.paging import Page
from gateway.inputs.source import Source
from gateway.settings import GatewaySettings
from gateway.upstream.answer_bytes import answer_bytes

_BYTES_OF_TEXT = 4096  # a longer text counts as several: a worker may take ten times as long for one of 64 KB


@dataclass(frozen=True)
class Ask:
    """One input, and the search to run with its vector; without a search the vector itself is the answer.

    `model` is the model's name in the request, if any; `page` is the part of the ranking that the caller wants.
    """

    source: Source
    search: SearchPart | None = None
    model: object = None
    page: Page | None = None


@dataclass
class EncodeChunk:
    """The inputs of one TorchServe request: one endpoint, one search, of which `search_text` is the JSON text.

    `places` are the inputs' places in the call. `weight` counts texts, images and vectors, `bytes` is the size of the
    inputs, and `ms` is the time that the request took once it is answered. `place` is where in the caller's trace it
    was admitted, at `admitted_ns` since 1970.
    """

    endpoint: str
    search: SearchPart | None
    truncate: str | None
    search_text: bytes = b""
    places: list[int] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    weight: int = 0
    bytes: int = 0
    ms: float = 0.0
    place: Place = None
    admitted_ns: int = 0

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def key(self) -> Key:
        """Chunks of the same key may share one request."""
        return self.endpoint, self.truncate, self.search_text

    def add(self, place: int, source: Source, weight: int, size: int) -> None:
        """Append one input of `weight` parts and `size` bytes."""
        self.places.append(place)
        self.sources.append(source)
        self.weight += weight
        self.bytes += size


def request_body(chunks: Sequence[EncodeChunk]) -> dict[str, Any]:
    """The body of one request for chunks of the same key, as the handlers take it."""
    first = chunks[0]
    body: dict[str, Any] = {"input": [source.item() for chunk in chunks for source in chunk.sources]}
    if first.search is not None:
        body["search"] = orjson.Fragment(first.search_text)
    if first.truncate is not None:
        body["truncate"] = first.truncate
    return body


class ChunkPlanner:
    """Chooses among a model's endpoints, and splits inputs within the settings' fan-out limits.

    `dim` is the dimension of the served model's vectors, None until it is known; it sizes the answers of searches.
    """

    def __init__(self, settings: GatewaySettings, endpoints: Endpoints) -> None:
        self._settings, self._endpoints = settings, endpoints
        self.dim: int | None = None

    def endpoint_for(self, source: Source) -> str:
        """A mix of images and text goes to the multimodal endpoint, anything else to its own."""
        kinds = source.kinds()
        if "image" in kinds:
            return self._endpoints.multimodal if "text" in kinds else self._endpoints.image
        return self._endpoints.text if "text" in kinds else self._endpoints.multimodal

    def split(self, asks: Sequence[Ask], sources: Sequence[Fetched], truncate: str | None) -> list[EncodeChunk]:
        """Neighbouring inputs share a chunk up to the limits on number and bytes; a failed fetch is left out."""
        chunks: list[EncodeChunk] = []
        filling: dict[tuple[str, bytes], EncodeChunk] = {}
        for place, (ask, source) in enumerate(zip(asks, sources, strict=True)):
            if isinstance(source, ClipServeError):
                continue
            endpoint, weight, size = self.endpoint_for(source), source.parts(), source.size()
            text = orjson.dumps(ask.search.to_dict()) if ask.search else b""
            key = (endpoint, text)
            chunk = filling.get(key)
            if chunk is None or self._is_full(chunk, weight, size):
                chunk = filling[key] = EncodeChunk(endpoint, ask.search, truncate, text)
                chunks.append(chunk)
            chunk.add(place, source, weight, size)
        return chunks

    def fits(self, weight: int, size: int, chunk: EncodeChunk) -> bool:
        """Whether `chunk` may join a request that has `weight` parts and `size` bytes already."""
        most = self._most(chunk.endpoint)
        if chunk.search is not None:
            most = min(most, self.most_searches(chunk.search))
        return weight + chunk.weight <= most and size + chunk.bytes <= self._most_bytes(chunk.endpoint)

    def is_large(self, chunk: EncodeChunk) -> bool:
        """Whether the chunk fills more than half of a request, so that coalescing gains nothing."""
        return not self.fits(chunk.weight, chunk.bytes, chunk)

    def cost(self, chunk: EncodeChunk) -> int:
        """What the chunk counts for at admission: its parts, or more where its texts are long."""
        texts = chunk.endpoint == self._endpoints.text
        return max(chunk.weight, chunk.bytes // _BYTES_OF_TEXT if texts else 0)

    def answer_bytes(self, chunk: EncodeChunk) -> int:
        """About what the hits of its searches take."""
        return 0 if chunk.search is None else len(chunk) * answer_bytes(chunk.search, self.dim)

    def most_searches(self, search: SearchPart) -> int:
        """How many searches like this one may share a request; 0 when the answer to one of them is too large."""
        return self._settings.fan_out_answer_bytes // answer_bytes(search, self.dim)

    def _is_full(self, chunk: EncodeChunk, weight: int, size: int) -> bool:
        if chunk.search is not None and len(chunk) >= self.most_searches(chunk.search):
            return True
        return chunk.weight + weight > self._most(chunk.endpoint) or chunk.bytes + size > self._most_bytes(
            chunk.endpoint
        )

    def _most(self, endpoint: str) -> int:
        texts = endpoint == self._endpoints.text
        return self._settings.fan_out_texts if texts else self._settings.fan_out_images

    def _most_bytes(self, endpoint: str) -> int:
        texts = endpoint == self._endpoints.text
        return self._settings.fan_out_text_bytes if texts else self._settings.fan_out_bytes
