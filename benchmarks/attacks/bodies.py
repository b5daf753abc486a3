"""Bodies that come slowly, hardly at all, or in tiny pieces."""

from __future__ import annotations

from typing import ClassVar

from benchmarks.attacks.base import Attack, repeatedly

MB, BLOCK = 1_000_000, 256 * 1024
LARGEST = 33 * MB  # the gateway's limit is 32 MiB


def head(path: str, *lines: str) -> bytes:
    """The start of a POST with a JSON body."""
    first = (f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json")
    return "\r\n".join([*first, *lines, "", ""]).encode()


class Trickle(Attack):
    """Connections that send a byte of their body every half second."""

    name = "64 trickling bodies"
    connections: ClassVar[int] = 64

    async def run(self) -> None:
        pieces = (head("/v1/search", "Content-Length: 1000"), *[b" "] * 1000)
        await repeatedly(self.connections, lambda: self.site.pour(*pieces, pause_s=0.5))


class WideTrickle(Trickle):
    """More of them than requests are let in."""

    name = "200 trickling bodies"
    connections = 200


class NearlyWhole(Attack):
    """Sixty bodies of 33 MB of which the last kilobyte never comes: two gigabytes, if all are kept."""

    name = "60 nearly whole bodies of 33 MB"

    async def run(self) -> None:
        start = head("/v1/search", f"Content-Length: {LARGEST}") + b'{"text": "'
        pieces = (start, *[b"x" * BLOCK] * ((LARGEST - 1024) // BLOCK))
        await repeatedly(60, lambda: self.site.pour(*pieces))


class LongLine(Attack):
    """Streams whose first line has 30 MB, in pieces of 2 KB."""

    name = "NDJSON line of 30 MB in small pieces"

    async def prepare(self) -> None:
        await self.site.collection("attack-line")

    async def run(self) -> None:
        piece = b"800\r\n" + b"x" * 2048 + b"\r\n"
        path = "/v1/collections/attack-line/items/stream"
        pieces = (head(path, "Transfer-Encoding: chunked"), b'1\r\n"\r\n', *[piece] * (30 * MB // 2048), b"0\r\n\r\n")
        await repeatedly(4, lambda: self.site.pour(*pieces))
