"""What the long steps of a build cost: estimates from a model's size, measured with ViT-B/32 on two cores."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from clip_core.errors import BadModel
from clip_core.model_spec import WEIGHTS_FILE

CANDIDATES_ON_CPU = 4  # of the precisions that `auto` compares
_COMPILE_S = 80.0  # a tower, whatever its size
_COMPILE_S_A_PARAMETER = 0.65e-6
_JUDGE_S_A_PARAMETER = 0.1e-6
_LOAD_S, _LOAD_S_A_BYTE = 5.0, 8e-9
_PACK_S, _PACK_S_A_BYTE = 4.0, 6e-9
_COMPILER_BYTES = 1.2e9  # of memory, beside what grows with the model
_FLOAT = 4


@dataclass(frozen=True)
class Cost:
    """Of one build, or of one step of it."""

    seconds: float
    memory_bytes: float
    disk_bytes: float = 0.0

    def __str__(self) -> str:
        disk = f" and {gigabytes(self.disk_bytes)} of disk" if self.disk_bytes else ""
        return f"about {_spoken(self.seconds)}, {gigabytes(self.memory_bytes)} of memory{disk}"


def loading(weights_bytes: float) -> Cost:
    return Cost(_LOAD_S + _LOAD_S_A_BYTE * weights_bytes, 0.5e9 + 2.5 * weights_bytes)


def compiling(parameters: float, towers: int = 2) -> Cost:
    """`parameters` of these towers."""
    return Cost(towers * _COMPILE_S + _COMPILE_S_A_PARAMETER * parameters, _COMPILER_BYTES + 6 * _FLOAT * parameters)


def judging(parameters: float) -> Cost:
    return Cost(5.0 + _JUDGE_S_A_PARAMETER * parameters, 0.5e9 + 4 * _FLOAT * parameters)


def packing(parameters: float) -> Cost:
    """One archive."""
    return Cost(_PACK_S + _PACK_S_A_BYTE * _FLOAT * parameters, 0.5e9 + 2 * _FLOAT * parameters)


def whole(parameters: float, candidates: int, compile: bool) -> Cost:
    """Both towers at each of so many precisions, the best of which is packed three times."""
    each = compiling(parameters) if compile else Cost(0.0, 0.0)
    compared = judging(parameters) if candidates > 1 else Cost(0.0, 0.0)
    seconds = candidates * (each.seconds + compared.seconds) + 3 * packing(parameters).seconds
    memory = max(each.memory_bytes, compared.memory_bytes, packing(parameters).memory_bytes)
    return Cost(seconds, memory, disk(parameters, candidates if compile else 0))


def disk(parameters: float, packages: int) -> float:
    """At the most: two archives, the third with its files beside it, and the packages of each precision."""
    copies = 7 + packages if packages else 4
    return copies * _FLOAT * parameters


def check_disk(folder: Path, needed_bytes: float) -> None:
    """Raises BadModel when the folder's disk has less."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise BadModel(
            f"the build takes about {gigabytes(needed_bytes)} of disk, and {folder} has {gigabytes(free)} free: "
            "make room, or give another folder with --model-store"
        )


def parameters_in(mar: Path) -> int:
    """Of the weights in an archive. Raises OSError, KeyError, BadZipFile."""
    with zipfile.ZipFile(mar) as archive:
        return archive.getinfo(WEIGHTS_FILE).file_size // _FLOAT


def _spoken(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
