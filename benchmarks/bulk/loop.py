"""The peer of bulk: a plain loop that decodes a batch on all cores, then runs the tower on it, and keeps nothing.

    python -m benchmarks.bulk.loop ARCHIVE FOLDER BATCH

It prints pictures a second, its start aside.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from clip_core.cores import available_cores
from clip_core.inputs.images import decode
from scripts.bulk.model import Loaded


def rate(archive: Path, folder: Path, batch: int) -> float:
    cores = available_cores()
    image = Loaded(archive, cores, batch).encoders.image
    assert image is not None
    paths = sorted(folder.iterdir())

    def pixels(path: Path) -> torch.Tensor:
        made: torch.Tensor = image.transform(decode(path.read_bytes()))
        return made

    with ThreadPoolExecutor(cores) as pool:
        image.forward(torch.stack(list(pool.map(pixels, paths[:batch]))))
        began = time.monotonic()
        for at in range(0, len(paths), batch):
            image.forward(torch.stack(list(pool.map(pixels, paths[at : at + batch]))))
        return len(paths) / (time.monotonic() - began)


def main() -> None:
    archive, folder, batch = sys.argv[1:]
    print(rate(Path(archive), Path(folder), int(batch)))


if __name__ == "__main__":
    main()
