"""How busy each endpoint is now: what this gateway sends there, and what TorchServe's management API says."""

from __future__ import annotations

import asyncio

from gateway.metrics import EndpointLoad
from gateway.models.captioners import Captioners
from gateway.models.registry import RegisteredModel


async def endpoint_loads(captioners: Captioners) -> list[EndpointLoad]:
    """Of every endpoint of every model, each once. TorchServe is asked for all at once."""
    models = captioners.models.all()
    named = zip(models, await asyncio.gather(*map(captioners.endpoints, models)), strict=True)
    served = {(model.torchserve, name): model for model, names in named for name in names}
    return list(await asyncio.gather(*(_load(model, name) for (_, name), model in served.items())))


async def _load(model: RegisteredModel, endpoint: str) -> EndpointLoad:
    own = model.torchserve.admissions.load(endpoint)
    state = await model.torchserve.client.queue(endpoint)
    return EndpointLoad(endpoint, *own) if state is None else EndpointLoad(endpoint, *own, *state)
