"""The models that `up` is asked for: those of the file, unless an option or the environment names others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from scripts.config.config_file import ConfigFile, Json
from scripts.stack.asked import Asked, AskedModel
from scripts.stack.up_settings import UpSettings

_FIRST = {"architecture": "architecture", "tokenizer": "tokenizer", "model_name": "name"}
"""Settings of `up` that are the first model's alone, and what they replace."""


def asked_models(file: ConfigFile, settings: UpSettings, chosen: Callable[[str], bool]) -> Asked:
    """`chosen`: whether an option, or the environment, gives a setting of `up`; it wins over the file then."""
    if file.models is None or chosen("model"):
        return Asked.of(settings, file.batching)
    models = [_model(each, file, settings, chosen("precision")) for each in file.models]
    return Asked([*(_first(each, settings, chosen) for each in models[:1]), *models[1:]], file.batching)


def _model(told: Json, file: ConfigFile, settings: UpSettings, one_precision: bool) -> AskedModel:
    own: Json = {key: told[key] for key in ("name", "architecture", "tokenizer", "precision") if key in told}
    if one_precision:
        own["precision"] = settings.precision
    checkpoint = Path(told["checkpoint"]) if "checkpoint" in told else None
    return AskedModel(told["source"], checkpoint, {**settings.given_to_all, **own}, file.batching_of(told))


def _first(model: AskedModel, settings: UpSettings, chosen: Callable[[str], bool]) -> AskedModel:
    given = {key: getattr(settings, option) for option, key in _FIRST.items() if chosen(option)}
    checkpoint = settings.checkpoint if chosen("checkpoint") else model.checkpoint
    return replace(model, checkpoint=checkpoint, given={**model.given, **given})
