"""The model that TorchServe serves, and the check of a model's name in a request."""

from __future__ import annotations

from dataclasses import dataclass

from clip_core.errors import UnknownModel
from gateway.upstream.replies import EncodeReply


@dataclass(frozen=True)
class ServedModel:
    """The model that answered last. `matryoshka_dimensions` are the dimensions its vectors may be cut to."""

    model: str
    fingerprint: str
    dim: int
    matryoshka_dimensions: tuple[int, ...] = ()

    @classmethod
    def of(cls, answer: EncodeReply) -> ServedModel:
        """From a handler's answer."""
        shorter = tuple(answer.get("matryoshka_dimensions") or ())
        return cls(answer["model"], answer["fingerprint"], answer["dim"], shorter)


def check_model(model: object, served: ServedModel) -> None:
    """Raises UnknownModel unless `model` is None or the name of the served model."""
    if model is not None and model != served.model:
        raise unknown_model(model, served)


def unknown_model(model: object, served: ServedModel) -> UnknownModel:
    """The error for a request that names another model."""
    return UnknownModel(f"the model {str(model)[:100]!r} is not served; {served.model!r} is", param="model")
