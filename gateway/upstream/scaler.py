"""Scalers' HTTP APIs: the sizes that they decided on, and why."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import quote

from clip_core.errors import ClipServeError, NotFound, Unavailable
from gateway.upstream.json_client import Json, JsonClient

_TIMEOUT_S = 3.0


class Scalers:
    """Of all endpoints; with none everything is empty. To be closed."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._clients = [JsonClient(f"the scaler at {url}", url, Unavailable, timeout_s=_TIMEOUT_S) for url in urls]

    async def told(self, endpoint: str | None, seconds: float) -> Json:
        """`sizes` of all endpoints, `decisions` on one of them (the first unless said), `problems` as sentences.

        Raises NotFound for an endpoint that no scaler names while all of them answer.
        """
        answers = await asyncio.gather(*(_get(client, "/v1/sizes") for client in self._clients))
        problems = [answer for answer in answers if isinstance(answer, str)]
        at = self._by_endpoint(answers)
        chosen = next(iter(at), None) if endpoint is None else endpoint
        if chosen is not None and chosen not in at and not problems:
            raise NotFound(f"{chosen} is not scaled; {', '.join(at) or 'nothing'} is")
        decisions = await _decisions(at[chosen][0], chosen, seconds) if chosen in at else []
        sizes = [size for _, size in at.values()]
        return {"sizes": sizes, "endpoint": chosen, "decisions": decisions, "problems": problems}

    def _by_endpoint(self, answers: Sequence[Json | str]) -> dict[str, tuple[JsonClient, Json]]:
        """Endpoint → its scaler, and what that says of its size."""
        told = zip(self._clients, answers, strict=True)
        return {size["endpoint"]: (client, size) for client, answer in told for size in _sizes(answer)}

    async def close(self) -> None:
        for client in self._clients:
            await client.close()


def _sizes(answer: Json | str) -> list[Json]:
    sizes: list[Json] = [] if isinstance(answer, str) else answer["sizes"]
    return sizes


async def _decisions(client: JsonClient, endpoint: str, seconds: float) -> list[Json]:
    """The oldest first; none where the scaler has ended since it was asked for the sizes."""
    answer = await _get(client, f"/v1/sizes/{quote(endpoint, safe='')}/history?seconds={seconds:g}")
    decisions: list[Json] = [] if isinstance(answer, str) else answer["decisions"]
    return decisions


async def _get(client: JsonClient, path: str) -> Json | str:
    """The answer, or what is wrong."""
    try:
        reply = await client.call("GET", path, idempotent=True)
    except ClipServeError as error:
        return str(error)
    if reply.status != 200 or not isinstance(reply.body, dict):
        return f"{client.name} answers {reply.status}"
    return reply.body
