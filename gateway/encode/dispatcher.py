"""Sends chunks to TorchServe: a bounded number at a time, each after admission, small ones coalesced."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from clip_core.errors import ClipServeError, Overloaded, TorchServeUnavailable
from clip_core.tracing.spans import here, stage
from gateway.admission.endpoints import EndpointAdmissions
from gateway.admission.queued_request import AdmissionCall
from gateway.encode.chunks import ChunkPlanner, EncodeChunk, request_body
from gateway.encode.request_coalescing import RequestCoalescer
from gateway.encode.results import Answer
from gateway.encode.traced_call import TracedCall, end_reading
from gateway.settings import GatewaySettings
from gateway.trace import current_trace, timed
from gateway.upstream.answer_bytes import AnswerBudget
from gateway.upstream.replies import EncodeReply, stage_times
from gateway.upstream.waking import Predicting

_MOMENT_NS = 100_000


class Dispatcher:
    """One for a model, since coalescing needs the chunks of all callers."""

    def __init__(
        self,
        torchserve: Predicting,
        settings: GatewaySettings,
        admissions: EndpointAdmissions,
        planner: ChunkPlanner,
    ) -> None:
        self._torchserve = torchserve
        self._settings = settings
        self._admissions = admissions
        self._planner = planner
        self._coalescer = RequestCoalescer(self.send, settings.coalesce_min_in_flight, planner.fits)

    async def answers(self, chunks: Sequence[EncodeChunk]) -> list[Answer]:
        """The answer to each chunk of one call, or its error.

        At most `fan_out_concurrency` chunks are under way at once. The rest is not tried once TorchServe is unavailable
        or the answers are too large.
        """
        calls = {chunk.endpoint: (self._admissions.call(), self._admissions.call()) for chunk in chunks}
        if len(chunks) == 1:
            return [await self._answer(chunks[0], *calls[chunks[0].endpoint])]
        width = asyncio.Semaphore(self._settings.fan_out_concurrency)
        down: dict[str, TorchServeUnavailable] = {}
        budget, trace = AnswerBudget(self._settings.max_answer_bytes), current_trace()

        async def one(chunk: EncodeChunk) -> Answer:
            async with width:
                known = down.get(chunk.endpoint) or budget.refusal()
                answer = known or await self._answer(chunk, *calls[chunk.endpoint])
            budget.add(answer)
            trace.progress()
            if isinstance(answer, TorchServeUnavailable):
                down[chunk.endpoint] = answer
            return answer

        return await asyncio.gather(*map(one, chunks))

    async def send(self, chunks: Sequence[EncodeChunk]) -> EncodeReply:
        """Chunks of one key as one request, without admission. Raises ClipServeError."""
        with TracedCall(chunks) as traced:
            return await self._torchserve.predict(chunks[0].endpoint, request_body(chunks) | traced.fields())

    async def _answer(self, chunk: EncodeChunk, at_room: AdmissionCall, at_admission: AdmissionCall) -> Answer:
        """Counted as demand from its coming to its end, whether it is served or not."""
        demand, cost = self._admissions.demand, self._planner.cost(chunk)
        with demand.stay(chunk.endpoint, cost):
            answer = await self._let_in(chunk, at_room, at_admission)
        if isinstance(answer, Overloaded | TorchServeUnavailable):
            demand.refuse(chunk.endpoint, cost, came=True)
        return answer

    async def _let_in(self, chunk: EncodeChunk, at_room: AdmissionCall, at_admission: AdmissionCall) -> Answer:
        """Wait for room for the answer, then for admission; the call waits at each of them as a call of its own."""
        try:
            async with self._admissions.room_at(chunk.endpoint).taken(at_room, self._planner.answer_bytes(chunk)):
                return await self._admitted(chunk, at_admission)
        except Overloaded as error:
            return error

    async def _admitted(self, chunk: EncodeChunk, call: AdmissionCall) -> Answer:
        """Wait for admission, send the chunk, and report its times to the admission controller. Raises Overloaded."""
        admission, cost = self._admissions.at(chunk.endpoint), self._planner.cost(chunk)
        came = time.perf_counter()
        end_reading()
        with timed("admission"), stage("admission", least_ns=_MOMENT_NS):
            await admission.turn(call, cost)
        self._admissions.on_wait(chunk.endpoint, "admission", time.perf_counter() - came)
        started, chunk.place, chunk.admitted_ns = time.perf_counter(), here(), time.time_ns()
        answer: Answer | None = None
        try:
            answer = await (self.send([chunk]) if self._planner.is_large(chunk) else self._coalescer.answer(chunk))
            return answer
        except ClipServeError as error:
            answer = error
            return answer
        finally:
            chunk.ms = (time.perf_counter() - started) * 1e3
            waited_s, worked_s = _waited_and_worked(answer, chunk.ms / 1e3)
            admission.leave(call, cost, waited_s, worked_s)
            if isinstance(answer, dict):
                self._admissions.on_wait(chunk.endpoint, "queue", waited_s)


def _waited_and_worked(answer: Answer | None, elapsed_s: float) -> tuple[float, float | None]:
    """Seconds in TorchServe's queue and in the model; the latter is None when no model worked on the request."""
    if isinstance(answer, dict):
        worked_s = sum(stage_times(answer)) / 1e3
        return max(0.0, elapsed_s - worked_s), worked_s
    return (max(elapsed_s, 1.0), 0.0) if isinstance(answer, Overloaded) else (0.0, None)
