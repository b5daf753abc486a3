"""Which of the served models can write captions: those whose caption endpoint TorchServe knows."""

from __future__ import annotations

import asyncio

from cachetools import TTLCache

from clip_core.errors import NoCaptioner
from gateway.models.registry import Models, RegisteredModel
from gateway.models.torchserves import TorchServe

_KNOWN_S, _MOST_KNOWN = 2.0, 1024


class Captioners:
    """What TorchServe says is remembered for a moment. One that can't be asked counts as knowing the endpoint."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self._known: TTLCache[tuple[TorchServe, str], bool] = TTLCache(_MOST_KNOWN, _KNOWN_S)

    async def has(self, model: RegisteredModel) -> bool:
        """Whether this model has a captioner."""
        endpoint = model.row.caption_endpoint
        if not endpoint:
            return False
        key = model.torchserve, endpoint
        known = self._known.get(key)
        if known is None:
            told = await model.torchserve.client.has(endpoint)
            known = told is not False
            if told is not None:
                self._known[key] = known
        return known

    async def endpoint(self, model: RegisteredModel) -> str:
        """Raises NoCaptioner, which names the models that have one."""
        if await self.has(model):
            model.torchserve.admissions.demand.know(model.row.caption_endpoint)
            return model.row.caption_endpoint
        raise no_captioner(model.encoder.name, [each.encoder.name for each in await self.all()])

    async def endpoints(self, model: RegisteredModel) -> tuple[str, ...]:
        """All of the model's that there are."""
        return model.row.all_endpoints() if await self.has(model) else model.row.endpoints.all()

    async def all(self) -> list[RegisteredModel]:
        """The models that have one."""
        served = self.models.all()
        found = await asyncio.gather(*map(self.has, served))
        return [model for model, has in zip(served, found, strict=True) if has]


def no_captioner(model: str, others: list[str]) -> NoCaptioner:
    """`others` have one."""
    named = f"the model {model!r}" if model else "the served model"
    ways = f"ask one that has: {', '.join(map(repr, others))}" if others else "no served model has one"
    return NoCaptioner(f"{named} has no captioner; {ways}", param="model")
