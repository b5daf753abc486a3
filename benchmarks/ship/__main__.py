"""Shipping: rollouts without a failed request, start times, what a container costs, the Helm chart.

    make bench-ship VIT=DIR   (python -m benchmarks.ship.vit_store DIR makes it)

**Rollout.** Two gateways, two encoders of the demo model and one index service run behind haproxy, which passes TCP
connections on as a Kubernetes Service does (service.py). While callers search and embed, and try nothing twice, each
gateway and each encoder is replaced as a Deployment replaces pods: the new one ready first, then the old one out of
the Service, a pause (preStop), SIGTERM. The index service is stopped and started again, as a StatefulSet does it:
searches wait for it in the gateway.

**Images** are those that compose built (docker/compose.yaml), in the engine that answers here: their sizes, their
starts, and texts a second in a container and outside, turn by turn. **Chart**: helm comes
from `make setup-charts`. What this machine lacks leaves its bars at null, with the reason. The last line is one JSON
document with `bars`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.lib import reports
from benchmarks.ship import chart, images
from benchmarks.ship.missing import NotHereError
from benchmarks.ship.rollout import cluster, rolled
from scripts.archive.places import MODEL_STORE

ROLLOUT: reports.Bars = {"requests": (20_000.0, "≥"), "failed_requests": (0.0, "≤"), "fingerprints": (1.0, "≤")}
DEMO: reports.Bars = {"demo_ready_s": (15.0, "≤")}
VIT: reports.Bars = {"vit_b_32_ready_s": (12.0, "≤")}
THROUGHPUT: reports.Bars = {"containers_over_outside": (0.95, "≥")}
SIZES: reports.Bars = {"gateway_image_mb": (400.0, "≤"), "index_image_mb": (400.0, "≤")}
IMAGES: reports.Bars = {"images_locked_down": (float(len(images.TARGETS)), "≥")}
CHART: reports.Bars = {
    "chart_scenarios": (12.0, "≥"),
    "chart_versions_refusing": (0.0, "≤"),
    "chart_policy_findings": (0.0, "≤"),
}
PARTS = ("chart", "rollout", "sizes", "demo", "vit", "locked", "throughput")
Part = tuple[reports.Bars, Callable[[], Mapping[str, float]]]
BARS: reports.Bars = {**ROLLOUT, **DEMO, **VIT, **THROUGHPUT, **SIZES, **IMAGES, **CHART}


@dataclass
class Measured:
    """Figures, and by bar the reason why there is none."""

    console: Console
    figures: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def take(self, bars: reports.Bars, measure: Callable[[], Mapping[str, float]]) -> None:
        """What is missing on this machine is a reason, and the others are measured."""
        try:
            self.figures.update(measure())
        except NotHereError as reason:
            self.reasons.update(dict.fromkeys(bars, str(reason)))
            self.console.print(f"{', '.join(bars)}: not measured: {reason}")

    def judged(self) -> list[dict[str, Any]]:
        """One entry a bar."""
        rows = reports.judge(self.figures, BARS)
        return [row | ({"reason": self.reasons[row["name"]]} if row["name"] in self.reasons else {}) for row in rows]


def main() -> None:
    """Measure, print, and save when asked to."""
    given, measured = _given(), Measured(Console(stderr=True))
    details: dict[str, Any] = {}
    for name, (bars, measure) in _parts(given, details, measured.console).items():
        if name in given.parts:
            measured.take(bars, measure)
        else:
            measured.reasons.update(dict.fromkeys(bars, f"--parts left it out: {name}"))
    reports.show(measured.figures, BARS, measured.console)
    found = {**details, "figures": measured.figures, "bars": measured.judged()}
    reports.finish({**reports.head("ship"), **found}, given.save)


def _parts(given: argparse.Namespace, details: dict[str, Any], console: Console) -> dict[str, Part]:
    """In the order in which they are measured."""
    store: Path = given.model_store

    def of_images(measure: Callable[[images.Images], Mapping[str, float]]) -> Callable[[], Mapping[str, float]]:
        def measured() -> Mapping[str, float]:
            with images.images(given.tag, given.docker_dir) as found:
                return measure(found)

        return measured

    def rollout() -> Mapping[str, float]:
        with tempfile.TemporaryDirectory(prefix="clipserve-") as folder:
            return _rolled(given, Path(folder), details, console)

    def throughput(found: images.Images) -> Mapping[str, float]:
        with tempfile.TemporaryDirectory(prefix="clipserve-") as folder:
            return images.throughput(found, store, Path(folder), given.callers, given.seconds)

    return {
        "chart": (CHART, chart.figures),
        "rollout": (ROLLOUT, rollout),
        "sizes": (SIZES, of_images(images.sizes)),
        "demo": (DEMO, of_images(lambda found: images.demo_ready(found, store))),
        "vit": (VIT, of_images(lambda found: images.vit_ready(found, given.vit_store))),
        "locked": (IMAGES, of_images(lambda found: images.locked_down(found, store))),
        "throughput": (THROUGHPUT, of_images(throughput)),
    }


def _rolled(given: argparse.Namespace, folder: Path, details: dict[str, Any], console: Console) -> dict[str, float]:
    with cluster(folder, given.model_store, given.pre_stop) as stack:
        answers = rolled(stack, given.requests, given.callers, console.print)
    details.update(statuses=dict(answers.statuses), faults=answers.faults)
    return {
        "requests": float(answers.sent),
        "failed_requests": float(answers.failed),
        "fingerprints": float(len(answers.fingerprints)),
    }


def _given() -> argparse.Namespace:
    parser = reports.options(__doc__)
    parser.add_argument("--parts", type=_words, default=PARTS, help=f"of {','.join(PARTS)}; all unless given")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--pre-stop", type=float, default=2.0, help="seconds between out of the Service and SIGTERM")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each turn of the throughput")
    parser.add_argument("--model-store", type=Path, default=MODEL_STORE, help="with the demo's archives")
    parser.add_argument("--vit-store", type=Path, help="with those of ViT-B/32, built on this machine")
    parser.add_argument("--docker-dir", type=Path, help="data of an engine that is started for this; else one answers")
    parser.add_argument("--tag", default="0.1.0", help="of the images; compose's unless given")
    return parser.parse_args()


def _words(text: str) -> tuple[str, ...]:
    words = tuple(text.split(","))
    if unknown := set(words) - set(PARTS):
        raise argparse.ArgumentTypeError(f"there is no part {min(unknown)}")
    return words


if __name__ == "__main__":
    main()
