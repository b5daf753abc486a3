"""Readiness: a canary through every endpoint, and the index service's own word. One probe serves all who ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping

from clip_core.errors import ClipServeError, Unavailable, from_dict
from gateway.encode.encoder import CANARY_TEXT
from gateway.settings import GatewaySettings
from gateway.upstream.index_service import IndexServiceClient
from gateway.upstream.torchserve import TorchServeClient

Report = dict[str, str]
_FIRST_S = 10.0  # a busy machine that loads its models


class Readiness:
    """Asks every part at once, each for at most `ready_timeout_s`; for longer until all were ready once."""

    def __init__(self, settings: GatewaySettings, torchserve: TorchServeClient, index: IndexServiceClient) -> None:
        self._settings = settings
        self._torchserve = torchserve
        self._index = index
        self._running: asyncio.Task[Report] | None = None
        self._dropped = False
        self._patience_s = max(_FIRST_S, settings.ready_timeout_s)

    def drop(self) -> None:
        """From now on nothing is ready: the gateway stops."""
        self._dropped = True

    async def report(self) -> Report:
        """Part → "ok" or what is wrong with it. Callers who come while a probe runs share its answer."""
        if self._dropped:
            return {"gateway": "is stopping"}
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._probe())
        return await asyncio.shield(self._running)

    async def _probe(self) -> Report:
        settings, text = self._settings, {"text": CANARY_TEXT}
        checks = {
            settings.text_endpoint: self._canary(settings.text_endpoint, text),
            settings.image_endpoint: self._canary(settings.image_endpoint, {"image": canary_image()}),
            settings.multimodal_endpoint: self._canary(settings.multimodal_endpoint, text),
            "index": self._index.ready(timeout_s=self._patience_s),
        }
        verdicts = await asyncio.gather(*map(self._verdict, checks.values()))
        report = dict(zip(checks, verdicts, strict=True))
        if verdict_error(report) is None:
            self._patience_s = settings.ready_timeout_s
        return report

    async def _verdict(self, check: Awaitable[None]) -> str:
        try:
            await asyncio.wait_for(check, self._patience_s)
        except ClipServeError as error:
            return error.message
        except asyncio.TimeoutError:
            return f"did not answer within {self._patience_s:g} s"
        return "ok"

    async def _canary(self, endpoint: str, item: Mapping[str, str]) -> None:
        body = {"input": [dict(item)]}
        answer = await self._torchserve.predict(endpoint, body, timeout_s=self._patience_s)
        entry = answer["data"][0]
        if entry.get("status", 200) != 200:
            raise from_dict(entry, entry["status"])


def verdict_error(report: Report) -> Unavailable | None:
    """503 that names the parts that are not ready, or None when all are."""
    faults = [f"{part}: {verdict}" for part, verdict in report.items() if verdict != "ok"]
    return Unavailable("not ready — " + "; ".join(faults)) if faults else None


def canary_image() -> str:
    """base64 of a grey PNG of 16×16 pixels, kept here so that no file has to be found and no library loaded."""
    return (
        "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAGUlEQVR4"
        "nGNsaGhgIAUwkaR6VMOohiGlAQDJTAGgLgFHggAAAABJRU5ErkJggg=="
    )
