"""An image host that misbehaves in the way that the path names, and counts who came."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gzip
import io
import zlib
from collections.abc import AsyncIterator

import psutil
from PIL import Image


def png(width: int = 4, height: int = 3) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(out, "PNG")
    return out.getvalue()


@functools.cache
def bomb() -> bytes:
    """512 MB of zeros in half a MB, made without ever holding them."""
    squeeze = zlib.compressobj(9, wbits=31)
    zeros = bytes(1 << 20)
    return b"".join([*(squeeze.compress(zeros) for _ in range(512)), squeeze.flush()])


def huge_png_header() -> bytes:
    """A PNG that claims 60,000 x 60,000 pixels."""
    head = bytearray(png())
    head[16:24] = (60_000).to_bytes(4, "big") * 2
    head[29:33] = zlib.crc32(head[12:29]).to_bytes(4, "big")
    return bytes(head)


class HostileServer:
    """Speaks raw HTTP, so that it can break it. `seen` holds the heads of the requests.

    `busiest` is the most connections that were open to it when another came; the clients live in this process.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.bytes_sent = 0
        self.tasks: list[asyncio.Future[None]] = []
        self.busiest = 0
        self.location = ""
        self.port = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[HostileServer]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.append(asyncio.ensure_future(self._misbehave(reader, writer)))

    def _connections(self) -> int:
        """What this process holds open to the server: who gave up is not counted, however late the server hears it."""
        held = psutil.Process().net_connections("tcp4")
        return sum(bool(one.raddr) and one.raddr.port == self.port for one in held)

    async def _misbehave(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.busiest = max(self.busiest, self._connections())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError), contextlib.closing(writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.seen.append(head)
            await getattr(self, "_" + head.split()[1].strip("/").split("?")[0])(writer)

    async def _send(self, writer: asyncio.StreamWriter, content: bytes) -> None:
        writer.write(content)
        await writer.drain()
        self.bytes_sent += len(content)

    async def _answer(self, writer: asyncio.StreamWriter, body: bytes, *headers: str, status: str = "200 OK") -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
        await self._send(writer, "\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def _good(self, writer: asyncio.StreamWriter) -> None:
        await self._answer(writer, png(), "Content-Type: text/html")

    async def _zipped(self, writer: asyncio.StreamWriter) -> None:
        await self._answer(writer, gzip.compress(png()), "Content-Encoding: gzip")

    async def _page(self, writer: asyncio.StreamWriter) -> None:
        await self._answer(writer, b"<html>not a picture</html>", "Content-Type: image/png")

    async def _missing(self, writer: asyncio.StreamWriter) -> None:
        await self._answer(writer, b"the inside says no", status="404 Not Found")

    async def _redirect(self, writer: asyncio.StreamWriter) -> None:
        await self._answer(writer, b"", f"Location: {self.location}", status="302 Found")

    async def _loop(self, writer: asyncio.StreamWriter) -> None:
        await self._answer(writer, b"", "Location: /loop", status="307 Temporary Redirect")

    async def _nowhere(self, writer: asyncio.StreamWriter) -> None:
        await self._answer(writer, b"", status="301 Moved Permanently")

    async def _endless(self, writer: asyncio.StreamWriter) -> None:
        await self._send(writer, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await self._send(writer, b"10000\r\n" + bytes(0x10000) + b"\r\n")

    async def _ten_gigabytes(self, writer: asyncio.StreamWriter) -> None:
        await self._send(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n")
        while True:
            await self._send(writer, bytes(0x10000))

    async def _bomb(self, writer: asyncio.StreamWriter) -> None:
        await self._answer(writer, bomb(), "Content-Encoding: gzip")

    async def _not_gzip(self, writer: asyncio.StreamWriter) -> None:
        await self._answer(writer, png(), "Content-Encoding: gzip")

    async def _brotli(self, writer: asyncio.StreamWriter) -> None:
        await self._answer(writer, png(), "Content-Encoding: br")

    async def _pixels(self, writer: asyncio.StreamWriter) -> None:
        await self._answer(writer, huge_png_header())

    async def _drip(self, writer: asyncio.StreamWriter) -> None:
        await self._send(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            await self._send(writer, b"x")
            await asyncio.sleep(0.02)

    async def _silent(self, _: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1)

    async def _half(self, writer: asyncio.StreamWriter) -> None:
        await self._send(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + png()[:20])

    async def _garbage(self, writer: asyncio.StreamWriter) -> None:
        await self._send(writer, b"\x16\x03\x01 this is not HTTP\r\n\r\n")

    async def _headers(self, writer: asyncio.StreamWriter) -> None:
        await self._send(writer, b"HTTP/1.1 200 OK\r\n")
        while True:
            await self._send(writer, b"X-Filler: " + b"x" * 60_000 + b"\r\n")
