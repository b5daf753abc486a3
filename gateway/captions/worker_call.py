"""The requests of one call to a captioner: each picture is one, admitted in turn, and at most some at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, TypeVar

from clip_core.errors import BadInput, Overloaded, TorchServeUnavailable, WorkerLost
from clip_core.tracing.spans import stage, traceparent
from gateway.captions.drafts import NO_DRAFTS, CaptionDrafts
from gateway.captions.wanted import CaptionWork
from gateway.encode.traced_call import end_reading
from gateway.inputs.source import Source
from gateway.metrics import GatewayMetrics
from gateway.models.torchserves import TorchServe
from gateway.settings import GatewaySettings
from gateway.trace import current_trace, timed
from gateway.upstream.caption_replies import CaptionLine, CaptionReply, WorkTimes
from gateway.upstream.waking import Waking

T = TypeVar("T")
Json = dict[str, Any]
_MOMENT_NS = 100_000


class WorkerCall:
    """`queue_ms` and `caption_ms` are of the slowest picture so far."""

    def __init__(
        self,
        settings: GatewaySettings,
        torchserve: TorchServe,
        endpoint: str,
        work: CaptionWork,
        metrics: GatewayMetrics,
    ) -> None:
        self.endpoint, self._work, self._metrics = endpoint, work, metrics
        self._client, self._admissions = torchserve.client, torchserve.admissions
        self._call, self._width = self._admissions.call(), asyncio.Semaphore(settings.fan_out_concurrency)
        self._waking: Waking | None = None
        if settings.autoscaled != "no":
            replicas = settings.autoscaled == "replicas"
            self._waking = Waking(torchserve.client, settings.cold_start_timeout_s, replicas=replicas)
        self._down: TorchServeUnavailable | None = None
        self.queue_ms = self.caption_ms = 0.0

    async def reply(self, source: Source, drafts: CaptionDrafts = NO_DRAFTS) -> CaptionReply:
        """The worker's answer about one picture. Raises ClipServeError; its `param` is of the caller's request."""
        async with self._turn(source) as times:
            with self._sent() as traced:
                body = self._work.body(source.value, drafts=drafts) | traced
                reply = await self._patiently(partial(self._client.caption, self.endpoint, body))
            self._note(reply, times)
            return reply

    async def scores(self, pictures: Sequence[str], texts: Sequence[str], most_tokens: int | None) -> CaptionReply:
        """log P of each text for each of the pictures, which are base64. Raises ClipServeError."""
        wanted: Json = {"pictures": list(pictures), "score": list(texts)}
        if most_tokens is not None:
            wanted["most_tokens"] = most_tokens
        async with self._turn(Source("image", "", "rerank")) as times:
            with self._sent() as traced:
                reply = await self._patiently(partial(self._client.caption, self.endpoint, wanted | traced))
            self._note(reply, times)
            return reply

    async def stream(
        self, source: Source, tell: Callable[[CaptionLine], Awaitable[None]], drafts: CaptionDrafts = NO_DRAFTS
    ) -> None:
        """`tell` is awaited with each line, of which the last one is `done`. Raises ClipServeError as `reply` does."""
        began = time.perf_counter()
        async with self._turn(source) as times, AsyncExitStack() as stack:
            with self._sent() as traced:
                body = self._work.body(source.value, stream=True, drafts=drafts) | traced
                opened = self._patiently(lambda: stack.enter_async_context(self._client.captioned(self.endpoint, body)))
                first = True
                async with aclosing(await opened) as lines:
                    async for line in lines:
                        if first:
                            self._metrics.caption_first.labels(self.endpoint).observe(time.perf_counter() - began)
                            first = False
                        if line.get("done"):
                            self._note(line, times)
                        await tell(line)

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        return await (call() if self._waking is None else self._waking.patiently(self.endpoint, call))

    @asynccontextmanager
    async def _turn(self, source: Source) -> AsyncIterator[WorkTimes]:
        """Counted as demand from its coming to its end, whether it is served or not.

        The rest of a call is not tried once the captioner is unavailable.
        """
        demand = self._admissions.demand
        try:
            async with self._width:
                with demand.stay(self.endpoint, 1):
                    if self._down is not None:
                        raise self._down
                    async with self._admitted() as times:
                        yield times
        except (Overloaded, TorchServeUnavailable) as error:
            demand.refuse(self.endpoint, 1, came=True)
            if isinstance(error, TorchServeUnavailable) and not isinstance(error, WorkerLost):
                self._down = error
            raise
        except BadInput as error:
            error.param = _param(error.param, source)
            raise

    @asynccontextmanager
    async def _admitted(self) -> AsyncIterator[WorkTimes]:
        """Admission learns from the times that the block notes."""
        admission, came = self._admissions.at(self.endpoint), time.perf_counter()
        end_reading()
        with timed("admission"), stage("admission", least_ns=_MOMENT_NS):
            await admission.turn(self._call, 1)
        self._admissions.on_wait(self.endpoint, "admission", time.perf_counter() - came)
        started, times = time.perf_counter(), WorkTimes()
        waited_s, worked_s = 0.0, None
        try:
            yield times
            queue_s = (times.get("queue_ms") or 0.0) / 1e3
            waited_s, worked_s = queue_s, max(0.0, time.perf_counter() - started - queue_s)
        except Overloaded:
            waited_s, worked_s = max(1.0, time.perf_counter() - started), 0.0
            raise
        finally:
            admission.leave(self._call, 1, waited_s, worked_s)
            self._end(started, times)

    def _end(self, started: float, times: WorkTimes) -> None:
        self.queue_ms = max(self.queue_ms, times.get("queue_ms") or 0.0)
        self.caption_ms = max(self.caption_ms, (time.perf_counter() - started) * 1e3)
        trace = current_trace()
        trace.note("caption", self.caption_ms)
        trace.progress()

    @contextmanager
    def _sent(self) -> Iterator[Json]:
        """The request's span; yields what the body tells the worker of it."""
        attributes = {"gen_ai.operation.name": "captions", "gen_ai.request.model": self.endpoint}
        with stage(f"captions {self.endpoint}", kind="client", attributes=attributes):
            context = traceparent()
            yield {} if context is None else {"traceparent": [context], "sent": time.time()}

    def _note(self, reply: CaptionReply, times: WorkTimes) -> None:
        times.update(reply.get("timing") or WorkTimes())
        self._admissions.on_wait(self.endpoint, "queue", (times.get("queue_ms") or 0.0) / 1e3)
        captions = reply.get("captions") or []
        self._metrics.captions.labels(self.endpoint).inc(len(captions))
        tokens = (reply.get("usage") or {}).get("caption_tokens")
        counted = sum(each.get("tokens", 0) for each in captions) if tokens is None else tokens
        self._metrics.caption_tokens.labels(self.endpoint).inc(counted)


def _param(param: str | None, source: Source) -> str | None:
    """A field of the worker's request → the caller's."""
    if param is None or param.startswith("image"):
        return source.param
    if param.startswith("score"):
        return f"texts{param.removeprefix('score')}"
    return param.removeprefix("caption.")
