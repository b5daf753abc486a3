"""Sources of pictures and texts, and runs of `scripts.bulk` with the tiny model."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from scripts.bulk.job import BulkJob
from scripts.bulk.model import find_archive
from scripts.bulk.run import BulkRequest, Ended, OnProgress, run_bulk
from scripts.bulk.runners import InThisProcess, Runner
from scripts.bulk.shards.shard import Done


def jpeg(seed: int, side: int = 48) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(written, "JPEG", quality=90)
    return written.getvalue()


def tar(path: Path, members: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, content in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            file.addfile(about, io.BytesIO(content))
    return path


class Progress(OnProgress):
    def __init__(self) -> None:
        self.ended: list[Done] = []
        self.shards = self.before = 0

    def planned(self, shards: int, done: int) -> None:
        self.shards, self.before = shards, done

    def shard(self, done: Done) -> None:
        self.ended.append(done)


class Bulk:
    """Runs with the archives of `store`."""

    def __init__(self, store: Path, out: Path) -> None:
        self.store, self.out = store, out

    def asked(self, *sources: object, **options: Any) -> BulkRequest:
        embed = options.pop("embed", "image")
        found = find_archive(options.pop("model", "demo"), embed, self.store)
        shard_items, dedupe = options.pop("shard_items", 4), options.pop("dedupe", None)
        job = BulkJob(
            found.path,
            str(options.pop("out", self.out)),
            embed,
            options.pop("layout", "parquet"),
            options.pop("batch", 4),
            1,
            **options,
        )
        return BulkRequest([str(source) for source in sources], job, found, shard_items, dedupe)

    def __call__(
        self, *sources: object, runner: Runner | None = None, sender: Any = None, **options: Any
    ) -> tuple[Ended, Progress]:
        progress = Progress()
        return run_bulk(self.asked(*sources, **options), runner or InThisProcess(), progress, sender), progress

    def rows(self, out: Path | None = None) -> dict[str, dict[str, Any]]:
        found = [row for path in sorted((out or self.out).glob("part-*.parquet")) for row in table(path)]
        assert len({row["id"] for row in found}) == len(found)
        return {row["id"]: row for row in found}

    def bad(self) -> dict[str, str]:
        return {row["id"]: row["code"] for row in table(self.out / "bad.parquet")}


def table(path: Path) -> list[dict[str, Any]]:
    return parquet.read_table(path).to_pylist()


@pytest.fixture
def bulk(archives: list[Path], tmp_path: Path) -> Bulk:
    return Bulk(archives[0].parent, tmp_path / "out")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten pictures in two folders, one of them with sidecars."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for number in range(10):
        (folder / ("sub" if number % 2 else "") / f"p{number}.jpg").write_bytes(jpeg(number))
    (folder / "p0.txt").write_text("a caption")
    (folder / "p0.json").write_text('{"year": 2024}')
    return folder
