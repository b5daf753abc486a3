"""A file of weights without a configuration: the architecture is given, noted by its training run, or guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.archive.assembly.parts import ModelParts, State
from scripts.archive.forms.architecture import cleaned, read_architecture
from scripts.archive.forms.guess import guess
from scripts.archive.forms.training_run import TrainingRun


def read_bare(path: Path, state: State, architecture: str | None, folders: tuple[Path, ...]) -> ModelParts:
    """`state`: what the file at `path` holds. Raises BadModel."""
    run = TrainingRun.of(path)
    if run and cleaned(architecture or run.architecture) == cleaned(run.architecture):
        model, preprocess = run.configuration()
        notes = (f"architecture {run.architecture}, as {run.path} says",)
        near = _near(run.architecture, folders, path)
        return ModelParts(model, known_preprocessing(run.architecture) | preprocess, state, near, notes)
    if architecture:
        model, preprocess = read_architecture(architecture)
        return ModelParts(
            model, preprocess or known_preprocessing(architecture), state, _near(architecture, folders, path)
        )
    name = guess(path, state)
    model, preprocess = read_architecture(name)
    notes = (f"architecture {name}, by the shapes of the weights (--architecture names another)",)
    return ModelParts(model, preprocess or known_preprocessing(name), state, (*folders, path.parent), notes)


def known_preprocessing(architecture: str) -> dict[str, Any]:
    """What all published weights of an architecture share, such as SigLIP's; of others open_clip's default stands."""
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    name = cleaned(architecture)
    keys = ("mean", "std", "interpolation", "resize_mode")
    known = [get_pretrained_cfg(name, tag) for tag in list_pretrained_tags_by_model(name)]
    shared = [{key: tag[key] for key in keys} for tag in known]
    return shared[0] if shared and all(each == shared[0] for each in shared) else {}


def _near(architecture: str, folders: tuple[Path, ...], path: Path) -> tuple[Path, ...]:
    """A tokenizer may lie beside the weights, beside a configuration of one's own, or where that one says."""
    if not architecture.endswith(".json"):
        return (*folders, path.parent)
    config = Path(architecture).resolve()
    model, _ = read_architecture(architecture)
    named = [model["text_cfg"].get(key) for key in ("hf_tokenizer_name", "hf_model_name")]
    return (*folders, *(config.parent / name for name in named if name), config.parent, path.parent)
