"""What `open_clip_train` notes of a run: `logs/<run>/params.txt`, for `logs/<run>/checkpoints/epoch_5.pt`."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.archive.forms.architecture import read_architecture

FILE = "params.txt"


@dataclass(frozen=True)
class TrainingRun:
    """`options`: those of the run, as text."""

    path: Path
    options: dict[str, str]

    @classmethod
    def of(cls, checkpoint: Path) -> TrainingRun | None:
        for path in (checkpoint.parent / FILE, checkpoint.parent.parent / FILE):
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
            except (OSError, ValueError):
                continue
            options = {name: value for name, found, value in (line.partition(": ") for line in lines) if found}
            if options.get("model"):
                return cls(path, options)
        return None

    @property
    def architecture(self) -> str:
        return self.options["model"]

    def configuration(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """`model_cfg` and what the run said of `preprocess_cfg`. Raises BadModel."""
        model, preprocess = read_architecture(self.architecture)
        if self._value("force_quick_gelu"):
            model["quick_gelu"] = True
        if self._value("force_custom_text"):
            model["custom_text"] = True
        if size := self._value("force_image_size"):
            model["vision_cfg"]["image_size"] = size[0] if isinstance(size, list) and len(set(size)) == 1 else size
        if length := self._value("force_context_length"):
            model["text_cfg"]["context_length"] = length
        given = {key: self._value(f"image_{key}") for key in ("mean", "std", "interpolation", "resize_mode")}
        return model, preprocess | {key: value for key, value in given.items() if value is not None}

    def _value(self, name: str) -> Any:
        text = self.options.get(name, "None")
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return text
