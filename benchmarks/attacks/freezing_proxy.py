"""A TCP proxy that can be told to go on taking connections and bytes and to say nothing any more."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from benchmarks.attacks.base import LOOPBACK

PIECE = 64 * 1024


class FreezingProxy:
    """Between whoever connects and `port` of this machine."""

    def __init__(self, port: int) -> None:
        self._port, self._frozen = port, False
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, port: int) -> int:
        """On `port`, or on a free one for 0, which is returned. Raises OSError when it is taken."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, port)
        return int(self._server.sockets[0].getsockname()[1])

    def freeze(self) -> None:
        """Bytes that come are dropped from now on, both ways."""
        self._frozen = True

    def close(self) -> None:
        """Connections too."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._join(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._frozen:
            await self._pass(reader, None)
            return
        inner_reader, inner_writer = await asyncio.open_connection(LOOPBACK, self._port)
        try:
            await asyncio.gather(self._pass(reader, inner_writer), self._pass(inner_reader, writer))
        finally:
            inner_writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None) -> None:
        while piece := await reader.read(PIECE):
            if writer is not None and not self._frozen:
                writer.write(piece)
                await writer.drain()
        if writer is not None and writer.can_write_eof():
            writer.write_eof()
