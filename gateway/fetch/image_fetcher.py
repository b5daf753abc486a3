"""Fetching the images that requests name by URL, from whoever runs the server at the other end.

Every hop is checked anew: the URL against the operator's lists, every address that its name resolves to, and, when the
socket is made, the very address that it will connect to. A name is resolved once a hop and never again, so a name that
changes its mind (DNS rebinding) gains nothing; the Host header and TLS's server name stay those of the URL.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from clip_core.errors import ClipServeError, FetchFailed, FetchRefused, ImageTooLarge
from gateway.fetch.addresses import AddressPolicy
from gateway.fetch.bounded_read import read_bounded
from gateway.fetch.limits import FetchLimits
from gateway.fetch.slots import FetchSlots
from gateway.inputs.sniffing import pixels_of
from gateway.inputs.urls import UrlPolicy, is_address
from gateway.trace import current_trace

_log = logging.getLogger("gateway.fetch.image_fetcher")
_REDIRECTS = (301, 302, 303, 307, 308)
_NOT_PUBLIC = "the URL leads to an address that is not fetched from"
_HEADERS = {"Accept": "image/*", "Accept-Encoding": "gzip, identity", "User-Agent": "clipserve"}
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class ImageFetcher(Protocol):
    """What the encoder, and any background work, needs of fetching."""

    async def fetch(self, url: str) -> bytes:
        """The encoded image at `url`. Raises FetchRefused, FetchFailed, BadImage or ImageTooLarge."""
        ...

    async def close(self) -> None: ...


class HttpFetcher:
    """Fetches with aiohttp; connects at the first call, and must be closed."""

    def __init__(
        self, limits: FetchLimits, urls: UrlPolicy, addresses: AddressPolicy, resolve: Resolve | None = None
    ) -> None:
        self._limits = limits
        self._urls = urls
        self._addresses = addresses
        self._names = SystemNames(limits.concurrency)
        self._resolve = resolve or self._names.addresses
        self._slots = FetchSlots(limits.concurrency)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        self._names.close()
        if self._session is not None:
            await self._session.close()

    async def fetch(self, url: str) -> bytes:
        """The encoded image at `url`. Raises FetchRefused, FetchFailed, BadImage or ImageTooLarge."""
        try:
            content = await asyncio.wait_for(self._in_slot(url), self._limits.timeout_s)
        except asyncio.TimeoutError as error:
            raise FetchFailed(f"the image's URL did not answer within {self._limits.timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _fault(error) from error
        pixels = await asyncio.to_thread(pixels_of, content)
        if pixels > self._limits.max_pixels:
            raise ImageTooLarge(f"the image has {pixels:,} pixels, the limit is {self._limits.max_pixels:,}")
        return content

    async def _in_slot(self, url: str) -> bytes:
        async with self._slots.hold(current_trace().caller):
            return await self._follow(url)

    async def _follow(self, text: str) -> bytes:
        url = self._admitted(text)
        for _ in range(self._limits.max_redirects + 1):
            answer = await self._hop(url)
            if isinstance(answer, bytes):
                return answer
            url = self._admitted(str(answer))
        raise FetchFailed(f"the image's URL redirects more than {self._limits.max_redirects} times")

    def _admitted(self, text: str) -> URL:
        url = self._urls.checked(text)
        if url.raw_host and is_address(url.raw_host) and not self._addresses.permits(url.raw_host):
            raise FetchRefused(_NOT_PUBLIC)
        return url

    async def _hop(self, url: URL) -> bytes | URL:
        """The content, or where the answer redirects to."""
        async with self._connected().get(url, headers=_HEADERS, allow_redirects=False) as response:
            if response.status in _REDIRECTS:
                return url.join(URL(response.headers.get("Location", "")))
            if response.status != 200:
                raise FetchFailed(f"the image's URL answered {response.status}")
            return await read_bounded(response, self._limits.max_bytes)

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=_CheckedResolver(self._resolve, self._addresses),
                socket_factory=self._socket,
                use_dns_cache=False,
                force_close=True,
                limit=self._limits.concurrency,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._limits.timeout_s),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        """The last gate: whatever came before, no socket is made for an address that is not permitted."""
        family, kind, protocol, _, address = info
        if not self._addresses.permits(address[0]):
            raise _Barred(_NOT_PUBLIC)
        return socket.socket(family, kind, protocol)


class _Barred(OSError):
    """Raised where aiohttp expects an OSError; the caller sees FetchRefused."""


class _CheckedResolver(AbstractResolver):
    """A name with one forbidden address among its addresses is refused as a whole."""

    def __init__(self, resolve: Resolve, policy: AddressPolicy) -> None:
        self._resolve = resolve
        self._policy = policy

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = await self._resolve(host, port)
        if not all(self._policy.permits(address) for address in addresses):
            raise _Barred(_NOT_PUBLIC)
        found = [_result(host, port, address) for address in addresses]
        return [entry for entry in found if family in (socket.AF_UNSPEC, entry["family"])]

    async def close(self) -> None:
        """Nothing is held open."""


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=host, host=address, port=port, family=family, proto=0, flags=int(socket.AI_NUMERICHOST)
    )


class SystemNames:
    """The system's resolver, in threads of its own: the loop's are few, and a name whose servers don't answer holds one
    for longer than any fetch is waited for. To be closed.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="fetch-names")

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """All of `host`, each once, as getaddrinfo gives them. Raises OSError."""
        asked = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._pool, asked)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _fault(error: Exception) -> ClipServeError:
    """What the caller may know: never an address, nor what an inside server said."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _Barred):
            return FetchRefused(_NOT_PUBLIC)
        cause = cause.__cause__ or cause.__context__
    _log.info("image not fetched", extra={"cause": type(error).__name__})
    return FetchFailed("the image's URL could not be fetched")
