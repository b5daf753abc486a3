"""What one caller, a crash or a stop can do to all others.

    make bench-faults [AGAINST=DIR]

A calm neighbour searches while one attack after another (benchmarks/attacks) runs; the parts' memory afterwards, over
what it was before; bursts; overload; a stop under load; kill -9 of each part under load. With --against DIR, a checkout
of an older commit with a .venv of its own, also the servers' processor time a request over that commit's
(stack/cpu_cost.py). All stacks are `clipserve up` without keys, on free ports of this machine and with data in a
temporary folder. Attackers run at low priority, in processes of their own. The last line is one JSON document with
`bars`; a bar that is missed has `holds: false`, and the exit status is 0 all the same.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks.attacks.catalogue import ATTACKS
from benchmarks.faults import report
from benchmarks.faults.phases import PHASES, FaultPlan, Run, chosen
from benchmarks.faults.progress import Steps
from benchmarks.lib import reports

WIDTH = 160


def options() -> argparse.ArgumentParser:
    """Without any of them the run is whole, and ends within 25 minutes."""
    parser = reports.options(__doc__)
    parser.add_argument("--seconds", type=float, default=9.0, help="length of each attack and load")
    parser.add_argument("--rounds", type=int, default=3, help="how often each burst comes")
    parser.add_argument("--attack-minutes", type=float, default=13.0, help="no attack begins later than that")
    parser.add_argument("--phases", nargs="*", choices=PHASES, default=list(PHASES))
    parser.add_argument("--attack", nargs="*", default=[], help="only attacks with one of these words in their name")
    parser.add_argument("--against", type=Path, help="checkout of an older commit, to compare processor time with")
    return parser


def plan(given: argparse.Namespace) -> FaultPlan:
    """Of the options."""
    phases = (*given.phases, "cpu") if given.against else tuple(given.phases)
    against = given.against.resolve() if given.against else None
    attacks = chosen(ATTACKS, given.attack)
    return FaultPlan(phases, attacks, given.seconds, given.rounds, given.attack_minutes, against)


def main() -> None:
    """Measure, print, and save when asked to."""
    given = options().parse_args()
    console, wanted = Console(stderr=True, width=None if sys.stderr.isatty() else WIDTH), plan(given)
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as work, Steps(wanted.total_s, console) as steps:
        run = Run(wanted, Path(work), steps)
        for phase in wanted.phases:
            run.phase(phase)
    report.show(run.result, run.bars(), run.figures, console)
    for phase, reason in run.broken.items():
        console.print(f"{phase} did not come to its end: {reason[:500]}", markup=False)
    reports.finish({**reports.head("faults"), **document(run)}, given.save)


def document(run: Run) -> dict[str, object]:
    """What was found."""
    found = {"figures": run.figures, "cpu": run.costs, "broken": run.broken, "bars": run.bars()}
    return {**report.document(run.result), **found}
