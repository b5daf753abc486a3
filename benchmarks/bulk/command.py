"""Bulk beside a plain loop, killed and unbroken, and a sync of a collection that is in step.

    make bench-bulk

1,024 JPEGs of 640×480 go through a ViT-B/32 in int8, by a loop that decodes a batch and runs the tower, by
`clipserve bulk --no-ray`, and by `clipserve bulk` on Ray, in turns. The weights are random: the speed is that of
trained ones. All three run the compiled archive that `archive build` packs by default (`--uncompiled` saves minutes).
Rates leave out the start; the whole time stands beside them. The same run is killed ten times at random moments, and
its rows are compared with the unbroken one's. Texts in two sizes show whether the driver's memory grows with them.
Then 20,000 pictures are synced, and synced again. The last line is one JSON document with `bars`.

clip-retrieval runs half of the pictures with the same weights in float32, in an environment of its own that
`make bench-bulk` makes. `PHASES="speed kills"` measures these alone; `GPU=1` is for a machine with a GPU (`gpu.py`).
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmarks.bulk import pages
from benchmarks.bulk.driver import Ran, command, content, run, run_with_kills
from benchmarks.bulk.gpu import BARS as GPU_BARS
from benchmarks.bulk.gpu import gpu_figures, no_gpu
from benchmarks.bulk.pages import BARS
from benchmarks.bulk.peer import clip_retrieval_rate
from benchmarks.bulk.sources import write_pictures, write_texts
from benchmarks.bulk.syncing import sync_figures
from benchmarks.lib.reports import finish, head, judge, options, saved, show
from clip_core.model_spec import WEIGHTS_FILE
from scripts.archive.build import build
from scripts.archive.random_checkpoint import write_random
from scripts.progress import WorkProgress

_BATCH, _ROUNDS, _KILLS, _SHARD = 32, 2, 10, 32
_PHASES = ("speed", "kills", "memory", "sync")


def speed_figures(work: Path, given: Namespace, console: Console) -> dict[str, float]:
    archive, weights = _vit(work, "int8", console, compile=not given.uncompiled)
    count = given.pictures
    folder = write_pictures(work / "pictures", count)
    loops, plain, on_ray, whole = list[float](), list[float](), list[float](), list[float]()
    for number in range(_ROUNDS):
        loops.append(_loop(archive, folder))
        ran = run(command(folder, archive, work / f"plain{number}", "--no-ray"))
        plain.append(count / ran.shard_seconds)
        ran = run(command(folder, archive, work / f"ray{number}"))
        on_ray.append(count / ran.shard_seconds)
        whole.append(ran.seconds)
    loops.append(_loop(archive, folder))
    loop, bulk = statistics.mean(loops), statistics.mean(on_ray)
    figures = {
        "loop_pictures_per_s": loop,
        "bulk_pictures_per_s": bulk,
        "bulk_without_ray_pictures_per_s": statistics.mean(plain),
        "bulk_whole_s": statistics.mean(whole),
        "bulk_over_loop": bulk / loop,
        "bulk_without_ray_over_loop": statistics.mean(plain) / loop,
    }
    if given.clip_retrieval is not None:
        peer = clip_retrieval_rate(given.clip_retrieval, weights, work, count // 2, _BATCH)
        figures |= {"clip_retrieval_pictures_per_s": peer, "bulk_over_clip_retrieval": bulk / peer}
    return figures


def _vit(work: Path, precision: str, console: Console, *, compile: bool = False) -> tuple[Path, Path]:
    """Its archive for pictures, and the file of its weights."""
    weights, store = write_random(work / "weights", "ViT-B-32"), work / "vit"
    progress = WorkProgress(console)
    build("vit-b-32", checkpoint=weights, model_store=store, progress=progress, precision=precision, compile=compile)
    return store / "clip_image.mar", weights / WEIGHTS_FILE


def _demo(work: Path, console: Console) -> Path:
    """Where its archives are."""
    build("demo", model_store=work / "demo", quick=True, captions=False, progress=WorkProgress(console))
    return work / "demo"


def _loop(archive: Path, folder: Path) -> float:
    words = [sys.executable, "-P", "-m", "benchmarks.bulk.loop", str(archive), str(folder), str(_BATCH)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def kill_figures(work: Path, store: Path, count: int) -> dict[str, float]:
    archive = store / "clip_image.mar"
    folder = write_pictures(work / "killed", count, (96, 72))
    more = ("--shard-items", str(_SHARD), "--actors", "1")
    run(command(folder, archive, work / "unbroken", *more))
    words = command(folder, archive, work / "broken", *more)
    hit = run_with_kills(words, work / "broken", _KILLS, count // _SHARD, 7)
    one, other = content(work / "unbroken"), content(work / "broken")
    differing = len(set(one) ^ set(other)) + abs(len(one) - len(other))
    return {"kills_that_hit": float(hit), "rows": float(len(one)), "rows_that_differ_after_kills": float(differing)}


def memory_figures(work: Path, store: Path, few: int) -> dict[str, float]:
    archive = store / "clip_text.mar"
    ran: list[Ran] = []
    for count in (few, 10 * few):
        source = write_texts(work / f"texts-{count}.parquet", count)
        words = command(source, archive, work / f"texts-{count}", "--embed", "text", "--batch", "256", "--actors", "1")
        ran.append(run([*words, "--shard-items", "4096"]))
    return {
        "texts": float(10 * few),
        "texts_per_s": 10 * few / ran[1].shard_seconds,
        "driver_mb": ran[1].driver_bytes / 1e6,
        "driver_memory_ratio": ran[1].driver_bytes / ran[0].driver_bytes,
    }


def main() -> None:
    """Measure, print, and save when asked to."""
    parser = options(__doc__)
    parser.add_argument("--pictures", type=int, default=1024, help="of 640×480, for the rates")
    parser.add_argument("--texts", type=int, default=100_000, help="and ten times as many, for the driver's memory")
    parser.add_argument("--synced", type=int, default=20_000, help="pictures of the sync")
    parser.add_argument(
        "--clip-retrieval", type=Path, help="a virtual environment that has it (make bench-bulk makes one)"
    )
    parser.add_argument("--uncompiled", action="store_true", help="the tower of the rates, which saves some minutes")
    parser.add_argument("--phases", nargs="*", default=list(_PHASES), choices=_PHASES)
    parser.add_argument("--gpu", action="store_true", help="on a GPU instead: JPEGs end to end beside the tower alone")
    given, console = parser.parse_args(), Console()
    if given.gpu and (why := no_gpu()):
        raise SystemExit(why)
    phases: dict[str, Callable[[Path], dict[str, float]]] = {
        "speed": lambda work: speed_figures(work, given, console),
        "kills": lambda work: kill_figures(work, _demo(work, console), 6000),
        "memory": lambda work: memory_figures(work, _demo(work, console), given.texts),
        "sync": lambda work: sync_figures(work, given.synced),
        "gpu": lambda work: gpu_figures(work, _vit(work, "bf16", console)[0], 8 * given.pictures),
    }
    name, bars = ("bulk-gpu", GPU_BARS) if given.gpu else ("bulk", BARS)
    figures: dict[str, float] = saved(name).get("figures", {}) if given.save else {}  # of phases not measured now
    for phase in ["gpu"] if given.gpu else given.phases:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as folder:
            figures |= phases[phase](Path(folder))
        figures[f"{phase}_took_s"] = time.monotonic() - began
        console.print({name: round(value, 3) for name, value in figures.items()})
    show(figures, bars, console)
    report = head("bulk", "make bench-bulk" + " GPU=1" * given.gpu)
    finish({**report, "benchmark": name, "figures": figures, "bars": judge(figures, bars)}, given.save)
    if given.save:
        pages.write()
