"""JPEGs of 640×480 to vectors on a GPU, from a folder and through TorchServe, beside the image tower alone.

    python -m benchmarks.bulk --gpu          (make bench-bulk GPU=1)

ViT-B/32 in bf16 with random weights, not compiled: the speed is that of trained ones.
Then torchvision's nvJPEG decodes the same pictures on the GPU: its rate, and the smallest cosine of its vectors with
those of the usual decoder. Bulk does not use it; these two figures say what that would bring and cost.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.bulk.driver import command, run
from benchmarks.bulk.served import served_rate
from benchmarks.bulk.sources import write_pictures

BARS = {"gpu_end_to_end_over_tower": (0.5, "≥"), "nvjpeg_smallest_cosine": (0.999, "≥")}
_BATCH, _SECONDS, _COMPARED = 256, 10.0, 512


def no_gpu() -> str:
    """Why there is nothing to measure here; "" where there is."""
    import torch

    if torch.cuda.is_available():
        return ""
    return "--gpu measures on a GPU, and torch sees none here (torch.cuda.is_available() is False): run it where one is"


def gpu_figures(work: Path, archive: Path, count: int) -> dict[str, float]:
    """Each part in a process of its own: a CUDA context does not survive a fork."""
    folder = write_pictures(work / "gpu-pictures", count)
    tower = _figures("tower", archive, folder)
    cores = len(os.sched_getaffinity(0))
    words = command(folder, archive, work / "gpu", "--gpus", "1", "--actors", "1", "--batch", str(_BATCH))
    bulk = count / run([*words, "--threads", str(cores), "--shard-items", "2048"]).shard_seconds
    decoders = _figures("decoders", archive, folder)
    served = served_rate(archive, work, [path.read_bytes() for path in sorted(folder.iterdir())[:_COMPARED]], _SECONDS)
    return {
        "cores": float(cores),
        **tower,
        "gpu_bulk_pictures_per_s": bulk,
        "gpu_end_to_end_over_tower": bulk / tower["gpu_tower_pictures_per_s"],
        "gpu_torchserve_pictures_per_s": served,
        "gpu_torchserve_over_tower": served / tower["gpu_tower_pictures_per_s"],
        **decoders,
    }


def _figures(part: str, archive: Path, folder: Path) -> dict[str, float]:
    words = [sys.executable, "-P", "-m", "benchmarks.bulk.gpu", part, str(archive), str(folder)]
    lines = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
    return {name: float(value) for name, value in (line.split() for line in lines)}


def _tower(archive: Path, folder: Path) -> dict[str, float]:
    """On batches that lie in the host's memory, decoded."""
    import torch

    from clip_core.inputs.images import decode
    from scripts.bulk.model import Loaded

    image = Loaded(archive, 1, _BATCH).encoders.image
    assert image is not None
    contents = [path.read_bytes() for path in sorted(folder.iterdir())[:32]]
    batch = torch.stack([image.transform(decode(each)) for each in contents]).repeat(_BATCH // 32, 1, 1, 1)
    return {"gpu_tower_pictures_per_s": _BATCH * _rate(lambda: image.forward(batch))}


def _decoders(archive: Path, folder: Path) -> dict[str, float]:
    """Both decode, scale as the model wants it, and encode the same pictures."""
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg
    from torchvision.transforms.v2.functional import to_pil_image

    from clip_core.inputs.images import decode
    from scripts.bulk.model import Loaded

    image = Loaded(archive, 1, _BATCH).encoders.image
    assert image is not None
    files = [path.read_bytes() for path in sorted(folder.iterdir())[:_COMPARED]]
    raw = [torch.frombuffer(bytearray(each), dtype=torch.uint8) for each in files]

    def on_gpu(some: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        made: list[torch.Tensor] = decode_jpeg(list(some), mode=ImageReadMode.RGB, device="cuda")
        torch.cuda.synchronize()
        return made

    by_gpu = image.forward(torch.stack([image.transform(to_pil_image(each.cpu())) for each in on_gpu(raw)])).numpy()
    by_cpu = image.forward(torch.stack([image.transform(decode(each)) for each in files])).numpy()
    cosines = (by_gpu * by_cpu).sum(1) / np.linalg.norm(by_gpu, axis=1) / np.linalg.norm(by_cpu, axis=1)
    return {
        "nvjpeg_pictures_per_s": 64 * _rate(lambda: on_gpu(raw[:64])),
        "one_core_decodes_per_s": 64 * _rate(lambda: [decode(each).load() for each in files[:64]]),
        "nvjpeg_smallest_cosine": float(cosines.min()),
    }


def _rate(work: Callable[[], object]) -> float:
    """Calls a second, after two that warm up. The work waits for the GPU itself."""
    work(), work()
    began, calls = time.monotonic(), 0
    while (took := time.monotonic() - began) < _SECONDS:
        work()
        calls += 1
    return calls / took


if __name__ == "__main__":
    chosen = {"tower": _tower, "decoders": _decoders}[sys.argv[1]]
    for told, value in chosen(Path(sys.argv[2]), Path(sys.argv[3])).items():
        print(told, value)
