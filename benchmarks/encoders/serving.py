"""The serving side of the encoder benchmark, with a real TorchServe and archives of random weights.

Worker start with the archive's compiled packages and without; images through TorchServe against decoding and the tower
in a loop of their own; the worker's memory in int8 and in float32; one text computed and from the cache.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import yaml
from rich.console import Console

from clip_core.towers.artifacts import DIRECTORY
from scripts.archive.build import build
from scripts.archive.mar_files import unpacked
from scripts.archive.random_checkpoint import write_random
from scripts.tune.load import alternate, together
from scripts.tune.requests import requests
from scripts.tune.trial_server import serving

CLIENTS, SECONDS, ROUNDS = 32, 8.0, 3
IMAGE = {"minWorkers": 1, "maxWorkers": 1, "threads": 2, "decode_threads": 2, "batchSize": 16, "maxBatchDelay": 5}
TEXT = {"minWorkers": 1, "maxWorkers": 1, "threads": 2, "batchSize": 1, "maxBatchDelay": 1}
SINGLE_WORKER_LOOP = """
import base64, itertools, json, sys, time
from pathlib import Path
import yaml
from clip_core.encode.encoders import Encoders
from clip_core.inputs.requests import Item, Part
from clip_core.settings import EndpointConfig
from scripts.tune.requests import requests
directory, seconds = Path(sys.argv[1]), float(sys.argv[2])
encoders = Encoders.load(directory, EndpointConfig.parse(yaml.safe_load((directory / "model-config.yaml").read_text())))
images = [Item((Part("image", base64.b64decode(body["input"]["image"])),)) for body in requests("image")]
batches = itertools.cycle([images[i : i + 16] for i in range(0, len(images) - 15, 16)])
encoders.warm_up()
encoders.encode(next(batches), cut_long_texts=[True] * 16)
done, started = 0, time.perf_counter()
while time.perf_counter() - started < seconds:
    done += len(encoders.encode(next(batches), cut_long_texts=[True] * 16))
print(json.dumps(done / (time.perf_counter() - started)))
"""


def measure_serving(architecture: str, console: Console) -> dict[str, float]:
    """Every figure of this module, by the name of its bar or of what it is."""
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as temporary, contextlib.ExitStack() as stack:
        work = Path(temporary)
        console.print("building archives of random weights in int8 and fp32")
        checkpoint = write_random(work / "checkpoint", architecture)
        int8 = _archives(architecture, checkpoint, "int8", work, stack)
        fp32 = _archives(architecture, checkpoint, "fp32", work, stack)
        return {
            **_images(int8["image"], console),
            **_memory(int8["image"], fp32["image"], console),
            **_start(int8["image"], console),
            **_cached(int8["text"], console),
        }


def _archives(
    architecture: str, checkpoint: Path, precision: str, work: Path, stack: contextlib.ExitStack
) -> dict[str, Path]:
    """Kind → its unpacked archive."""
    archives = build(architecture.lower(), checkpoint=checkpoint, precision=precision, model_store=work / precision)
    return {mar.stem.removeprefix("clip_"): stack.enter_context(unpacked(mar)) for mar in archives[:2]}


def _config(directory: Path, keys: dict[str, Any]) -> dict[str, Any]:
    return {**yaml.safe_load((directory / "model-config.yaml").read_text(encoding="utf-8")), **keys}


def _images(directory: Path, console: Console) -> dict[str, float]:
    """Images/s at 32 clients and in a loop of batches of 16, in turn; both decode the same 640×480 JPEGs."""
    config, bodies, served, looped, errors = _config(directory, IMAGE), requests("image"), [], [], 0
    for _ in range(ROUNDS):
        with serving(directory, "image", config) as url:
            together(url, bodies, CLIENTS, 2.0)
            load = together(url, bodies, CLIENTS, SECONDS)
        served.append(load.rate)
        errors += load.errors
        looped.append(_loop(directory))
        console.print(f"images/s: TorchServe {served[-1]:.1f}, loop {looped[-1]:.1f}")
    ratio = statistics.median(s / own for s, own in zip(served, looped, strict=True))
    return {
        "images/s through TorchServe at 32 clients ÷ decode and tower in a loop": ratio,
        "images/s through TorchServe, 32 clients": statistics.median(served),
        "images/s, decode and tower in a loop": statistics.median(looped),
        "errors": float(errors),
    }


def _loop(directory: Path) -> float:
    command = [sys.executable, "-c", SINGLE_WORKER_LOOP, str(directory), str(SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rate: float = json.loads(done.stdout.splitlines()[-1])
    return rate


def _memory(int8: Path, fp32: Path, console: Console) -> dict[str, float]:
    """Proportional set size of the worker after it has served, in MB."""
    sizes = {}
    for name, directory in (("int8", int8), ("fp32", fp32)):
        with serving(directory, "image", _config(directory, IMAGE)) as url:
            together(url, requests("image"), CLIENTS, 3.0)
            sizes[name] = sum(process.memory_full_info().pss for process in _workers()) / 1e6
        console.print(f"worker in {name}: {sizes[name]:.0f} MB")
    return {
        "resident memory of an int8 image worker ÷ fp32": sizes["int8"] / sizes["fp32"],
        "int8 image worker, MB": sizes["int8"],
        "fp32 image worker, MB": sizes["fp32"],
    }


def _workers() -> list[psutil.Process]:
    family = psutil.Process().children(recursive=True)
    return [child for child in family if "model_service_worker" in " ".join(child.cmdline())]


def _start(directory: Path, console: Console) -> dict[str, float]:
    """Seconds from starting TorchServe to its worker READY; without packages the worker compiles the tower itself."""
    config = _config(directory, IMAGE)
    shipped = statistics.median(_seconds_to_ready(directory, config) for _ in range(ROUNDS))
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as temporary:
        bare = Path(temporary) / "bare"
        shutil.copytree(directory, bare, ignore=shutil.ignore_patterns(DIRECTORY))
        without = _seconds_to_ready(bare, config)
    console.print(f"to READY: {shipped:.1f} s with packages, {without:.1f} s without")
    return {
        "worker start to READY, shipped packages ÷ none": shipped / without,
        "worker start to READY with packages, s": shipped,
        "worker start to READY without packages, s": without,
    }


def _seconds_to_ready(directory: Path, config: dict[str, Any]) -> float:
    started = time.perf_counter()
    with serving(directory, "image", config):
        return time.perf_counter() - started


def _cached(directory: Path, console: Console) -> dict[str, float]:
    """One client, one text a request: never seen before, and the same again, in turn."""
    same = [{"input": {"text": "a photo of a small red circle"}}] * 200
    new = [{"input": {"text": f"a photo of a small red circle {i:03}"}} for i in range(200)]
    with serving(directory, "text", _config(directory, TEXT), cache=True) as url:
        alternate([(url, same)], keep=False)  # until Java has compiled what it runs
        computed, cached = alternate([(url, new), (url, same)], keep=False)
    slow, fast = (statistics.median(load.latencies) for load in (computed, cached))
    console.print(f"one text: computed {slow:.2f} ms, cached {fast:.2f} ms")
    return {
        "one text, computed ÷ cached, through TorchServe": slow / fast,
        "one text computed through TorchServe, ms": slow,
        "one text cached through TorchServe, ms": fast,
    }
