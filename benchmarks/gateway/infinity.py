"""ViT-B/32 with random weights, served by us in int8 and by Infinity's torch engine: the same requests in turn.

Random weights give the same speed as trained ones, and need no network. `infinity_peer.py` makes the peer and our
archives. Both servers run all the time with the settings that they bring, so that rounds alternate; the one that is not
asked does nothing. The vectors of both are compared, since speed says nothing without them. Infinity tells the size of
each of its batches in its log.
"""

from __future__ import annotations

import base64
import io
import os
import re
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gateway.infinity_peer import Peer
from benchmarks.lib.waiting import answers, until
from benchmarks.stack.ready_stack import UNCACHED
from scripts.archive.places import ARCHIVE_DIR, endpoint_config
from scripts.stack.live_stack import LiveStack, free_ports, live_stack
from scripts.tune.load import Load, alternate, together

MODEL = "vit-b-32"
THINGS = ("dog", "car", "house", "cup")
TEXTS = [f"a photo of a {color} {thing}" for color in ("red", "green", "blue") for thing in THINGS]
CLIENTS = {"images": 16, "texts": 32}
SETTLE_S = 1.0
Figures = dict[str, float]


def pictures(count: int = 32) -> list[str]:
    """640×480 JPEGs of smooth noise, fixed seed, as data: URIs."""
    from PIL import Image

    random, made = np.random.default_rng(0), []
    for _ in range(count):
        small = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        small.resize((640, 480), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        made.append("data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode())
    return made


@dataclass(frozen=True)
class Server:
    """One of the two, and what it is asked: one input a request."""

    url: str
    model: str

    def bodies(self, what: str) -> list[dict[str, Any]]:
        inputs = pictures() if what == "images" else TEXTS
        return [{"model": self.model, "input": [each], "modality": what.rstrip("s")} for each in inputs]

    def load(self, what: str, seconds: float) -> Load:
        time.sleep(SETTLE_S)
        return together(self.url, self.bodies(what), CLIENTS[what], seconds)


def against_infinity(directory: Path, peer: Peer, seconds: float, rounds: int) -> tuple[Figures, dict[str, Any]]:
    """Figures by name, and what the two ran with."""
    with _infinity(peer) as url, _ours(directory, peer) as stack:
        theirs, ours = Server(url, "peer"), Server(f"{stack.gateway}/v1/embeddings", MODEL)
        figures: Figures = {f"{what}_least_cosine": _least_cosine(ours, theirs, what) for what in CLIENTS}
        before = peer.log.stat().st_size
        for what in CLIENTS:
            figures |= _rates(ours, theirs, what, seconds, rounds)
    sizes = batch_sizes(peer.log.read_bytes()[before:].decode("utf-8", errors="replace"))
    setup = {"ours": _our_setup(), "infinity": {**peer.versions(), "batch_sizes": sizes}}
    return figures, setup


def _rates(ours: Server, theirs: Server, what: str, seconds: float, rounds: int) -> Figures:
    """Medians of rounds in which each had its turn."""
    for server in (ours, theirs):
        server.load(what, min(seconds, 3.0))
    loads = [(ours.load(what, seconds), theirs.load(what, seconds)) for _ in range(rounds)]
    return {
        f"{what}_errors_ours": float(sum(our.errors for our, _ in loads)),
        f"{what}_errors_infinity": float(sum(their.errors for _, their in loads)),
        f"{what}_per_s_ours": statistics.median(our.rate for our, _ in loads),
        f"{what}_per_s_infinity": statistics.median(their.rate for _, their in loads),
        f"{what}_per_s_over_infinity": statistics.median(our.rate / their.rate for our, their in loads),
    }


def _least_cosine(ours: Server, theirs: Server, what: str) -> float:
    """Of the vectors that the two give for the same inputs; theirs are float32."""
    loads = alternate([(server.url, server.bodies(what)) for server in (ours, theirs)])
    mine, others = (np.array([body["data"][0]["embedding"] for body in load.bodies]) for load in loads)
    return float((mine * others).sum(axis=1).min())


def batch_sizes(log: str) -> dict[str, float]:
    """Number and mean size of the batches that Infinity's debug log tells of, and the largest."""
    sizes = [int(size) for size in re.findall(r"Inference on batch_size=(\d+)", log)]
    return {"batches": len(sizes), "mean": round(statistics.fmean(sizes), 1), "largest": max(sizes)} if sizes else {}


def _our_setup() -> dict[str, Any]:
    """The keys of each endpoint that decide how the cores are used."""
    keys = ("minWorkers", "threads", "decode_threads", "batchSize", "maxBatchDelay")
    configs = {kind: endpoint_config(kind, ARCHIVE_DIR / MODEL) for kind in ("text", "image")}
    return {"precision": "int8", **{kind: {k: c[k] for k in keys if k in c} for kind, c in configs.items()}}


@contextmanager
def _ours(directory: Path, peer: Peer) -> Iterator[LiveStack]:
    options = ["--model", MODEL, "--checkpoint", str(peer.our_weights), "--precision", "int8"]
    options += [
        "--model-store",
        str(peer.model_store),
        "--no-demo",
        "--no-background-build",
        "--startup-timeout",
        "600",
    ]
    with live_stack(directory, *options, env=UNCACHED) as stack:
        stack.wait_ready(1200)
        yield stack


@contextmanager
def _infinity(peer: Peer) -> Iterator[str]:
    (port,) = free_ports(1)
    command = [str(peer.command), "v2", "--model-id", str(peer.checkpoint), "--served-model-name", "peer"]
    command += ["--engine", "torch", "--device", "cpu", "--no-bettertransformer", "--log-level", "debug"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    with peer.log.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=offline)
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/health"), 300, lambda: _fault(peer.log), process)
        yield f"http://127.0.0.1:{port}/embeddings"
    finally:
        process.terminate()
        process.wait(30)


def _fault(log: Path) -> str:
    return f"Infinity did not start:\n{log.read_text(errors='replace')[-3000:]}"
