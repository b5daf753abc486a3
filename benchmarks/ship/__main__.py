"""Rolling out without a failed request.

    make bench-ship

Two gateways, two encoders of the demo model and one index service run behind haproxy, which passes TCP connections on
as a Kubernetes Service does (service.py). While callers search and embed, and try nothing twice, each gateway and each
encoder is replaced as a Deployment replaces pods: the new one ready first, then the old one out of the Service, a
pause (preStop), SIGTERM. The index service is stopped and started again, as a StatefulSet does it: searches wait for
it in the gateway. The last line is one JSON document with `bars`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks.lib import reports
from benchmarks.ship.rollout import cluster, rolled
from scripts.archive.places import MODEL_STORE

BARS: reports.Bars = {"requests": (20_000.0, "≥"), "failed_requests": (0.0, "≤"), "fingerprints": (1.0, "≤")}


def main() -> None:
    """Measure, print, and save when asked to."""
    parser = reports.options(__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--pre-stop", type=float, default=2.0, help="seconds between out of the Service and SIGTERM")
    parser.add_argument("--model-store", type=Path, default=MODEL_STORE, help="with the demo's archives")
    given = parser.parse_args()
    console = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory(prefix="clipserve-") as folder,
        cluster(Path(folder), given.model_store, given.pre_stop) as stack,
    ):
        answers = rolled(stack, given.requests, given.callers, console.print)
    figures = {
        "requests": float(answers.sent),
        "failed_requests": float(answers.failed),
        "fingerprints": float(len(answers.fingerprints)),
    }
    reports.show(figures, BARS, console)
    found = {"statuses": dict(answers.statuses), "faults": answers.faults, "figures": figures}
    reports.finish({**reports.head("ship"), **found, "bars": reports.judge(figures, BARS)}, given.save)


if __name__ == "__main__":
    main()
