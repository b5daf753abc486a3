"""The captioner behind TorchServe: continuous batching beside the same scheduler in this process, and static batches.

coca_ViT-B-32 of random weights in fp32, compiled, greedy; its captions never end by themselves, so each request asks
for as many tokens as captions of people have (mean 13, at most 25). The static arm is the same handler without
`continuousBatching`: a batch is captioned to its end before the next one begins. `mixed` is the same load of requests
that differ in method and length.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import math
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import numpy as np
import orjson
import yaml
from PIL import Image
from rich.console import Console

from clip_core.captions.ask import CaptionAsk
from clip_core.captions.captioner import Captioner
from clip_core.captions.scheduler import Scheduler
from clip_core.cores import available_cores
from clip_core.inputs.images import decode
from scripts.archive.build import stage_folder
from scripts.tune.load import each_once, in_process
from scripts.tune.trial_server import serving

CLIENTS = 32
BARS = {
    "served_over_in_process": (0.85, "≥"),
    "p50_over_static_at_70_percent": (0.7, "≤"),
    "first_token_over_whole": (0.5, "≤"),
}
_CAPTIONS, _ROUNDS = 128, 3  # of a throughput, which is the median of so many
_LOAD, _LOAD_S = 0.7, 60.0
_STREAMS = 12
Body = dict[str, Any]
_KINDS: tuple[Body, ...] = ({"method": "greedy"}, {"method": "beam"}, {"method": "sample", "seed": 1})


def staged(checkpoint: Path, folder: Path) -> Path:
    """A CoCa in the hub's layout, compiled → what an archive of it is packed from."""
    stage_folder(str(checkpoint), "caption", folder, captioner_compile=True)
    return folder


def measure(folder: Path, console: Console) -> dict[str, float]:
    """`folder`: what `staged` made; it is used up."""
    config = yaml.safe_load((folder / "model-config.yaml").read_text(encoding="utf-8"))
    archive, bodies, mixed = unpacked(folder), list(_bodies(_CAPTIONS)), list(_mixed(_CAPTIONS))
    in_process_rate = _in_process(archive, bodies)
    console.print(f"in process {in_process_rate:.2f} captions/s")
    with serving(archive, "caption", config) as url:
        each_once(url, bodies[:CLIENTS], CLIENTS)
        served = [each_once(url, bodies, CLIENTS) for _ in range(_ROUNDS)]
        served_rate = statistics.median(each.rate for each in served)
        console.print(f"served {served_rate:.2f} captions/s, {sum(each.errors for each in served)} errors")
        per_s, mixed_per_s = _LOAD * served_rate, _LOAD * each_once(url, mixed, CLIENTS).rate
        continuous = in_process(_poisson, url, bodies, per_s, _LOAD_S)
        continuous_mixed = in_process(_poisson, url, mixed, mixed_per_s, _LOAD_S)
        firsts, wholes = in_process(_streams, url, bodies[:_STREAMS])
    with serving(archive, "caption", {**config, "continuousBatching": False}) as url:
        each_once(url, bodies[:CLIENTS], CLIENTS)
        static_rate = each_once(url, bodies, CLIENTS).rate
        static = in_process(_poisson, url, bodies, per_s, _LOAD_S)
        static_mixed = in_process(_poisson, url, mixed, mixed_per_s, _LOAD_S)
    return {
        "captions_per_s_in_process": in_process_rate,
        "captions_per_s_served": served_rate,
        "captions_per_s_static": static_rate,
        "served_over_in_process": served_rate / in_process_rate,
        **_latencies("", continuous, static),
        **_latencies("_mixed", continuous_mixed, static_mixed),
        "first_token_ms": statistics.median(firsts),
        "first_token_over_whole": statistics.median(map(float.__truediv__, firsts, wholes)),
    }


def _latencies(load: str, continuous: list[float], static: list[float]) -> dict[str, float]:
    return {
        f"p50_ms_continuous{load}": statistics.median(continuous),
        f"p50_ms_static{load}": statistics.median(static),
        f"p99_ms_continuous{load}": statistics.quantiles(continuous, n=100)[98],
        f"p99_ms_static{load}": statistics.quantiles(static, n=100)[98],
        f"p50{load}_over_static_at_70_percent": statistics.median(continuous) / statistics.median(static),
    }


