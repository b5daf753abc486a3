"""Whether the models of collections are served, as collections are described."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from gateway.models.registry import Models

Json = dict[str, Any]
_PATIENCE_S = 2.0


async def with_status(models: Models, described: Sequence[Json]) -> list[Json]:
    """Each with `model_status`: served, not_served, or None while a model that didn't answer yet may be its own."""
    if not all(models.answering(each["fingerprint"]) for each in described):
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(models.ask(), _PATIENCE_S)
    return [{**each, "model_status": _status(models, each["fingerprint"])} for each in described]


def _status(models: Models, fingerprint: str) -> str | None:
    if models.answering(fingerprint) is not None:
        return "served"
    return "not_served" if models.have_answered else None
