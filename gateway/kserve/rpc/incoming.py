"""What is read of a gRPC call, and of whom: nothing of a caller without an accepted key.

grpcio keeps a message in memory until it is whole, and says nothing of it before. So only a few messages of each caller
are received at a time; what else has been sent stays in the network.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from weakref import WeakValueDictionary

from starlette.datastructures import Headers

from clip_core.errors import InvalidRequest, TooSlow
from gateway.keys.api_key import ANONYMOUS
from gateway.keys.key_lookup import KeyLookup
from gateway.kserve.rpc.in_process import Address
from gateway.middleware.auth import caller_of, identified

_AT_ONCE = 4


class Incoming:
    """`timeout_s`: for a whole message."""

    def __init__(self, keys: KeyLookup, timeout_s: float) -> None:
        self._keys, self._timeout_s = keys, timeout_s
        self._places: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def message(self, messages: AsyncIterator[bytes], headers: Headers, client: Address | None) -> bytes:
        """The first and only one. Raises Unauthorized, TooSlow, or InvalidRequest when none came."""
        place = self._place(await self._caller(headers, client))
        try:
            async with place:
                return await asyncio.wait_for(anext(messages), self._timeout_s)
        except asyncio.TimeoutError as error:
            raise TooSlow("the message did not come in time") from error
        except StopAsyncIteration as error:
            raise InvalidRequest("no message came") from error

    async def _caller(self, headers: Headers, client: Address | None) -> str:
        await self._keys.refresh()
        return caller_of(identified(self._keys, headers) if self._keys else ANONYMOUS, client)

    def _place(self, caller: str) -> asyncio.Semaphore:
        """Forgotten as soon as nobody holds it."""
        found = self._places.get(caller)
        if found is None:
            found = self._places[caller] = asyncio.Semaphore(_AT_ONCE)
        return found
