"""The tokenizer that an archive describes: open_clip's own code, without the rest of open_clip.

`import open_clip` brings all its models, torchvision and timm, which a worker with compiled towers has no use for.
tokenizer.py among its files stands alone, so it is loaded by itself, under a name of its own.
"""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from clip_core.errors import BadModel
from clip_core.model_spec import CONFIG_FILE

CONTEXT_LENGTH = 77  # where a config names none


def load_reference(model_dir: Path) -> Any:
    """What `open_clip.get_tokenizer("local-dir:…")` gives, a Hugging Face one of the files there. Raises BadModel."""
    text = _text_config(model_dir / CONFIG_FILE)
    options = dict(text.get("tokenizer_kwargs") or {})
    options["context_length"] = text.get("context_length", CONTEXT_LENGTH)
    try:
        if text.get("hf_tokenizer_name"):
            mode = text.get("tokenizer_mode")
            return _module().HFTokenizer(str(model_dir), tokenizer_mode=mode, **options)
        if "bpe_path" in options:  # a vocabulary of the model's own, beside its weights
            options["bpe_path"] = str(model_dir / options["bpe_path"])
        return _module().SimpleTokenizer(**options)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BadModel(f"the tokenizer can't be loaded: {error}; rebuild with `clipserve archive build`") from error


def load_standard() -> Any:
    """open_clip's SimpleTokenizer: the vocabulary of OpenAI's CLIP. Raises BadModel."""
    return _module().SimpleTokenizer()


def _text_config(path: Path) -> Mapping[str, Any]:
    try:
        text: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))["model_cfg"]["text_cfg"]
        return text
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadModel(f"{path.name} can't be read: {error}; rebuild with `clipserve archive build`") from error


@functools.cache
def _module() -> ModuleType:
    package = importlib.util.find_spec("open_clip")  # finds, and imports nothing
    directory = Path(next(iter(package.submodule_search_locations or ()))) if package else Path()
    spec = importlib.util.spec_from_file_location("clip_core_open_clip_tokenizer", directory / "tokenizer.py")
    if package is None or spec is None or spec.loader is None:
        raise BadModel("open_clip is not installed")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    del module._tokenizer  # a vocabulary of 15 MB for functions that nobody calls here
    return module
