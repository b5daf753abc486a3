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
import base64, itertools, json, sys, time, pathlib, yaml
from clip_core.encode.encoders import Encoders
from clip_core.inputs.request import Item, Part
from clip_core.endpoint_config import EndpointConfig
from scripts.tune.requests import requests
directory, seconds = pathlib.Path(sys.argv[1]), float(sys.argv[2])
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
        console.print("building archives of random weights in int8 and fp32")
        work, model = Path(temporary), architecture.lower()
        checkpoint, folders = write_random(work / "checkpoint", architecture), dict[str, Path]()
        for precision in ("int8", "fp32"):
            for mar in build(model, checkpoint=checkpoint, precision=precision, model_store=work / precision)[:2]:
                folders[f"{precision} {mar.stem}"] = stack.enter_context(unpacked(mar))
        int8, fp32, text = (folders[name] for name in ("int8 clip_image", "fp32 clip_image", "int8 clip_text"))
        figures = {**_images(int8), **_memory(int8, fp32), **_start(int8), **_cached(text)}
        console.print(figures)
        return figures


def _config(directory: Path, keys: dict[str, Any]) -> dict[str, Any]:
    return {**yaml.safe_load((directory / "model-config.yaml").read_text(encoding="utf-8")), **keys}


def _images(directory: Path) -> dict[str, float]:
    """Images/s at 32 clients and in a loop of batches of 16, in turn; both decode the same 640×480 JPEGs."""
    config, bodies, served, looped, errors = _config(directory, IMAGE), requests("image"), [], [], 0
    command = [sys.executable, "-c", SINGLE_WORKER_LOOP, str(directory), str(SECONDS)]
    for _ in range(ROUNDS):
        with serving(directory, "image", config) as url:
            together(url, bodies, CLIENTS, 2.0)
            load = together(url, bodies, CLIENTS, SECONDS)
        served.append(load.rate)
        errors += load.errors
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        looped.append(float(json.loads(done.stdout.splitlines()[-1])))
    ratio = statistics.median(s / own for s, own in zip(served, looped, strict=True))
    return {
        "images/s through TorchServe at 32 clients ÷ decode and tower in a loop": ratio,
        "images/s through TorchServe, 32 clients": statistics.median(served),
        "images/s, decode and tower in a loop": statistics.median(looped),
        "errors": float(errors),
    }


def _memory(int8: Path, fp32: Path) -> dict[str, float]:
    """Proportional set size of the worker after it has served, in MB."""
    sizes = {}
    for name, directory in (("int8", int8), ("fp32", fp32)):
        with serving(directory, "image", _config(directory, IMAGE)) as url:
            together(url, requests("image"), CLIENTS, 3.0)
            family = psutil.Process().children(recursive=True)
            workers = [child for child in family if "model_service_worker" in " ".join(child.cmdline())]
            sizes[f"{name} image worker, MB"] = sum(worker.memory_full_info().pss for worker in workers) / 1e6
    small, large = sizes.values()
    return {"resident memory of an int8 image worker ÷ fp32": small / large, **sizes}


def _start(directory: Path) -> dict[str, float]:
    """Seconds from starting TorchServe to its worker READY; without packages the worker compiles the tower itself."""
    shipped = statistics.median(_seconds_to_ready(directory) for _ in range(ROUNDS))
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as temporary:
        bare = Path(temporary) / "bare"
        shutil.copytree(directory, bare, ignore=shutil.ignore_patterns(DIRECTORY))
        without = _seconds_to_ready(bare)
    return {
        "worker start to READY, shipped packages ÷ none": shipped / without,
        "worker start to READY with packages, s": shipped,
        "worker start to READY without packages, s": without,
    }


def _seconds_to_ready(directory: Path) -> float:
    config, started = _config(directory, IMAGE), time.perf_counter()
    with serving(directory, "image", config):
        return time.perf_counter() - started


def _cached(directory: Path) -> dict[str, float]:
    """One client, one text a request: never seen before, and the same again, in turn."""
    same = [{"input": {"text": "a photo of a small red circle"}}] * 200
    new = [{"input": {"text": f"a photo of a small red circle {i:03}"}} for i in range(200)]
    with serving(directory, "text", _config(directory, TEXT), cache=True) as url:
        alternate([(url, same)], keep=False)  # until Java has compiled what it runs
        computed, cached = alternate([(url, new), (url, same)], keep=False)
    slow, fast = (statistics.median(load.latencies) for load in (computed, cached))
    return {
        "one text, computed ÷ cached, through TorchServe": slow / fast,
        "one text computed through TorchServe, ms": slow,
        "one text cached through TorchServe, ms": fast,
    }
