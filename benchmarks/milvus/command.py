"""Collections whose record is Milvus against Milvus' own Python client, on one real server of this machine.

    make bench-milvus

Both ask the same server, in turn, for the same vectors from a seeded generator, with the same index and the same
consistency. Searches of both are of the very same collection. The client's upserts go into a collection of ids,
vectors and metadata alone; ours also write what filters need. Then: the collection as it grows, in Milvus and in the
embedded store; memory of the index service; writes of one replica seen by another; a collection moved to Milvus and
back in use. The last line is one JSON document with `bars`. A larger collection adds a row to the table of growth:

    python -m benchmarks.milvus --only growth embedded --rows 1000000 --save      # 30 minutes, 8 GB of disk
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.index.data import DIM, make
from benchmarks.index.live import LiveIndex
from benchmarks.lib.milvus_server import MilvusServer
from benchmarks.lib.reports import finish, head, judge, options, show
from benchmarks.milvus import pages
from benchmarks.milvus.growth import InMilvus, embedded, named
from benchmarks.milvus.moving import move_in_use
from benchmarks.milvus.peer import PREFIX, PymilvusPeer
from benchmarks.milvus.replicas import missed
from clip_core.wire import FloatArray

FIRST, ROWS, QUERIES, TURNS = 10_000, 300_000, 320, 5
SECTIONS = ("upserts", "growth", "replicas", "move", "embedded")


def bars(rows: int) -> dict[str, tuple[float, str]]:
    """Searches are judged on the smallest collection and on the largest."""
    sizes = dict.fromkeys((named(FIRST), named(rows)))
    return {
        **{f"search_{at}_vs_pymilvus_p50": (1.15, "≤") for at in sizes},
        **{f"search_batch_16_{at}_vs_pymilvus_p50": (1.15, "≤") for at in sizes},
        "upserts_vs_pymilvus": (0.85, "≥"),
        "memory_at_all_rows_vs_10k": (1.1, "≤"),
        "writes_of_one_replica_missed_by_the_other": (0.0, "≤"),
        "move_failed_requests": (0.0, "≤"),
        "move_lost_items": (0.0, "≤"),
    }


class Sections:
    """Figures, printed as each section ends."""

    def __init__(self, console: Console) -> None:
        self.figures: dict[str, float] = {}
        self._console, self._started = console, time.monotonic()

    def add(self, section: str, figures: dict[str, float]) -> None:
        self.figures |= figures
        shown = {name: round(value, 3) for name, value in figures.items()}
        self._console.print(f"{time.monotonic() - self._started:.0f} s, {section}: {shown}", highlight=False)


def upserts(live: LiveIndex, peer: PymilvusPeer, images: FloatArray) -> dict[str, float]:
    """Vectors a second of both, in turn."""
    theirs, ours, step = list[float](), list[float](), len(images) // TURNS
    for start in range(0, len(images), step):
        theirs.append(peer.fill(images[start : start + step], first=start))
        ours.append(live.fill(images[start : start + step], first=start))
    one, other = statistics.median(ours), statistics.median(theirs)
    return {"upserts_per_s": one, "upserts_pymilvus_per_s": other, "upserts_vs_pymilvus": one / other}


def measure(rows: int, moved: int, tries: int, sections: Sequence[str], console: Console) -> dict[str, float]:
    """The sections that are asked for."""
    images, queries = make(max(rows, moved, FIRST), QUERIES)
    steps = sorted({FIRST, *(step for step in (100_000,) if step < rows), rows})
    report = Sections(console)
    with tempfile.TemporaryDirectory(prefix="clipserve-milvus-") as temporary:
        folder = Path(temporary)
        (folder / "milvus").mkdir()
        with MilvusServer(folder / "milvus") as server:
            given = {"MILVUS_URI": server.uri, "MILVUS_PREFIX": PREFIX, "STORE": "milvus", "MILVUS_TIMEOUT_S": 60}
            with LiveIndex(folder / "a", **given) as live, LiveIndex(folder / "b", **given) as second:
                live.create(DIM)
                peer = PymilvusPeer(server)
                if "upserts" in sections:
                    report.add("upserts", upserts(live, peer, images[:FIRST]))
                if "growth" in sections:
                    grown = InMilvus(live, peer, server, FIRST if "upserts" in sections else 0)
                    for step in steps:
                        report.add(f"{step} rows", grown.grow(images, queries, step))
                    memory = [report.figures[f"index_service_memory_{named(step)}_mb"] for step in (FIRST, rows)]
                    report.add("memory", {"memory_at_all_rows_vs_10k": memory[1] / memory[0]})
                if "replicas" in sections:
                    lost = missed(live, second, images, tries)
                    report.add("replicas", {"writes_of_one_replica_missed_by_the_other": float(lost)})
                if "move" in sections:
                    report.add("move", move_in_use(live, images[:moved], folder, console))
        if "embedded" in sections:
            report.add("embedded", embedded(folder / "c", images, queries, steps))
    return report.figures


def main() -> None:
    """Measure, print, and save when asked to."""
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--moved", type=int, default=100_000)
    parser.add_argument("--tries", type=int, default=1000, help="writes of one replica, each looked for by the other")
    parser.add_argument("--only", nargs="*", choices=SECTIONS, default=SECTIONS, help="these sections")
    given, console, started = parser.parse_args(), Console(), time.monotonic()
    figures, limits = measure(given.rows, given.moved, given.tries, given.only, console), bars(given.rows)
    show(figures, limits, console)
    whole = given.rows == ROWS and set(given.only) == set(SECTIONS)
    command = f"python -m benchmarks.milvus --only {' '.join(given.only)} --rows {given.rows}"
    name, command = ("milvus", "make bench-milvus") if whole else (f"milvus-{named(given.rows)}", command)
    report = {**head(name, command), "figures": figures, "rows": given.rows, "moved": given.moved, "tries": given.tries}
    report |= {"seconds": round(time.monotonic() - started), "bars": judge(figures, limits)}
    finish(report, given.save)
    if given.save:
        pages.write()
