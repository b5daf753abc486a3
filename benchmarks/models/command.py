"""Models of one's own: from a hub to the first search, a second one beside the first, every form, every client.

    make bench-models

A ViT-B/32 of random weights comes from a hub on loopback into `clipserve up`, with its defaults: quick archives
first, the compiled ones in the background. In another stack, a second ViT-B/32 is added and removed while clients use
the first one, and the first one's texts/s are measured alone and with the second one loaded and idle, in turn.
Forms of weights and vendors' clients are those whose tests pass now, with real packages: the tests compare
vectors with open_clip's or transformers' own, within 1e-5. The last line is one JSON document with `bars`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks.lib.reports import finish, head, judge, options, show
from benchmarks.models.beside import beside_figures
from benchmarks.models.from_hub import hub_figures
from benchmarks.models.passing_tests import CLIENTS, FORMS, passing
from scripts.archive.random_checkpoint import write_random

ARCHITECTURE = "ViT-B-32"
BARS = {
    "hub_to_first_search_s": (90.0, "≤"),
    "hub_unreachable_s": (10.0, "≤"),
    "failed_requests_while_adding": (0.0, "≤"),
    "memory_second_over_first": (1.05, "≤"),
    "forms_of_weights": (8.0, "≥"),
    "official_clients": (10.0, "≥"),
    "texts_per_s_beside_over_alone": (0.97, "≥"),
}


def measure(work: Path, rounds: int, seconds: float, console: Console) -> dict[str, float]:
    with console.status("writing two checkpoints of random weights"):
        first, second = (write_random(work / f"weights-{seed}", ARCHITECTURE, seed) for seed in range(2))
    figures = hub_figures(work / "hub", first)
    console.print(figures)
    figures |= beside_figures(work / "beside", first, second, rounds, seconds)
    console.print(figures)
    for name, shown in (("forms_of_weights", FORMS), ("official_clients", CLIENTS)):
        passed = passing(shown)
        figures[name] = len(passed)
        console.print(f"{name}: {', '.join(passed)}; not: {', '.join(sorted(set(shown) - set(passed))) or 'none'}")
    return figures


def main() -> None:
    """Measure, print, and save when asked to."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often the second model comes and goes")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement of texts/s")
    given, console = parser.parse_args(), Console()
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as work:
        figures = measure(Path(work), given.rounds, given.seconds, console)
    show(figures, BARS, console)
    finish({**head("models", "make bench-models"), "figures": figures, "bars": judge(figures, BARS)}, given.save)
