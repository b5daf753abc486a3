"""How a call is sent and awaited: with its retries, within its time limit, and in pieces where it is a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

import clipserve_client.calls.calls as calls
from clipserve_client.answers.answers import CaptionPiece
from clipserve_client.calls.captions import EventReader
from clipserve_client.calls.exchange import answer, failures, request
from clipserve_client.errors import ClientError
from clipserve_client.retries import Attempts
from clipserve_client.sending.base import BaseClient

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")


class AsyncSender(BaseClient):
    def _open(self) -> None:
        self._http = httpx.AsyncClient(**self.target.options())

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def send(self, call: calls.Call[T], timeout_s: float | None = None) -> T:
        """One call with its retries, within `timeout_s` (default: the client's)."""
        attempts = Attempts(self.retries, call.repeat, self.timeout_s if timeout_s is None else timeout_s)
        while True:
            try:
                return await self.send_once(call, attempts.time_left())
            except ClientError as error:
                pause = attempts.pause_after(error)
            await asyncio.sleep(pause)

    async def send_once(self, call: calls.Call[T], timeout_s: float) -> T:
        """One try."""
        with failures(self.target):
            response = await self._http.request(**request(call, timeout_s))
        return answer(call, response)

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """Any other call of the API: `path` with its /v1; gives the answer's JSON."""
        return await self.send(calls.plain(method, path, body))

    async def _pieces(self, call: calls.Call[None]) -> AsyncIterator[CaptionPiece]:
        """Of a stream. Sent again only before the first piece has come."""
        attempts, begun = Attempts(self.retries, call.repeat, self.timeout_s), False
        while True:
            events = EventReader()
            try:
                with failures(self.target):
                    async with self._http.stream(**request(call, attempts.time_left())) as response:
                        if not response.is_success:
                            await response.aread()
                            answer(call, response)
                        async for line in response.aiter_lines():
                            if (piece := events.piece(line)) is not None:
                                begun = True
                                yield piece
                events.check_end()
                return
            except ClientError as error:
                if begun:
                    raise
                pause = attempts.pause_after(error)
            await asyncio.sleep(pause)
