"""A folder of photos from the first `clipserve ingest` to the page that shows them.

    make bench-pictures

1,000 photos of 12 megapixels in nested folders, one of twenty unreadable, go into a demo stack, twice.
The peer is a plain loop on as many processes as there are cores: it decodes the same files as the model's worker does
and makes the same thumbnails. The page is opened and scrolled in a headless Chromium over a collection of 100,000.
Quality stands beside speed: which files were lost or wrongly failed, how near the vectors are to open_clip's own of the
photos decoded whole, and what the demo model tells apart (`benchmarks/drawings`). The last line is one JSON document
with `bars`.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks.drawings.measure import measure as measure_drawings
from benchmarks.lib.reports import finish, head, judge, options, show
from benchmarks.pictures.fidelity import least_cosine
from benchmarks.pictures.ingest import COLLECTION, ingest_figures
from benchmarks.pictures.items import item_figures
from benchmarks.pictures.loop import pictures_per_s
from benchmarks.pictures.page import fill, page_figures, settle
from benchmarks.pictures.photos import make_folder
from benchmarks.stack.ready_stack import ready_stack
from scripts.demo.evaluate import ARCHIVE

BARS = {
    "files_lost": (0.0, "≤"),
    "files_wrongly_failed": (0.0, "≤"),
    "ingest_over_loop": (0.8, "≥"),
    "least_cosine": (0.9999, "≥"),
    "ingest_again_s": (3.0, "≤"),
    "first_picture_ms": (800.0, "≤"),
    "longest_task_ms": (50.0, "≤"),
    "most_nodes": (2000.0, "≤"),
    "thumbnail_p50_ms": (3.0, "≤"),
    "upload_metadata_bytes": (200.0, "≤"),
    "patch_p50_ms": (2.0, "≤"),
    "patches_per_s": (20_000.0, "≥"),
    "plain_drawings_right_of_12": (11.0, "≥"),
    "readme_searches_right": (1.0, "≥"),
}
BIG = 100_000


def measure(work: Path, count: int, console: Console) -> dict[str, float]:
    with console.status("drawing photos") as status:
        folder = make_folder(work / "photos", count, lambda made: status.update(f"drawing photos: {made} of {count}"))
    roots = {"CLIPSERVE_GATEWAY_IMAGE_ROOTS": f"big={folder.root}"}
    loop = [pictures_per_s(folder.good[: count // 5])]
    with ready_stack(work / "stack", env=roots) as stack:
        figures = ingest_figures(stack, folder, work)
        figures["least_cosine"] = least_cosine(stack, folder)
        console.print(figures)
        figures |= item_figures(stack)
        console.print(figures)
        fill(stack, "big", BIG, COLLECTION)
        settle(stack)
        figures |= page_figures(stack, "big")
    loop.append(pictures_per_s(folder.good[: count // 5]))
    figures["loop_pictures_per_s"] = statistics.mean(loop)
    figures["ingest_over_loop"] = figures["ingest_pictures_per_s"] / figures["loop_pictures_per_s"]
    demo: dict[str, float] = measure_drawings(ARCHIVE, console)["figures"]
    return figures | demo


def main() -> None:
    """Measure, print, and save when asked to."""
    parser = options(__doc__)
    parser.add_argument("--photos", type=int, default=1000, help="files in the folder")
    given, console = parser.parse_args(), Console()
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as work:
        figures = measure(Path(work), given.photos, console)
    show(figures, BARS, console)
    finish({**head("pictures", "make bench-pictures"), "figures": figures, "bars": judge(figures, BARS)}, given.save)
