"""ViT-B/32 with random weights, served by us and by Infinity's torch engine: the same requests, one stack at a time.

Random weights give the same speed as trained ones, and need no network. Infinity lives in a venv of its own, because it
pins an older torch; `python -m scripts.infinity_peer DIR` makes that venv.
"""

from __future__ import annotations

import base64
import io
import statistics
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.load import together
from scripts.archive_build import MODEL_STORE, read_spec
from scripts.infinity_peer import checkpoint as peer_checkpoint
from scripts.live_stack import free_ports, live_stack
from scripts.random_checkpoint import write_random

TEXTS = [
    f"a photo of a {color} {thing}" for color in ("red", "green", "blue") for thing in ("dog", "car", "house", "cup")
]
Figures = dict[str, Any]


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


def against_infinity(directory: Path, python: Path, model: str, seconds: float) -> Figures:
    """Images a second at 16 clients and short texts a second at 32, ours over theirs."""
    ours, theirs = _ours(directory, model, seconds), _theirs(directory, python, seconds)
    figures: Figures = {f"{name}_ours": value for name, value in ours.items()}
    figures |= {f"{name}_infinity": value for name, value in theirs.items()}
    return figures | {f"{name}_over_infinity": ours[name] / theirs[name] for name in theirs}


def _load(url: str, model: str, seconds: float) -> dict[str, float]:
    images = [{"model": model, "input": [each], "modality": "image"} for each in pictures()]
    texts = [{"model": model, "input": [text]} for text in TEXTS]
    together(url, images, 4, min(seconds, 5.0))
    together(url, texts, 4, min(seconds, 5.0))
    rates = [(together(url, images, 16, seconds).rate, together(url, texts, 32, seconds).rate) for _ in range(3)]
    return {
        "images_per_s": statistics.median(image for image, _ in rates),
        "texts_per_s": statistics.median(text for _, text in rates),
    }


def _ours(directory: Path, model: str, seconds: float) -> dict[str, float]:
    weights = write_random(directory / "ours", "ViT-B-32")
    options = ("--model", model, "--checkpoint", str(weights), "--no-demo", "--startup-timeout", "600")
    with live_stack(directory / "stack", *options, env={"CLIPSERVE_HANDLER_CACHE": "false"}) as stack:
        stack.wait_ready(900)
        spec = read_spec(MODEL_STORE / "clip_image.mar")
        return _load(f"{stack.gateway}/v1/embeddings", spec.name if spec else model, seconds)


def _theirs(directory: Path, python: Path, seconds: float) -> dict[str, float]:
    weights = peer_checkpoint(directory / "theirs")
    with _infinity(python, weights) as url:
        return _load(url, "peer", seconds)


@contextmanager
def _infinity(python: Path, weights: Path) -> Iterator[str]:
    (port,) = free_ports(1)
    command = [str(python.parent / "infinity_emb"), "v2", "--model-id", str(weights), "--served-model-name", "peer"]
    command += ["--engine", "torch", "--device", "cpu", "--no-bettertransformer", "--port", str(port)]
    with (weights / "infinity.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, weights / "infinity.log")
        yield f"http://127.0.0.1:{port}/embeddings"
    finally:
        process.terminate()
        process.wait(30)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path, timeout_s: float = 300.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not _answers(url):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Infinity did not start:\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.5)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (OSError, urllib.error.URLError):
        return False
