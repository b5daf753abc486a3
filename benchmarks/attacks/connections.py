"""Connections that never get to a request, or behave badly around one."""

from __future__ import annotations

import asyncio

import orjson

from benchmarks.attacks.base import Attack, repeatedly
from benchmarks.attacks.bodies import head

GET = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class Trailers(Attack):
    """A whole chunked body, then trailers without end."""

    name = "endless trailers"

    async def run(self) -> None:
        line = b"X-Trailer: " + b"t" * 1000 + b"\r\n"
        pieces = (head("/v1/search", "Transfer-Encoding: chunked"), b"2\r\n{}\r\n0\r\n", *[line * 64] * 10_000)
        await repeatedly(8, lambda: self.site.pour(*pieces))


class Pipelined(Attack):
    """Requests without end behind one whose answer takes long, none of whose answers is read."""

    name = "pipelined requests behind a slow one"

    async def run(self) -> None:
        texts = self.site.target.texts
        searches = [{"collection": "demo", "text": texts[n % len(texts)], "k": 100} for n in range(256)]
        body = orjson.dumps({"searches": searches})
        first = head("/v1/search/batch", f"Content-Length: {len(body)}") + body
        pieces = (first, *[GET * 1000] * 5000)
        await repeatedly(4, lambda: self.site.pour(*pieces))


class LongHeaders(Attack):
    """One header of 120 KB, at once by half of the clients and in pieces by the others."""

    name = "headers of 120 KB"

    async def run(self) -> None:
        start = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: "
        long = b"h" * 120_000
        whole = (start + long + b"\r\n\r\n",)
        pieces = (start, *(long[n : n + 1000] for n in range(0, len(long), 1000)))
        await asyncio.gather(
            repeatedly(8, lambda: self.site.pour(*whole)), repeatedly(8, lambda: self.site.pour(*pieces, pause_s=0.001))
        )


class Idle(Attack):
    """Two thousand connections, twice what the gateway takes, that say nothing."""

    name = "2,000 idle connections"

    async def run(self) -> None:
        await repeatedly(2000, self._stay)

    async def _stay(self) -> None:
        """One that is closed comes again a second later: what is measured is idleness, no flood of connections."""
        await self.site.pour()
        await asyncio.sleep(1.0)
