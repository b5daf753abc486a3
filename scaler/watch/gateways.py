"""The gateways that are there now: those of the settings, and every address of a name that begins with `dns+`."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from scaler.settings import ALL
from scaler.watch.gateway import GatewayWatch

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port → addresses. Raises OSError."""
_log = logging.getLogger("scaler.watch")


class Gateways:
    """`make` opens one by its URL. A name that can't be resolved keeps the addresses that it had. To be closed."""

    def __init__(
        self, urls: Sequence[str], make: Callable[[str], GatewayWatch], resolve: Resolve | None = None
    ) -> None:
        self._urls, self._make, self._resolve = urls, make, resolve or _resolve
        self._found: dict[str, tuple[str, ...]] = {}
        self._open: dict[str, GatewayWatch] = {}

    async def now(self) -> list[GatewayWatch]:
        """In the order of the settings, each once; those that are gone are closed."""
        lists = await asyncio.gather(*map(self._urls_of, self._urls))
        urls = dict.fromkeys(url for each in lists for url in each)
        for gone in self._open.keys() - urls.keys():
            await self._open.pop(gone).close()
        for url in urls:
            if url not in self._open:
                self._open[url] = self._make(url)
        return [self._open[url] for url in urls]

    async def close(self) -> None:
        await asyncio.gather(*(each.close() for each in self._open.values()))

    async def _urls_of(self, url: str) -> tuple[str, ...]:
        if not url.startswith(ALL):
            return (url,)
        parts = urlsplit(url.removeprefix(ALL))
        try:
            addresses = await self._resolve(parts.hostname or "", parts.port or 80)
        except OSError as error:
            _log.warning("%s can't be resolved (%s); its last addresses are used", url, error)
            return self._found.get(url, ())
        hosts = sorted(f"[{each}]" if ":" in each else each for each in set(addresses))
        self._found[url] = tuple(f"{parts.scheme}://{host}:{parts.port or 80}" for host in hosts)
        return self._found[url]


async def _resolve(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]
