"""TorchServe's HTTP APIs as methods that raise errors of the tree in clip_core.errors."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import Context
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import quote

import orjson

from clip_core.errors import (
    ClipServeError,
    InferenceFailed,
    Overloaded,
    TooLarge,
    TorchServeUnavailable,
    WorkerLost,
    from_dict,
)
from gateway.trace import Trace, current_trace, set_current_trace
from gateway.upstream.caption_replies import CaptionLine, CaptionReply, caption_lines, caption_reply
from gateway.upstream.json_client import Json, JsonClient, Stream, UpstreamReply
from gateway.upstream.ready_workers import LOOK_S, ReadyWorkers, no_worker
from gateway.upstream.replies import EncodeReply, encode_reply
from gateway.upstream.tokens import TorchServeTokens, is_refusal

T = TypeVar("T")
_WORKER_DIED = "Worker died."
_log = logging.getLogger("gateway.upstream.torchserve")


class QueueState(NamedTuple):
    """Of one endpoint: requests in its queue, what the queue still takes, and its workers by status."""

    pending: int | None
    room: int | None
    workers: dict[str, int]


class TorchServeClient:
    """TorchServe's inference API, and as much of its management API as tells a full queue from a dead worker."""

    def __init__(
        self,
        inference_url: str,
        management_url: str,
        *,
        metrics_url: str = "",
        timeout_s: float = 30.0,
        max_connections: int = 256,
        look_s: float = LOOK_S,
        key_file: Path | None = None,
    ) -> None:
        """`look_s`: how long a call may take before the management API is asked for its workers.

        `key_file`: where a TorchServe that asks for tokens writes them.
        """
        self._tokens = TorchServeTokens(key_file)
        self._workers = ReadyWorkers(self.workers_ready, look_s)
        self._described: dict[str, asyncio.Future[UpstreamReply]] = {}
        self._inference = JsonClient(
            "TorchServe",
            inference_url,
            TorchServeUnavailable,
            timeout_s=timeout_s,
            max_connections=max_connections,
            headers=self._tokens.inference,
        )
        self._management = JsonClient(
            "TorchServe's management API",
            management_url,
            TorchServeUnavailable,
            timeout_s=2.0,
            headers=self._tokens.management,
        )
        self._metrics = JsonClient(
            "TorchServe's metrics", metrics_url or management_url, TorchServeUnavailable, timeout_s=2.0
        )

    async def close(self) -> None:
        await asyncio.gather(self._inference.close(), self._management.close(), self._metrics.close())

    async def predict(self, endpoint: str, body: Json, *, timeout_s: float | None = None) -> EncodeReply:
        """The handler's answer to `body`, in the handlers' form, of finite numbers. Raises ClipServeError.

        Without a READY worker that is TorchServeUnavailable: at once after a failure, else when the answer takes long.
        """
        return await self._answered(endpoint, body, encode_reply, timeout_s)

    async def caption(self, endpoint: str, body: Json) -> CaptionReply:
        """Captions or scores of one picture. Raises ClipServeError as `predict` does."""
        return await self._answered(endpoint, body, caption_reply, None)

    @asynccontextmanager
    async def captioned(self, endpoint: str, body: Json) -> AsyncIterator[AsyncGenerator[CaptionLine, None]]:
        """The lines of a caption as they are made; the last one is `done`. Leaving the block ends the work.

        Raises ClipServeError, here or from the lines: WorkerLost where they end too early.
        """
        if endpoint in self._workers.doubted:
            await self._workers.check(endpoint)
        opened = self._inference.streamed("POST", _prediction(endpoint), orjson.dumps(body))
        async with AsyncExitStack() as stack:
            try:
                with self._workers.waiting(endpoint):
                    stream = await stack.enter_async_context(opened)
            except TorchServeUnavailable:
                self._workers.doubted.add(endpoint)
                raise
            if stream.status != 200:
                reply = UpstreamReply(stream.status, b"".join([piece async for piece in _pieces(stream)]))
                await self._tokens.refused(reply)  # the next call has the new one
                raise await self._error(endpoint, reply)
            self._workers.doubted.discard(endpoint)
            yield self._lines(endpoint, stream)

    async def _lines(self, endpoint: str, stream: Stream) -> AsyncGenerator[CaptionLine, None]:
        async def piece() -> bytes:
            with self._workers.waiting(endpoint):
                return await stream.piece()

        try:
            async for line in caption_lines(piece):
                if line is None or not _is_whole(line):
                    raise await self._error(endpoint, UpstreamReply(500, orjson.dumps(line)))
                if "error" in line:
                    raise from_dict(line, 500)
                yield line
                if line.get("done"):
                    return
        except TorchServeUnavailable as error:
            self._workers.doubted.add(endpoint)
            raise _broken_off(endpoint) from error
        raise _broken_off(endpoint)

    async def _answered(
        self, endpoint: str, body: Json, read: Callable[[bytes], T | None], timeout_s: float | None
    ) -> T:
        if endpoint in self._workers.doubted:
            await self._workers.check(endpoint)
        reply = await self._asked(endpoint, body, timeout_s)
        answer = read(reply.content) if reply.status == 200 else None
        if answer is not None:
            self._workers.doubted.discard(endpoint)
            return answer
        raise await self._error(endpoint, reply)

    async def _asked(self, endpoint: str, body: Json, timeout_s: float | None) -> UpstreamReply:
        try:
            with self._workers.waiting(endpoint):
                reply = await self._predicted(endpoint, body, timeout_s)
                return await self._predicted(endpoint, body, timeout_s) if await self._tokens.refused(reply) else reply
        except TorchServeUnavailable:
            self._workers.doubted.add(endpoint)
            raise

    async def _predicted(self, endpoint: str, body: Json, timeout_s: float | None) -> UpstreamReply:
        payload = orjson.dumps(body)
        return await self._inference.call("POST", _prediction(endpoint), payload, idempotent=True, timeout_s=timeout_s)

    async def has(self, endpoint: str) -> bool | None:
        """Whether there is such an endpoint; None when the management API cannot tell."""
        try:
            reply = await self._shared_description(endpoint)
        except ClipServeError:
            return None
        return {200: True, 404: False}.get(reply.status)

    async def workers_ready(self, endpoint: str) -> bool | None:
        """Whether the endpoint has a READY worker; None when the management API cannot tell."""
        try:
            reply = await self._describe(endpoint)
        except TorchServeUnavailable:
            return None
        if reply.status == 404:
            return False
        if not _has_versions(reply):
            return None
        return any(worker.get("status") == "READY" for worker in _workers(reply))

    async def workers_wanted(self, endpoint: str) -> int | None:
        """How many workers the endpoint is to have; None when the management API cannot tell."""
        try:
            reply = await self._describe(endpoint)
        except TorchServeUnavailable:
            return None
        wanted = [version.get("minWorkers") for version in reply.body] if _has_versions(reply) else []
        return max(wanted) if wanted and all(isinstance(each, int) for each in wanted) else None

    async def queue(self, endpoint: str) -> QueueState | None:
        """What waits at TorchServe for its workers; None when the management API cannot tell."""
        try:
            reply = await self._shared_description(endpoint)
        except ClipServeError:
            return None
        return _queue_state(reply)

    async def worker_pids(self, endpoint: str) -> list[int]:
        """Process ids of its workers, on TorchServe's machine; none when the management API cannot tell."""
        try:
            workers = _workers(await self._shared_description(endpoint))
        except TorchServeUnavailable:
            return []
        return [worker["pid"] for worker in workers if isinstance(worker.get("pid"), int) and worker["pid"] > 0]

    async def metrics(self) -> str:
        """TorchServe's metrics as Prometheus text. Raises TorchServeUnavailable."""
        reply = await self._metrics.call("GET", "/metrics")
        if reply.status != 200:
            raise TorchServeUnavailable(f"TorchServe's metrics are not there (status {reply.status})")
        return reply.content.decode("utf-8", "replace")

    async def _shared_description(self, endpoint: str) -> UpstreamReply:
        """Any number of scrapers and readers share one question, which belongs to none of their requests."""
        asked = self._described.get(endpoint)
        if asked is None:
            asked = Context().run(lambda: asyncio.ensure_future(self._describe_quietly(endpoint)))
            self._described[endpoint] = asked
            asked.add_done_callback(lambda ended: self._forget_description(endpoint, ended))
        return await asyncio.shield(asked)

    def _forget_description(self, endpoint: str, ended: asyncio.Future[UpstreamReply]) -> None:
        self._described.pop(endpoint, None)
        if not ended.cancelled():
            ended.exception()  # known to those who waited, if any still did

    async def _describe_quietly(self, endpoint: str) -> UpstreamReply:
        set_current_trace(Trace(quiet=True))
        return await self._describe(endpoint)

    async def _describe(self, endpoint: str) -> UpstreamReply:
        path = f"/models/{quote(endpoint, safe='')}"
        reply = await self._management.call("GET", path)
        return await self._management.call("GET", path) if await self._tokens.refused(reply) else reply

    async def _error(self, endpoint: str, reply: UpstreamReply) -> ClipServeError:
        body = reply.body if isinstance(reply.body, dict) else {}
        if "error" in body:
            return from_dict(body, reply.status)
        if is_refusal(reply):
            return TorchServeUnavailable(
                "TorchServe asks for a token that the gateway does not have: "
                "CLIPSERVE_GATEWAY_TORCHSERVE_KEY_FILE names the key_file.json that TorchServe writes"
            )
        extra = {"status": reply.status, "body": str(body)[:300], "request_id": current_trace().request_id}
        _log.warning("TorchServe failed on %s", endpoint, extra=extra)
        if reply.status >= 500:
            self._workers.doubted.add(endpoint)  # a worker may have died, and loads its model again
        if reply.status == 507 or body.get("message") == _WORKER_DIED:
            return WorkerLost(f"the worker of {endpoint} ended while it had this request; try again in a moment")
        if reply.status == 503:
            return await self._unavailable(endpoint, str(body.get("type")), str(body.get("message")))
        return _torchserve_error(endpoint, reply.status)

    async def _unavailable(self, endpoint: str, kind: str, message: str) -> ClipServeError:
        """503 is one status for three things: a failed batch, a full queue, and no worker.

        TorchServe 0.12 answers "has no worker" for a full queue too, so the management API decides.
        """
        if kind == "InternalServerException" or "prediction failed" in message.lower():
            return InferenceFailed(f"TorchServe's endpoint {endpoint} failed on this batch")
        if "no worker" in message and not await self.workers_ready(endpoint):
            return no_worker(endpoint)
        return Overloaded(f"the queue of {endpoint} is full; try again in a moment")


