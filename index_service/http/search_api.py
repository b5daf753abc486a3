"""`POST /search`, the hot path: one search of a small collection is parsed, run and answered where it arrives."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from clip_core.tracing.spans import here
from index_service.collection import bodies
from index_service.collection.recall import RecallSampler
from index_service.collection.registry import Registry
from index_service.http.answers import json_answer
from index_service.http.call_limit import CallLimit
from index_service.http.middleware import clean_id
from index_service.http.workers import Workers
from index_service.metrics.metrics import IndexMetrics
from index_service.search.call import SearchCall
from index_service.search.parsing import parse_call
from index_service.settings import IndexSettings

_INLINE_COST = 4_000_000  # multiplications: a few tenths of a millisecond
_ALONE_COST = 100_000_000  # while no other search is under way: nobody waits for it, and the way to a thread is saved
_INLINE_BYTES, _INLINE_VALUES = 64 * 1024, 2048  # a body with more takes too long to parse on the event loop


class SearchApi:
    """Searches that cost well under a millisecond run on the event loop, all others in a thread.

    One that has the service to itself may cost ten.
    """

    def __init__(
        self,
        settings: IndexSettings,
        registry: Registry,
        metrics: IndexMetrics,
        workers: Workers,
        sampler: RecallSampler,
    ) -> None:
        self._sampler = sampler
        self._most, self._max_k = settings.max_searches, settings.max_k
        self._most_bytes = settings.max_answer_bytes
        self._gate = CallLimit(settings.max_concurrent_searches, "searches", "max_concurrent_searches")
        self._registry, self._metrics, self._workers = registry, metrics, workers

    async def search(self, request: Request) -> Response:
        """All searches of the body, each with an answer of its own."""
        with self._gate.enter():
            return await self._search(request)

    async def _search(self, request: Request) -> Response:
        raw, fields = await request.body(), request.scope["state"]["log"]
        if len(raw) > _INLINE_BYTES or raw.count(b",") > _INLINE_VALUES:
            done = await self._workers.read(lambda: self._begun(self._parse(raw, fields)), self._gate.inside)
            if isinstance(done, Response):
                return done
            return await self._in_a_thread(done)
        call = self._parse(raw, fields)
        if call.waits or call.cost > (_ALONE_COST if self._gate.inside == 1 else _INLINE_COST):
            return await self._in_a_thread(call)
        return self._answer(call)

    async def _in_a_thread(self, call: SearchCall) -> Response:
        """Large calls take turns."""
        if call.large:
            return await self._workers.large(lambda: self._answer(call), waits=call.waits)
        return await self._workers.read(lambda: self._answer(call), self._gate.inside, waits=call.waits)

    def _begun(self, call: SearchCall) -> Response | SearchCall:
        """The answer, or the same call where it is large, or waits for another process."""
        return call if call.large or call.waits else self._answer(call)

    def _parse(self, raw: bytes, fields: dict[str, Any]) -> SearchCall:
        self._registry.check_ready()
        body = bodies.parse_body(raw, ("fingerprint", "searches"))
        searches = bodies.listed(body, "searches", self._most)
        ids = [search.get("request_id") for search in searches if isinstance(search, dict)]
        fields["searches"] = len(searches)
        fields["request_ids"] = [good for good in map(clean_id, ids) if good]
        return parse_call(searches, bodies.fingerprint(body), self._registry, self._max_k)

    def _answer(self, call: SearchCall) -> Response:
        results, ms = call.run(self._most_bytes)
        self._sampler.offer(call.samples)
        self._metrics.searches.inc(len(results))
        self._metrics.observe_search(ms / 1e3, here())
        answer = json_answer({"results": results, "timing": {"search_ms": round(ms, 4)}})
        results.clear()  # which takes several times as much memory
        return answer
