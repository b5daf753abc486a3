"""A state dict brought to the names and shapes of an open_clip model, as `open_clip.load_checkpoint` does it."""

from __future__ import annotations

from typing import Any

import torch

from clip_core.errors import BadModel
from scripts.archive.assembly.parts import State

_UNUSED = ("text.transformer.embeddings.position_ids",)  # transformers no longer keeps them


def fitted(name: str, model: Any, state: State) -> State:
    """Every weight of `model`, and nothing else. Raises BadModel that names what is missing, unknown or of other shape.

    Position embeddings of another picture size or context are interpolated.
    """
    from open_clip.model import resize_pos_embed, resize_text_pos_embed

    state = renamed(model, state)
    if problem := difference(model.state_dict(), state, interpolated=True):
        raise BadModel(f"the weights of {name} are of another architecture: {problem}")
    resize_pos_embed(state, model)
    resize_text_pos_embed(state, model)
    return state


def check_finite(name: str, model: Any) -> None:
    """Raises BadModel that names the first weight with NaN or an infinity: no vector would come of it."""
    for key, value in model.state_dict().items():
        if value.numel() and not torch.stack(torch.aminmax(value)).isfinite().all():  # a NaN is both least and most
            raise BadModel(f"the weights of {name} are damaged: {key} holds NaN or infinite numbers")


def renamed(model: Any, state: State) -> State:
    """By the names that this version of open_clip gives them in `model`; no shape but a scalar's is changed."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    state = dict(convert_state_dict(model, dict(state)))
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    expected = model.state_dict()
    _fit_logits(state, expected)
    return {key: value for key, value in state.items() if key not in _UNUSED or key in expected}


def _fit_logits(state: State, expected: State) -> None:
    """Scalars or vectors of one number, by the version that saved them. The bias is of SigLIP's loss."""
    for key in ("logit_scale", "logit_bias"):
        if key in state and key in expected and state[key].numel() == 1:
            state[key] = state[key].reshape(expected[key].shape)
    if "logit_bias" not in expected:
        state.pop("logit_bias", None)
    elif "logit_scale" in state:
        state.setdefault("logit_bias", torch.zeros_like(expected["logit_bias"]))


def difference(expected: State, state: State, interpolated: bool = False) -> str | None:
    """In words; None where every name is there with its shape. `interpolated`: positions may be of other lengths."""
    missing = sorted(expected.keys() - state.keys())
    unknown = sorted(state.keys() - expected.keys())
    wrong = [key for key in expected.keys() & state.keys() if not _fits(key, expected[key], state[key], interpolated)]
    said = [f"{len(missing)} weights are missing, such as {missing[0]}"] if missing else []
    said += [f"{len(unknown)} are unknown to it, such as {unknown[0]}"] if unknown else []
    if wrong:
        first = min(wrong)
        shapes = f"{tuple(state[first].shape)} instead of {tuple(expected[first].shape)}"
        said.append(f"{len(wrong)} have other shapes, such as {first} with {shapes}")
    return "; ".join(said) or None


def _fits(key: str, expected: torch.Tensor, found: torch.Tensor, interpolated: bool) -> bool:
    if interpolated and key.endswith("positional_embedding") and expected.ndim == found.ndim == 2:
        return expected.shape[1] == found.shape[1]
    return expected.shape == found.shape
