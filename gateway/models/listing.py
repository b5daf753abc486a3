"""Models as `/v1/models` shows them, in the form of OpenAI's list."""

from __future__ import annotations

import asyncio
from typing import Any

from clip_core.errors import ClipServeError
from gateway.encode.served_model import ServedModel
from gateway.models.captioners import Captioners
from gateway.models.registry import Models, RegisteredModel

Json = dict[str, Any]
_PATIENCE_S = 10.0
_FACTS = ("context_length", "precision", "licence", "source", "revision", "weights_sha256")


async def list_all(models: Models, captioners: Captioners) -> list[Json]:
    """One that does not answer is shown with what is known of it.

    Raises ClipServeError only for a lone model that has no name yet.
    """
    served = models.all()
    return list(await asyncio.gather(*(shown(each, captioners, default=each is served[0]) for each in served)))


async def shown(model: RegisteredModel, captioners: Captioners, *, default: bool) -> Json:
    """As it is now. Raises ClipServeError for a model that does not answer and has no name."""
    try:
        await model.encoder.describe(timeout_s=_PATIENCE_S)
        message = None
    except ClipServeError as error:
        if not model.encoder.name:
            raise
        message = error.message
    return _facts(model, message, default, await captioners.has(model))


def _facts(model: RegisteredModel, message: str | None, default: bool, captioner: bool) -> Json:
    served: ServedModel | None = model.encoder.served
    facts = served.facts if served is not None else {}
    return {
        "id": model.encoder.name,
        "object": "model",
        "created": 0,
        "owned_by": "clipserve",
        "status": "ready" if message is None else "unavailable",
        "message": message,
        "default": default,
        "fingerprint": served and served.fingerprint,
        "dimensions": served and served.dim,
        "matryoshka_dimensions": list(served.matryoshka_dimensions) if served else [],
        "logit_scale": served and served.logit_scale,
        "logit_bias": served and served.logit_bias,
        **{name: facts.get(name) for name in _FACTS},
        "captioner": captioner,
        "endpoints": list(model.row.all_endpoints() if captioner else model.row.endpoints.all()),
    }