def unpacked(staged: Path) -> Path:
    """What `stage_folder` wrote, as TorchServe unpacks an archive."""
    folder = staged / "files"
    (folder / "MAR-INF").mkdir()
    (staged / "caption_handler.py").rename(folder / "caption_handler.py")
    model = {"modelName": "clip_caption", "handler": "caption_handler.py", "modelVersion": "1.0"}
    manifest = {"createdOn": "", "runtime": "python", "model": {**model, "configFile": "model-config.yaml"}}
    (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def _bodies(count: int) -> Iterator[Body]:
    random, pixels = Random(5), np.random.default_rng(5)
    for _ in range(count):
        file = io.BytesIO()
        Image.fromarray(pixels.integers(0, 256, (240, 320, 3), dtype=np.uint8)).save(file, "JPEG")
        tokens = min(25, max(6, round(random.gauss(13, 4)))) + 2
        settings = {"method": "greedy", "max_tokens": tokens}
        yield {"image": base64.b64encode(file.getvalue()).decode("ascii"), "caption": settings}


def _mixed(count: int) -> Iterator[Body]:
    """As callers differ: half greedy, a third beams, the others samples, from a few words to the whole context."""
    random = Random(6)
    for body in _bodies(count):
        kind: Body = random.choices(_KINDS, weights=(3, 2, 1))[0]
        tokens = round(math.exp(random.uniform(math.log(6), math.log(76))))
        yield {**body, "caption": {**kind, "max_tokens": tokens, "min_tokens": 0}}


def _in_process(checkpoint: Path, bodies: list[Body]) -> float:
    """Captions/s of the scheduler alone, from pictures' bytes on, with as many under way as there are clients."""
    captioner = Captioner.load(checkpoint, compiled=True, threads=available_cores())
    _captioned(captioner, bodies[:CLIENTS])
    rates = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        _captioned(captioner, bodies)
        rates.append(len(bodies) / (time.perf_counter() - started))
    return statistics.median(rates)


def _captioned(captioner: Captioner, bodies: list[Body]) -> None:
    scheduler, under_way = Scheduler(captioner, CLIENTS, CLIENTS), 0
    waiting = iter(enumerate(bodies))
    while True:
        while under_way < CLIENTS and (given := next(waiting, None)) is not None:
            place, body = given
            pixels = captioner.transform(decode(base64.b64decode(body["image"])))
            scheduler.add(str(place), pixels, CaptionAsk(**body["caption"]))
            under_way += 1
        if not under_way:
            return
        under_way -= sum(event.captions is not None for event in scheduler.run(4))


async def _poisson(url: str, bodies: list[Body], per_s: float, seconds: float) -> list[float]:
    """Milliseconds of each answer; requests leave by chance at `per_s`, whether or not earlier ones were answered."""
    random, packed, tasks = Random(9), [orjson.dumps(body) for body in bodies], list[asyncio.Task[float]]()
    due = started = time.perf_counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        while due < started + seconds:
            await asyncio.sleep(due - time.perf_counter())
            tasks.append(asyncio.create_task(_answered(session, url, packed[len(tasks) % len(packed)])))
            due += random.expovariate(per_s)
        return list(await asyncio.gather(*tasks))


async def _answered(session: aiohttp.ClientSession, url: str, body: bytes) -> float:
    started = time.perf_counter()
    async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
        await answer.read()
        answer.raise_for_status()
    return (time.perf_counter() - started) * 1e3


async def _streams(url: str, bodies: list[Body]) -> tuple[list[float], list[float]]:
    """Milliseconds to the first word and to the end of each, one after the other."""
    firsts, wholes = [], []
    async with aiohttp.ClientSession() as session:
        for body in bodies:
            started, first = time.perf_counter(), 0.0
            async with session.post(url, json={**body, "stream": True}) as answer:
                async for line in answer.content:
                    first = first or (time.perf_counter() - started if b"delta" in line else 0.0)
            firsts.append(first * 1e3)
            wholes.append((time.perf_counter() - started) * 1e3)
    return firsts, wholes
