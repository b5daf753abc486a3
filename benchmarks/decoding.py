"""JPEG bytes → pixels for ViT-B/32: open_clip's transform on one thread against ours, on one thread and on several.

    python -m benchmarks.decoding

640×480 JPEGs of seeded noise over smooth colour; each row is the best of five passes over 64 pictures. "pixels differ"
is the largest difference to open_clip's own. The last line is one JSON document.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.machine import machine
from clip_core.inputs.decoding import Decoder
from clip_core.inputs.images import decode, decode_unguarded, pil_warnings_ignored
from clip_core.inputs.preprocessing import Preprocessing
from scripts.tune.requests import COUNT, photographs

SIDE = 224


def best_ms(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Milliseconds an image, and what came out."""
    result, seconds = work(), []
    for _ in range(5):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds) / COUNT * 1e3, result


def measure(pictures: list[bytes]) -> list[dict[str, object]]:
    config = PreprocessCfg(size=SIDE)
    reference, ours = image_transform_v2(config, is_train=False), Preprocessing.parse(vars(config))
    rows = []

    def add(name: str, work: Callable[[], Tensor]) -> None:
        ms, pixels = best_ms(work)
        normal = ours.normalize(pixels) if pixels.dtype == torch.uint8 else pixels
        rows.append({"path": name, "ms": round(ms, 3), "pixels differ": float((normal - expected).abs().max())})

    expected = torch.stack([reference(decode(data)) for data in pictures])
    add("open_clip's transform", lambda: torch.stack([reference(decode(data)) for data in pictures]))
    add("float32, 1 thread", lambda: torch.stack([ours.float32(decode(data)) for data in pictures]))
    for threads in (1, 2, 4):
        for draft in (None, (SIDE, SIDE)):
            decoder = Decoder(threads)
            name = f"uint8, {threads} threads" + (", draft" if draft else "")
            add(name, lambda: _all(decoder, pictures, lambda d: ours.uint8(decode_unguarded(d, draft=draft))))  # noqa: B023
    return rows


def _all(decoder: Decoder, pictures: list[bytes], prepare: Callable[[bytes], Tensor]) -> Tensor:
    return torch.stack(list(decoder.map(prepare, pictures)))


def main() -> None:
    with pil_warnings_ignored():
        rows = measure(photographs())
    table = Table("path", "ms an image", "pixels differ")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)
    print(json.dumps({"benchmark": "decoding", "machine": machine(), "rows": rows}))


if __name__ == "__main__":
    main()
