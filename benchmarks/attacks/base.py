"""What attacks have in common: where they go, how they send, what they count. All traffic stays on this machine."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import aiohttp
import numpy as np
import orjson

from clip_core.wire import encode_vector

LOOPBACK = "127.0.0.1"
REQUEST_S = 60.0
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Target:
    """A stack and what a caller knows of it.

    Nothing listens on `closed_port`; an attack may listen on `milvus_port`.
    """

    gateway: str
    inference: str
    index: str
    gateway_port: int
    dim: int
    fingerprint: str
    texts: tuple[str, ...]
    milvus_port: int
    closed_port: int
    work: str


class Site:
    """One attacker's way to the stack. `tally` counts answers by status, `slowest_ms` is the worst of a label."""

    def __init__(self, target: Target, session: aiohttp.ClientSession) -> None:
        self.target, self._session = target, session
        self.tally: Counter[str] = Counter()
        self.slowest_ms: dict[str, float] = {}
        self.collections: list[str] = []

    async def send(self, method: str, url: str, body: Any = b"", label: str = "") -> tuple[int, bytes]:
        """Status and content; status 0 for a connection that was refused or cut, or no answer in time."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        started = time.perf_counter()
        try:
            async with self._session.request(method, url, data=data or None, headers=JSON) as answer:
                status, content = answer.status, await answer.read()
        except (OSError, aiohttp.ClientError, asyncio.TimeoutError):
            status, content = 0, b""
            await asyncio.sleep(0.05)  # a part that is down refuses thousands of connections a second
        ms = (time.perf_counter() - started) * 1e3
        self.tally[f"{label} {status or 'cut'}".strip()] += 1
        self.slowest_ms[label] = max(ms, self.slowest_ms.get(label, 0.0))
        return status, content

    async def public(self, method: str, path: str, body: Any = b"", label: str = "") -> tuple[int, bytes]:
        """To the gateway."""
        return await self.send(method, self.target.gateway + path, body, label)

    async def direct(self, method: str, path: str, body: Any = b"", label: str = "") -> tuple[int, bytes]:
        """To the index service."""
        return await self.send(method, self.target.index + path, body, label)

    async def collection(self, name: str, **spec: Any) -> None:
        """Make it; whoever runs the attack drops it. Raises RuntimeError when it is refused."""
        self.collections.append(name)
        status, content = await self.public("PUT", f"/v1/collections/{name}", spec, "create")
        if status not in (200, 201):
            raise RuntimeError(f"{status or 'no answer'} to PUT {name}: {content[:200]!r}")

    async def fill(self, name: str, items: list[dict[str, Any]], page: int = 2000) -> None:
        """Straight into the index service."""
        for start in range(0, len(items), page):
            body = {"fingerprint": self.target.fingerprint, "items": items[start : start + page]}
            await self.direct("POST", f"/collections/{name}/items", body, "fill")

    async def pour(self, *pieces: bytes, pause_s: float = 0.0) -> None:
        """Send them over a connection of its own, and wait for the start of an answer."""
        reader, writer = await asyncio.open_connection(LOOPBACK, self.target.gateway_port)
        self.tally["connections"] += 1
        try:
            with suppress(OSError):  # there may be an answer all the same
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(pause_s)
                self.tally["sent"] += 1
            self.tally[_status(await reader.read(64))] += 1
        finally:
            writer.close()

    async def drop(self) -> None:
        """All collections that the attack made."""
        for name in self.collections:
            await self.public("DELETE", f"/v1/collections/{name}", label="drop")


class Attack:
    """`run` goes on until it is cancelled; `prepare` comes before anything is measured, `clean` after it."""

    name: ClassVar[str]
    address: ClassVar[str] = LOOPBACK  # that it comes from

    def __init__(self, site: Site) -> None:
        self.site = site

    async def prepare(self) -> None:
        """Make what `run` needs."""

    async def run(self) -> None:
        """Attack."""
        raise NotImplementedError

    async def clean(self) -> None:
        """Remove what the attack left, but for its collections."""


async def crowd(clients: int, act: Callable[[], Awaitable[object]]) -> None:
    """So many clients, each of whom does it again as soon as it is done; ends only by cancellation."""

    async def forever() -> None:
        while True:
            await act()

    await asyncio.gather(*(forever() for _ in range(clients)))


def numbered(dim: int, count: int, first: int = 0, **metadata: Any) -> list[dict[str, Any]]:
    """Items with random unit vectors; the same `first` gives the same ones."""
    rows = np.random.default_rng(first).standard_normal((count, dim), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return [
        {"id": f"i{first + n}", "vector": encode_vector(row), "metadata": {"n": first + n, **metadata}}
        for n, row in enumerate(rows)
    ]


async def repeatedly(clients: int, act: Callable[[], Awaitable[object]]) -> None:
    """`crowd` for raw connections: one that is refused or cut is made again a moment later."""

    async def once() -> None:
        with suppress(OSError, RuntimeError):  # uvloop raises the latter of a transport that is closed
            await act()
        await asyncio.sleep(0.02)

    await crowd(clients, once)


def _status(answer: bytes) -> str:
    """Of its first line."""
    return answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.1 ") else "cut"
