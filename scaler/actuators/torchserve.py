"""TorchServe's workers, counted and set through its management API."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from clip_core.errors import TorchServeUnavailable
from clip_core.serving.torchserve_tokens import bearer

_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class WorkerCount:
    """Of one endpoint: how many are wanted, and how many serve."""

    wanted: int
    ready: int


class TorchServeWorkers:
    """One TorchServe, by http://… or unix:PATH. Every method raises TorchServeUnavailable. To be closed.

    `key_file`: where it writes its tokens, if it asks for some.
    """

    def __init__(
        self, management_url: str, transport: httpx.AsyncBaseTransport | None = None, key_file: Path | None = None
    ) -> None:
        self.url, self._key_file = management_url, key_file
        socket = management_url.removeprefix("unix:") if management_url.startswith("unix:") else None
        self._client = httpx.AsyncClient(
            base_url="http://localhost" if socket else management_url,
            transport=transport or (httpx.AsyncHTTPTransport(uds=socket) if socket else None),
            timeout=_TIMEOUT_S,
        )

    async def count(self, endpoint: str) -> WorkerCount:
        """Of the default version."""
        body = await self._call("GET", endpoint)
        try:
            version = body[0]
            ready = sum(worker["status"] == "READY" for worker in version["workers"])
            wanted = int(version["minWorkers"])
            if wanted < 0:
                raise ValueError(wanted)
            return WorkerCount(wanted, ready)
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise TorchServeUnavailable(f"{self.url} does not say what workers {endpoint} has") from error

    async def scale(self, endpoint: str, size: int) -> None:
        """Ask for so many. TorchServe starts and ends them by itself; it is not asked to wait: half of it would."""
        await self._call("PUT", endpoint, min_worker=size, max_worker=size, synchronous="false")

    async def close(self) -> None:
        await self._client.aclose()

    async def __aenter__(self) -> TorchServeWorkers:
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, method: str, endpoint: str, **query: Any) -> Any:
        try:
            path, token = f"/models/{quote(endpoint, safe='')}", bearer(self._key_file, "management")
            answer = await self._client.request(method, path, params=query, headers=token)
            if not answer.is_success:
                told = f"{answer.status_code} {answer.text[:200]!r}"
                raise TorchServeUnavailable(f"{self.url} refuses {method} {endpoint}: {told}")
            return answer.json()
        except (httpx.HTTPError, ValueError, RecursionError) as error:
            raise TorchServeUnavailable(
                f"TorchServe's management API at {self.url} does not answer ({error})"
            ) from error
