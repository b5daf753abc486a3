"""The phases of a run. One that can't come to its end leaves the others alone."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.attacks.base import Attack
from benchmarks.faults import kills, report
from benchmarks.faults.attacked import BESIDES_S, AttackResults, attacked
from benchmarks.faults.bursts import bursts
from benchmarks.faults.progress import Steps
from benchmarks.faults.stopping import stop_under_load
from benchmarks.gateway.command import overload, peak_load
from benchmarks.stack import cpu_cost
from benchmarks.stack.demo_stack import captions
from benchmarks.stack.ready_stack import UNCACHED, ready_stack
from clip_core.errors import ClipServeError

PHASES = ("attacks", "load", "kills")
LOAD_S, STARTING_S = 75.0, 25.0
_STARTS = {"attacks": (), "load": ("burst_", "overload_", "stop_"), "kills": ("kill_", "writes_"), "cpu": ()}


@dataclass(frozen=True)
class FaultPlan:
    """What is to be run; `rounds` is how often each burst comes, `against` an older checkout."""

    phases: tuple[str, ...]
    attacks: tuple[type[Attack], ...]
    seconds: float
    rounds: int
    attack_minutes: float
    against: Path | None

    @property
    def total_s(self) -> float:
        """Of all steps."""
        each = {"attacks": len(self.attacks) * (self.seconds + BESIDES_S), "load": STARTING_S + LOAD_S}
        each |= {"kills": kills.PLANNED_S * (len(kills.PARTS) + 0.5), "cpu": cpu_cost.PLANNED_S}
        return sum(each[phase] for phase in self.phases)

    @property
    def limits(self) -> dict[str, tuple[float, str]]:
        """The bars of these phases, but for those of attacks and of processor time."""
        starts = tuple(start for phase in self.phases for start in _STARTS[phase])
        return {name: limit for name, limit in report.BARS.items() if name.startswith(starts)}


@dataclass
class Run:
    """What was found; `broken` says why a phase did not come to its end."""

    plan: FaultPlan
    work: Path
    steps: Steps
    result: AttackResults = field(default_factory=AttackResults)
    figures: dict[str, float] = field(default_factory=dict)
    costs: dict[str, dict[str, Any]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    def phase(self, name: str) -> None:
        """One of `PHASES`, or `cpu`."""
        try:
            {"attacks": self._attacks, "load": self._load, "kills": self._kills, "cpu": self._cpu}[name]()
        except (RuntimeError, OSError, subprocess.SubprocessError, ClipServeError) as error:
            self.broken[name] = str(error)

    def bars(self) -> list[report.Bar]:
        """Those of its phases."""
        return report.bars(self.result, self.figures, self.plan.limits) + cpu_cost.bars(self.costs)

    def _attacks(self) -> None:
        plan = self.plan
        attacked(self.work / "attacks", plan.attacks, plan.seconds, plan.attack_minutes, self.result, self.steps)

    def _load(self) -> None:
        """Bursts, overload and a stop, on one stack that computes every text."""
        seconds = self.plan.seconds
        with ready_stack(self.work / "load", UNCACHED) as stack:
            with self.steps.step("warm up", STARTING_S):
                texts, url = [text for _, text in captions(stack)], f"{stack.gateway}/v1/embeddings"
                peak_load(url, texts, seconds / 2)
            with self.steps.step("bursts, overload, stop", LOAD_S):
                self.figures |= bursts(stack, texts, self.plan.rounds)
                self.figures |= overload(url, texts, seconds, peak_load(url, texts, seconds))
                self.figures |= stop_under_load(stack, texts)

    def _kills(self) -> None:
        kills.kills(self.work / "kills", self.figures, self.steps)

    def _cpu(self) -> None:
        assert self.plan.against is not None
        with self.steps.step("processor time", cpu_cost.PLANNED_S):
            self.costs = cpu_cost.measure(self.work / "cpu", self.plan.against, cpu_cost.ROUNDS)


def chosen(attacks: Sequence[type[Attack]], words: Sequence[str]) -> tuple[type[Attack], ...]:
    """Attacks with one of `words` in their name; all of them without words."""
    return tuple(attack for attack in attacks if not words or any(word in attack.name for word in words))
