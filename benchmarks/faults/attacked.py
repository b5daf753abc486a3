"""What a calm neighbour feels while others attack, and what memory the parts have kept when all is over."""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.attacks.attacker import Answers, Attacker
from benchmarks.attacks.base import Attack, Target
from benchmarks.faults import neighbour
from benchmarks.faults.parts import growth, memory_mb, parts, replaced
from benchmarks.faults.progress import Steps
from benchmarks.faults.warm_up import warm_up
from benchmarks.stack.demo_stack import captions
from benchmarks.stack.ready_stack import ready_stack
from scripts.public_api import PublicApi
from scripts.stack.live_stack import LiveStack, free_ports
from scripts.tune.load import LOST_MS

BESIDES_S = 8.0  # of an attack's own time: to prepare it and to remove what it left
RECOVERY_S = 45.0


@dataclass(frozen=True)
class Felt:
    """One attack: the neighbour's searches, and what became of the attackers' requests and of the parts."""

    name: str
    p50_ms: float
    p99_ms: float
    bar_ms: float
    searches: int
    failed: int
    recovered_s: float
    answers: Answers
    died: list[str]
    memory_mb: dict[str, float]


@dataclass
class AttackResults:
    """`growth` is the largest of the stacks' lives; `left_out` names attacks for which there was no time."""

    felt: list[Felt] = field(default_factory=list)
    rest_p99_ms: float = 0.0
    growth: dict[str, float] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def grown(self, ratios: Mapping[str, float]) -> None:
        self.growth |= {name: max(ratio, self.growth.get(name, 0.0)) for name, ratio in ratios.items()}


@dataclass(frozen=True)
class Life:
    """A stack from its start, and what it was like before any attack."""

    stack: LiveStack
    target: Target
    memory_mb: dict[str, float]
    bar_ms: float

    @property
    def alive(self) -> bool:
        return self.stack.process.poll() is None


def attacked(
    directory: Path,
    attacks: Sequence[type[Attack]],
    seconds: float,
    minutes: float,
    result: AttackResults,
    steps: Steps,
) -> None:
    """Fills `result`. A stack that an attack ends is started again. No attack begins after `minutes`."""
    waiting, deadline, lives = deque(attacks), time.monotonic() + minutes * 60, 0
    try:
        while waiting and time.monotonic() < deadline:
            lives += 1
            _live(directory / str(lives), waiting, seconds, deadline, result, steps)
    finally:
        result.left_out = [attack.name for attack in waiting]


def _live(
    directory: Path, waiting: deque[type[Attack]], seconds: float, deadline: float, result: AttackResults, steps: Steps
) -> None:
    """Until the stack ends or does not recover, or nothing waits any more."""
    milvus_port, closed_port = free_ports(2)
    env = environment(milvus_port, closed_port)
    with ready_stack(directory, env) as stack, tempfile.TemporaryDirectory() as work:
        life = _begun(stack, _target(stack, milvus_port, closed_port, work), seconds, result)
        well = True
        while waiting and well and life.alive and time.monotonic() < deadline:
            kind = waiting.popleft()
            with steps.step(kind.name, seconds + BESIDES_S):
                result.felt.append(_under(life, kind, seconds))
            well = result.felt[-1].recovered_s < RECOVERY_S
        time.sleep(seconds if life.alive else 0)  # what is released late has been released
        last_seen = memory_mb(parts(stack)) if life.alive else result.felt[-1].memory_mb
        result.grown(growth(life.memory_mb, last_seen))


def environment(milvus_port: int, closed_port: int) -> dict[str, str]:
    """What attacks need of the stack's settings."""
    return {
        "CLIPSERVE_INDEX_MILVUS_URI": f"http://127.0.0.1:{milvus_port}",
        "CLIPSERVE_GATEWAY_FETCH_URLS": "true",
        "CLIPSERVE_GATEWAY_FETCH_PORTS": str(closed_port),
        "CLIPSERVE_GATEWAY_FETCH_NETWORKS": "127.0.0.1/32",
    }


def _target(stack: LiveStack, milvus_port: int, closed_port: int, work: str) -> Target:
    demo = PublicApi(stack.gateway).call("GET", "/v1/collections/demo")
    return Target(
        stack.gateway,
        stack.inference,
        stack.index,
        stack.ports["gateway_port"],
        demo["dim"],
        demo["fingerprint"],
        tuple(text for _, text in captions(stack)),
        milvus_port,
        closed_port,
        work,
    )


def _begun(stack: LiveStack, target: Target, seconds: float, result: AttackResults) -> Life:
    warm_up(stack, target)
    rest = neighbour.neighbour(stack, target.texts, seconds)
    result.rest_p99_ms = max(result.rest_p99_ms, neighbour.felt_p99(rest))
    return Life(stack, target, memory_mb(parts(stack)), neighbour.bar_ms(neighbour.felt_p99(rest)))


def _under(life: Life, kind: type[Attack], seconds: float) -> Felt:
    before = parts(life.stack)
    attacker = Attacker(kind, life.target, 3 * seconds)
    attacker.start()
    load = neighbour.neighbour(life.stack, life.target.texts, seconds)
    answers = attacker.finish()
    recovered = neighbour.well_again(life.stack, life.target.texts, life.bar_ms, RECOVERY_S)
    after = parts(life.stack)
    return Felt(
        kind.name,
        sorted(load.latencies)[len(load.latencies) // 2] if load.latencies else LOST_MS,
        neighbour.felt_p99(load),
        life.bar_ms,
        len(load.latencies),
        load.errors,
        recovered,
        answers,
        replaced(before, after),
        memory_mb(after),
    )
