"""Bulk beside a plain loop, killed and unbroken, and a sync of a collection that is in step.

    make bench-bulk

1,024 JPEGs of 640×480 go through a ViT-B/32 in int8, by a loop that decodes a batch and runs the tower, by
`clipserve bulk --no-ray`, and by `clipserve bulk` on Ray, in turns. The weights are random: the speed is that of
trained ones. Neither side is compiled. Rates leave out the start; the whole time stands beside them. The same run is
killed ten times at random moments, and its rows are compared with the unbroken one's. Texts in two sizes show whether
the driver's memory grows with them. Then 20,000 pictures are synced, and synced again.
The last line is one JSON document with `bars`.

clip-retrieval is measured where a virtual environment that has it is named: `--clip-retrieval DIR`. It runs the same
weights in float32.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks.bulk.driver import command, content, run, run_with_kills
from benchmarks.bulk.peer import clip_retrieval_rate
from benchmarks.bulk.sources import write_pictures, write_texts
from benchmarks.bulk.syncing import sync_figures
from benchmarks.lib.reports import finish, head, judge, options, show
from clip_core.model_spec import WEIGHTS_FILE
from scripts.archive.build import build
from scripts.archive.random_checkpoint import write_random
from scripts.progress import WorkProgress

BARS = {
    "bulk_over_loop": (0.85, "≥"),
    "bulk_over_clip_retrieval": (3.0, "≥"),
    "driver_memory_ratio": (1.2, "≤"),
    "rows_that_differ_after_kills": (0.0, "≤"),
    "sync_unchanged_s": (20.0, "≤"),
}
_BATCH, _ROUNDS, _KILLS = 32, 2, 10


def speed_figures(work: Path, archive: Path, count: int) -> dict[str, float]:
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
    loop = statistics.mean(loops)
    return {
        "loop_pictures_per_s": loop,
        "bulk_pictures_per_s": statistics.mean(on_ray),
        "bulk_without_ray_pictures_per_s": statistics.mean(plain),
        "bulk_whole_s": statistics.mean(whole),
        "bulk_over_loop": statistics.mean(on_ray) / loop,
        "bulk_without_ray_over_loop": statistics.mean(plain) / loop,
    }


def _loop(archive: Path, folder: Path) -> float:
    words = [sys.executable, "-P", "-m", "benchmarks.bulk.loop", str(archive), str(folder), str(_BATCH)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def kill_figures(work: Path, archive: Path, count: int) -> dict[str, float]:
    folder = write_pictures(work / "killed", count, (96, 72))
    more = ("--shard-items", "32", "--actors", "1")
    unbroken = run(command(folder, archive, work / "unbroken", *more))
    words = command(folder, archive, work / "broken", *more)
    hit = run_with_kills(words, _KILLS, unbroken.seconds, 7)
    one, other = content(work / "unbroken"), content(work / "broken")
    differing = len(set(one) ^ set(other)) + abs(len(one) - len(other))
    return {"kills_that_hit": float(hit), "rows": float(len(one)), "rows_that_differ_after_kills": float(differing)}


def memory_figures(work: Path, archive: Path, few: int) -> dict[str, float]:
    most: list[int] = []
    for count in (few, 10 * few):
        source = write_texts(work / f"texts-{count}.parquet", count)
        words = command(source, archive, work / f"texts-{count}", "--embed", "text", "--batch", "256", "--actors", "1")
        most.append(run([*words, "--shard-items", "4096"]).driver_bytes)
    return {
        "texts": float(10 * few),
        "driver_mb": most[1] / 1e6,
        "driver_memory_ratio": most[1] / most[0],
    }


def main() -> None:
    """Measure, print, and save when asked to."""
    parser = options(__doc__)
    parser.add_argument("--pictures", type=int, default=1024, help="of 640×480, for the rates")
    parser.add_argument("--texts", type=int, default=100_000, help="and ten times as many, for the driver's memory")
    parser.add_argument("--synced", type=int, default=20_000, help="pictures of the sync")
    parser.add_argument("--clip-retrieval", type=Path, help="a virtual environment that has it")
    parser.add_argument("--phases", nargs="*", default=["speed", "kills", "memory", "sync"])
    given, console = parser.parse_args(), Console()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as folder:
        work = Path(folder)
        if "speed" in given.phases:
            weights = write_random(work / "weights", "ViT-B-32")
            how = {"precision": "int8", "compile": False, "model_store": work / "vit"}
            build("vit-b-32", checkpoint=weights, progress=WorkProgress(console), **how)  # type: ignore[arg-type]
            figures |= speed_figures(work, work / "vit" / "clip_image.mar", given.pictures)
            if given.clip_retrieval is not None:
                file = weights / WEIGHTS_FILE
                peer = clip_retrieval_rate(given.clip_retrieval, file, work, given.pictures // 4, _BATCH)
                figures["clip_retrieval_pictures_per_s"] = peer
                figures["bulk_over_clip_retrieval"] = figures["bulk_pictures_per_s"] / peer
            console.print(figures)
        if {"kills", "memory"} & set(given.phases):
            build("demo", model_store=work / "demo", quick=True, progress=WorkProgress(console))
        if "kills" in given.phases:
            figures |= kill_figures(work, work / "demo" / "clip_image.mar", 600)
            console.print(figures)
        if "memory" in given.phases:
            figures |= memory_figures(work, work / "demo" / "clip_text.mar", given.texts)
            console.print(figures)
        if "sync" in given.phases:
            figures |= sync_figures(work, given.synced)
    show(figures, BARS, console)
    finish({**head("bulk", "make bench-bulk"), "figures": figures, "bars": judge(figures, BARS)}, given.save)


if __name__ == "__main__":
    main()
