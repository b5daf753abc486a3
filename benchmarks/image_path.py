"""Where one image's time goes: a lone JPEG's request in this process, by the functions that serve it.

    python -m benchmarks.image_path                 # the demo model as its archive is built
    python -m benchmarks.image_path DIRECTORY       # an unpacked image archive

640×480 JPEGs as `data:` URIs in JSON, batches of one, no cache, no TorchServe. Medians of 300 requests, each step timed
in each of them; "share" is of the sum of the medians. What is counted and summed of a batch has a row, its
reports left out. The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from clip_core.encode.encoded import Encoded
from clip_core.encode.encoders import Encoders
from clip_core.inputs.images import decode_unguarded, pil_warnings_ignored
from clip_core.inputs.preprocessing import Preprocessing
from clip_core.inputs.requests import Accepts, Item, Request, parse_row
from clip_core.model_spec import CONFIG_FILE
from clip_core.serving.answers import Answer, EncodeResult, render
from clip_core.serving.batch_handler import BatchHandler
from clip_core.serving.batch_log import BatchLog, HandledBatch
from clip_core.serving.metrics import WorkerMetrics
from clip_core.settings import EndpointConfig
from clip_core.wire import unit
from scripts.archive.build import build, unpacked
from scripts.tune.requests import photographs

REQUESTS, WARM_UPS = 300, 20
ACCEPTS = Accepts(frozenset({"image"}), "image", 256)
T = TypeVar("T")


class Laps:
    """Seconds of each step, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def __call__(self, step: str, work: Callable[[], T]) -> T:
        started = time.perf_counter()
        result = work()
        self.seconds.setdefault(step, []).append(time.perf_counter() - started)
        return result

    def rows(self) -> list[dict[str, Any]]:
        medians = {step: statistics.median(laps) * 1e3 for step, laps in self.seconds.items()}
        total = sum(medians.values())
        return [{"step": step, "ms": round(ms, 4), "share": round(ms / total, 4)} for step, ms in medians.items()]


class ImagePath:
    """One request after another through the encoders of an image archive."""

    def __init__(self, directory: Path, threads: int) -> None:
        self.encoders = Encoders.load(directory, EndpointConfig(threads=threads))
        self.encoders.warm_up()
        self.preprocessing = Preprocessing.from_config(directory / CONFIG_FILE)
        self.handler = BatchHandler()
        self.handler.encoders, self.handler.worker = self.encoders, "0"
        self.handler.metrics = WorkerMetrics({}, ("clip_image",))
        self.handler.batch_log = BatchLog(logging.getLogger("clipserve.handler"), interval_s=10.0, slow_s=2.0)

    def run(self, body: bytes, lap: Laps) -> Answer:
        image = self.encoders.image
        assert image is not None, "an image archive"
        request = lap("parse, base64 → bytes", lambda: parse_row({"body": body}, "application/json", ACCEPTS, None))
        assert isinstance(request, Request)
        (item,) = request.items
        assert isinstance(item, Item)
        data = item.parts[0].value
        assert isinstance(data, bytes)
        picture = lap("decode", lambda: decode_unguarded(data))
        cut = lap("resize and crop", lambda: self.preprocessing.geometry(picture))
        pixels = lap("tensor", lambda: torch.stack([self.preprocessing.uint8(cut)]))
        features = lap("tower", lambda: image.forward(pixels))
        vector = lap("normalise", lambda: unit(features.numpy()[0]))
        result = EncodeResult(Encoded(vector))
        answer = lap("answer", lambda: render(request, [result], self.encoders.spec, {}))
        lap("metrics and log", lambda: self._count(request, answer))
        return answer

    def _count(self, request: Request, answer: Answer) -> None:
        """By the handler itself, for a batch that went well."""
        stats = self.encoders.cache.stats
        self.encoders.tally.image.add(1, self.encoders.config.max_batch)
        self.handler.metrics.observe("clipserve_encode_seconds", 0.01)
        batch = HandledBatch([request], [answer], 0.01, stats, stats)
        self.handler._count(batch)
        self.handler.batch_log.add(batch)


def measure(path: ImagePath, pictures: list[bytes], requests: int = REQUESTS) -> list[dict[str, Any]]:
    """One row a step: its median in ms, and its share."""
    bodies = [json.dumps({"input": {"image": base64.b64encode(data).decode()}}).encode() for data in pictures]
    laps = Laps()
    with pil_warnings_ignored():
        for i in range(WARM_UPS):
            path.run(bodies[i % len(bodies)], Laps())
        for i in range(requests):
            path.run(bodies[i % len(bodies)], laps)
    return laps.rows()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        directory = arguments.directory
        if directory is None:
            store = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clipserve-bench-")))
            archives = build("demo", model_store=store)
            directory = stack.enter_context(unpacked(next(a for a in archives if a.stem == "clip_image")))
        path = ImagePath(directory, arguments.threads)
        rows = measure(path, photographs())
    table = Table("step", "ms", "share")
    for row in rows:
        table.add_row(row["step"], f"{row['ms']:.3f}", f"{row['share']:.1%}")
    Console(stderr=True).print(table)
    spec = path.encoders.spec
    facts = {"model": spec.name, "precision": spec.precision, "threads": arguments.threads, "requests": REQUESTS}
    print(json.dumps({"benchmark": "image_path", **facts, "machine": machine(), "rows": rows}))


if __name__ == "__main__":
    main()
