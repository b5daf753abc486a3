"""The tokenizer of a model: open_clip's own, or files of a Hugging Face one, and whether it belongs to the weights."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clip_core.errors import BadModel
from clip_core.inputs.open_clip_tokenizer import load_reference
from clip_core.model_spec import CONFIG_FILE
from scripts.archive.assembly.parts import LOCAL
from scripts.archive.assembly.siglip_words import is_siglips, lay_fast
from scripts.hub.fetch import fetch_small
from scripts.hub.snapshots import HubName

FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model"),
)
_VOCABULARIES = tuple(name for name in FILES if name not in FILES[1:4] and name != "merges.txt")
_LEAST_SHARE = 0.9  # of the embedding's rows: some are padded to a round number


def load_tokenizer(name: str, model_cfg: dict[str, Any], folders: Iterable[Path]) -> Any:
    """As an archive's worker loads it, from a folder of its own. Raises BadModel."""
    with tempfile.TemporaryDirectory(prefix="clipserve-tokenizer-") as work:
        (Path(work) / CONFIG_FILE).write_text(json.dumps({"model_cfg": model_cfg}), encoding="utf-8")
        if wanted := model_cfg["text_cfg"].get("hf_tokenizer_name"):
            _lay(_folder(name, wanted, folders), Path(work))
        if merges := merges_file(name, model_cfg, folders):
            os.symlink(merges.resolve(), Path(work) / merges.name)
        try:
            return load_reference(Path(work))
        except BadModel as error:
            raise BadModel(f"the tokenizer of {name} can't be loaded: {error.message}") from error


def merges_file(name: str, model_cfg: dict[str, Any], folders: Iterable[Path]) -> Path | None:
    """The byte pairs of a vocabulary that is not CLIP's, beside the weights; None for CLIP's. Raises BadModel."""
    given = (model_cfg["text_cfg"].get("tokenizer_kwargs") or {}).get("bpe_path")
    if not given:
        return None
    places = [Path(given), *(folder / Path(given).name for folder in folders)]
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        raise BadModel(f"the vocabulary of {name} is missing: there is no {Path(given).name} beside its weights")
    return found


def _lay(source: Path, target: Path) -> None:
    if is_siglips(source):
        lay_fast(source, target)
        return
    for file in FILES:
        if (source / file).is_file():
            os.symlink((source / file).resolve(), target / file)


def has_tokenizer(folder: Path) -> bool:
    return any((folder / file).is_file() for file in _VOCABULARIES)


def _folder(name: str, wanted: str, folders: Iterable[Path]) -> Path:
    folders = (Path(wanted), *folders) if Path(wanted).is_absolute() else tuple(folders)
    for folder in folders:
        if has_tokenizer(folder):
            return folder
    places = ", ".join(map(str, folders)) or "any folder"
    if wanted == LOCAL or Path(wanted).is_absolute():
        raise BadModel(f"the tokenizer of {name} is missing: there is none in {places}; name one with --tokenizer")
    try:
        return fetch_small(HubName(wanted), FILES)
    except BadModel as error:
        raise BadModel(
            f"the tokenizer of {name} is missing: there is none in {places} (name one with --tokenizer), "
            f"and {wanted} is not to be had: {error.message}"
        ) from error


def check_vocabulary(name: str, tokenizer: Any, model: Any) -> None:
    """Raises BadModel for a tokenizer with more ids than the text tower has embeddings, or with far fewer."""
    rows, tokens = _embedding_rows(model), _tokens(tokenizer)
    if rows is None or _LEAST_SHARE * rows <= tokens <= rows:
        return
    raise BadModel(
        f"the tokenizer of {name} has {tokens:,} tokens and its text tower {rows:,} embeddings: they belong to "
        "different models; name the right one with --tokenizer"
    )


def _tokens(tokenizer: Any) -> int:
    return int(tokenizer.vocab_size) if hasattr(tokenizer, "bpe_ranks") else len(tokenizer.tokenizer)


def _embedding_rows(model: Any) -> int | None:
    tower = getattr(model, "text", model)
    if hasattr(tower, "token_embedding"):
        return int(tower.token_embedding.weight.shape[0])
    embeddings = getattr(getattr(tower, "transformer", None), "get_input_embeddings", lambda: None)()
    return int(embeddings.weight.shape[0]) if embeddings is not None else None
