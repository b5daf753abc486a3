"""Archives served with other endpoint settings than their own: none is built again for a batch delay.

An archive carries its `model-config.yaml`, which wins over all that TorchServe is told beside it. So the archive is
unpacked below the run folder at each start, as TorchServe would do, and its settings are written there.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.archive.contents import CONFIG, config_with, unpack

Overrides = Mapping[str, Mapping[str, Any]]
"""Kind of endpoint (text, image, multimodal) → keys of its `model-config.yaml`."""


@dataclass(frozen=True)
class OverriddenArchives:
    """`archives`: endpoint → its .mar; `keys`: endpoint → what is served instead of the archive's own."""

    archives: Mapping[str, Path]
    keys: Overrides
    folder: Path

    def sources(self) -> dict[str, str]:
        """Endpoint → what TorchServe loads: the .mar in its store, or the folder that `write` fills."""
        return {
            name: str(self._place(name)) if self.keys.get(name) else mar.name for name, mar in self.archives.items()
        }

    def write(self) -> None:
        """What the archives hold now. Raises BadModel for one that is not whole."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for name, keys in self.keys.items():
            if keys:
                unpack(self.archives[name], self._place(name))
                config = self._place(name) / CONFIG
                config.write_text(config_with(config.read_bytes(), keys), encoding="utf-8")

    def _place(self, name: str) -> Path:
        return self.folder / name
