"""Readiness: a canary through every endpoint, and the index service's own word. One probe serves all who ask.

It is about the default model. Whether other models are ready is told, and takes no gateway out of service: a model
that is added or replaced would take the others with it. A gateway without a model is ready for all else. A captioner
is told beside the models: it is asked for a worker and for no caption, which would wait behind those of callers.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Mapping

from clip_core.errors import ClipServeError, TorchServeUnavailable, Unavailable, from_dict
from gateway.encode.encoder import CANARY_TEXT
from gateway.models.registry import Models, RegisteredModel
from gateway.settings import GatewaySettings
from gateway.upstream.index_service import IndexServiceClient
from gateway.upstream.torchserve import TorchServeClient

Report = dict[str, str]
"""Part or model → "ok", or what is wrong with it."""
_FIRST_S = 10.0  # a busy machine that loads its models


class Readiness:
    """Asks every part at once, each for at most `ready_timeout_s`; for longer until all were ready once."""

    def __init__(self, settings: GatewaySettings, models: Models, index: IndexServiceClient) -> None:
        self._settings = settings
        self._models = models
        self._index = index
        self._running: asyncio.Task[tuple[Report, Report]] | None = None
        self._dropped = False
        self._patience_s = max(_FIRST_S, settings.ready_timeout_s)

    def drop(self) -> None:
        """From now on nothing is ready: the gateway stops."""
        self._dropped = True

    async def report(self) -> tuple[Report, Report]:
        """What must be ready; the other models and captioners.

        Callers who come while a probe runs share its answer, so it has no caller's deadline.
        """
        if self._dropped:
            return {"gateway": "is stopping"}, {}
        if self._running is None or self._running.done():
            self._running = contextvars.Context().run(asyncio.create_task, self._probe())
        return await asyncio.shield(self._running)

    async def _probe(self) -> tuple[Report, Report]:
        parts, others = await asyncio.gather(self._parts(), self._others())
        if verdict_error(parts) is None:
            self._patience_s = self._settings.ready_timeout_s
        return parts, others

    async def _parts(self) -> Report:
        default = self._models.all()[:1]
        checks = {name: check for model in default for name, check in self._canaries(model).items()}
        return await self._verdicts(checks | {"index": self._index.ready(timeout_s=self._patience_s)})

    async def _others(self) -> Report:
        others = self._models.all()[1:]
        reports, captioners = await asyncio.gather(
            asyncio.gather(*(self._verdicts(self._canaries(model)) for model in others)),
            asyncio.gather(*map(self._captioner, self._models.all())),
        )
        told = {endpoint: verdict for report in captioners for endpoint, verdict in report.items()}
        return told | {model.encoder.name: _summary(report) for model, report in zip(others, reports, strict=True)}

    async def _captioner(self, model: RegisteredModel) -> Report:
        """Of the model's; empty where none is named and TorchServe knows none."""
        endpoint, client = model.row.caption_endpoint, model.torchserve.client
        if not endpoint or not (model.row.caption or await self._knows(client, endpoint)):
            return {}
        return await self._verdicts({endpoint: self._has_worker(client, endpoint)})

    async def _knows(self, client: TorchServeClient, endpoint: str) -> bool:
        try:
            return await asyncio.wait_for(client.has(endpoint), self._patience_s) is True
        except asyncio.TimeoutError:
            return False

    async def _has_worker(self, client: TorchServeClient, endpoint: str) -> None:
        """Raises TorchServeUnavailable."""
        if await client.workers_ready(endpoint) is False and not await self._sleeps(client, endpoint):
            raise TorchServeUnavailable(f"{endpoint} has no worker that is ready")

    def _canaries(self, model: RegisteredModel) -> dict[str, Awaitable[None]]:
        row, text = model.row, {"text": CANARY_TEXT}
        return {
            row.text: self._canary(model, row.text, text),
            row.image: self._canary(model, row.image, {"image": canary_image()}),
            row.multimodal: self._canary(model, row.multimodal, text),
        }

    async def _verdicts(self, checks: Mapping[str, Awaitable[None]]) -> Report:
        verdicts = await asyncio.gather(*map(self._verdict, checks.values()))
        return dict(zip(checks, verdicts, strict=True))

    async def _verdict(self, check: Awaitable[None]) -> str:
        try:
            await asyncio.wait_for(check, self._patience_s)
        except ClipServeError as error:
            return error.message
        except asyncio.TimeoutError:
            return f"did not answer within {self._patience_s:g} s"
        return "ok"

    async def _canary(self, model: RegisteredModel, endpoint: str, item: Mapping[str, str]) -> None:
        body = {"input": [dict(item)]}
        client = model.torchserve.client
        try:
            answer = await client.predict(endpoint, body, timeout_s=self._patience_s)
        except TorchServeUnavailable:
            if await self._sleeps(client, endpoint):
                return
            raise
        entry = answer["data"][0]
        if entry.get("status", 200) != 200:
            raise from_dict(entry, entry["status"])

    async def _sleeps(self, client: TorchServeClient, endpoint: str) -> bool:
        """Whether it was scaled to zero: then it is as ready as it should be, and a request wakes it."""
        if self._settings.autoscaled == "no":
            return False
        wanted = await client.workers_wanted(endpoint)
        return wanted == 0 or (wanted is None and self._settings.autoscaled == "replicas")


def verdict_error(report: Report) -> Unavailable | None:
    """503 that names the parts that are not ready, or None when all are."""
    faults = _summary(report)
    return Unavailable(f"not ready — {faults}") if faults != "ok" else None


def _summary(report: Report) -> str:
    return "; ".join(f"{part}: {verdict}" for part, verdict in report.items() if verdict != "ok") or "ok"


def canary_image() -> str:
    """base64 of a grey PNG of 16×16 pixels, kept here so that no file has to be found and no library loaded."""
    return (
        "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAGUlEQVR4"
        "nGNsaGhgIAUwkaR6VMOohiGlAQDJTAGgLgFHggAAAABJRU5ErkJggg=="
    )