def _prediction(endpoint: str) -> str:
    return f"/predictions/{quote(endpoint, safe='')}"


async def _pieces(stream: Stream) -> AsyncIterator[bytes]:
    while piece := await stream.piece():
        yield piece


def _is_whole(line: CaptionLine) -> bool:
    return bool(line.get("captions")) if line.get("done") else "delta" in line or "error" in line


def _broken_off(endpoint: str) -> WorkerLost:
    return WorkerLost(f"the worker of {endpoint} ended in the middle of its answer; try again in a moment")


def _queue_state(reply: UpstreamReply) -> QueueState | None:
    """Of the first version, which is the one that serves."""
    if reply.status != 200 or not _has_versions(reply):
        return None
    told = reply.body[0].get("jobQueueStatus") or {}
    counts = [told.get(name) for name in ("pendingRequests", "remainingCapacity")]
    pending, room = (count if isinstance(count, int) else None for count in counts)
    return QueueState(pending, room, dict(Counter(str(worker.get("status")) for worker in _workers(reply))))


def _workers(reply: UpstreamReply) -> list[Json]:
    """The workers of all versions in the management API's description of a model."""
    versions = reply.body if _has_versions(reply) else []
    return [worker for version in versions for worker in version.get("workers", [])]


def _has_versions(reply: UpstreamReply) -> bool:
    return isinstance(reply.body, list) and bool(reply.body)


def _torchserve_error(endpoint: str, status: int) -> ClipServeError:
    if status == 404:
        return TorchServeUnavailable(f"TorchServe has no endpoint {endpoint}: is its archive registered?")
    if status == 413:
        return TooLarge("the inputs are larger than TorchServe's max_request_size")
    if status == 429:
        return Overloaded(f"TorchServe takes no more requests for {endpoint}; try again in a moment")
    return InferenceFailed(f"TorchServe's endpoint {endpoint} failed (status {status})")
