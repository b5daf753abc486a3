"""The peer of an ingest: a plain loop that decodes each photo for the model and makes its thumbnails, nothing else."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence
from pathlib import Path

from clip_core.inputs.images import MAX_IMAGE_PIXELS, decode
from gateway.pictures.thumbnails import thumbnails


def pictures_per_s(paths: Sequence[Path]) -> float:
    """Over all cores, start of the processes aside."""
    with multiprocessing.get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
        pool.map(_one, paths[:4], chunksize=1)
        began = time.monotonic()
        pool.map(_one, paths, chunksize=4)
        return len(paths) / (time.monotonic() - began)


def _one(path: Path) -> None:
    content = path.read_bytes()
    decode(content)
    thumbnails(content, MAX_IMAGE_PIXELS)
