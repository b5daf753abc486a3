"""The compiled towers that an archive carries, and what must be known of each to run it without its model.

compiled/machine.json     what they were compiled for
compiled/text.pt2, .json  AOTInductor package; name of the forward pass, how it cuts texts
compiled/image.pt2, .json
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from clip_core.errors import BadModel
from clip_core.towers.compiling import Forward, Machine, load_package

DIRECTORY = "compiled"
log = logging.getLogger("clipserve.compiling")


@dataclass(frozen=True)
class TowerFacts:
    """`name` of the module; `cuts`: texts may be cut after their ends, which `eos_id` marks (None: the largest id)."""

    name: str
    cuts: bool = False
    eos_id: int | None = None

    @classmethod
    def read(cls, path: Path) -> TowerFacts:
        """Raises BadModel."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise BadModel(f"{path.name} can't be read: {error}") from error

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")


def usable(model_dir: Path, device: str) -> bool:
    """Whether `model_dir` carries packages that were compiled for a machine like this one; says in the log why not."""
    path = model_dir / DIRECTORY / "machine.json"
    if not path.exists():
        return False
    reason = Machine.read(path).difference(Machine.here(device))
    if reason is not None:
        log.warning("the archive's compiled towers are for another machine", extra={"reason": reason})
    return reason is None


def load(model_dir: Path, modality: str, device: str) -> tuple[Forward, TowerFacts]:
    """The package of "text" or "image". Raises BadModel."""
    directory = model_dir / DIRECTORY
    return load_package(directory / f"{modality}.pt2", device), TowerFacts.read(directory / f"{modality}.json")
