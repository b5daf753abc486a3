"""ModelParts → open_clip's model with the weights in it, and its tokenizer. What does not fit is said in one line."""

from __future__ import annotations

import json

from scripts.archive.assembly.build_model import build_model
from scripts.archive.assembly.canonical import canonical_model
from scripts.archive.assembly.fit import check_finite, fitted
from scripts.archive.assembly.head import TrainedHead
from scripts.archive.assembly.parts import LoadedSource, ModelParts
from scripts.archive.assembly.text_config import named_locally, text_config_folder
from scripts.archive.assembly.tokenizers import check_vocabulary, load_tokenizer, merges_file


def assemble(name: str, parts: ModelParts) -> LoadedSource:
    """Raises BadModel that says which part is missing or does not fit."""
    import open_clip

    model_cfg = canonical_model(parts.model_cfg)
    text_config = text_config_folder(model_cfg, parts.folders)
    model = build_model(name, model_cfg, parts.preprocess_cfg, text_config)
    model.load_state_dict(fitted(name, model, parts.state))
    check_finite(name, model)
    tokenizer = load_tokenizer(name, model_cfg, parts.folders)
    check_vocabulary(name, tokenizer, model)
    merges = merges_file(name, model_cfg, parts.folders)
    whole = {"model_cfg": named_locally(model_cfg), "preprocess_cfg": open_clip.get_model_preprocess_cfg(model)}
    kept = json.loads(json.dumps(whole))
    model.eval().requires_grad_(False)
    head = TrainedHead.of(model, parts.state)
    return LoadedSource(model, tokenizer, kept, text_config, parts.provenance, merges, head)
