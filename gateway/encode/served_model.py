"""The model that TorchServe serves, and the check of a model's name in a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clip_core.errors import FingerprintMismatch, UnknownModel
from gateway.upstream.replies import EncodeReply


@dataclass(frozen=True)
class ServedModel:
    """The model that answered last. `matryoshka_dimensions` are the dimensions its vectors may be cut to; `logit_scale`
    and `logit_bias` make logits of cosines.

    `facts` are what the handlers tell beyond that to who asks them to describe themselves; older archives tell none.
    """

    model: str
    fingerprint: str
    dim: int
    matryoshka_dimensions: tuple[int, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    logit_scale: float | None = None
    logit_bias: float | None = None

    @classmethod
    def of(cls, answer: EncodeReply, name: str = "") -> ServedModel:
        """From a handler's answer, under the given name if there is one."""
        shorter = tuple(answer.get("matryoshka_dimensions") or ())
        head = answer.get("logit_scale"), answer.get("logit_bias")
        facts = answer.get("facts") or {}
        return cls(name or answer["model"], answer["fingerprint"], answer["dim"], shorter, facts, *head)


def check_model(model: object, served: ServedModel) -> None:
    """Raises UnknownModel unless `model` is None or the name of the served model."""
    if model is not None and model != served.model:
        raise unknown_model(model, [served.model])


def unknown_model(model: object, served: Sequence[str]) -> UnknownModel:
    """The error for a request that names a model which isn't among those that are served."""
    names = " and ".join(map(repr, sorted(served)))
    verb = "is" if len(served) == 1 else "are"
    return UnknownModel(f"the model {str(model)[:100]!r} is not served; {names} {verb}", param="model")


def two_models(named: object, collection: str, its: str) -> FingerprintMismatch:
    """The error for a request that names a model, and a collection of another one."""
    asked = str(named)[:100]
    if asked == its:
        message = f"the collection {collection!r} holds vectors of another build of {its!r} than the one that is served"
    else:
        message = f"the request names the model {asked!r}, but the collection {collection!r} holds vectors of {its!r}"
    return FingerprintMismatch(message, param="model")
