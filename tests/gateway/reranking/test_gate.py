"""What is known of a captioner, and when it is measured again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from gateway.reranking.quality.canaries import CanaryGroup
from gateway.reranking.quality.gate import CanaryScores, QualityGate

RIGHT, WRONG = [1.0, 0.0], [0.0, 1.0]


@dataclass
class Captioner:
    """Its own measurement."""

    name: str = "poor"
    delay_s: float = 0.0
    asked: list[str] = field(default_factory=list)

    async def __call__(self, groups: Sequence[CanaryGroup]) -> CanaryScores:
        self.asked.append("all")
        await asyncio.sleep(self.delay_s)
        return CanaryScores([RIGHT if self.name == "good" else WRONG] * len(groups), [RIGHT, WRONG], self.name)

    async def fingerprint(self) -> str:
        self.asked.append("name")
        return self.name


async def settled(gate: QualityGate, captioner: Captioner) -> bool:
    """Whether it is a good one, after what was begun has ended."""
    known = await gate.of("e", captioner, None)
    await asyncio.sleep(0.01)
    assert known is not None
    return known.good


def test_another_captioner_in_place_of_a_poor_one_is_noticed() -> None:
    async def run() -> None:
        gate, captioner = QualityGate(look_again_s=0.0), Captioner()
        assert [await settled(gate, captioner) for _ in range(2)] == [False, False]
        assert captioner.asked == ["all", "name"], "the same one is not measured again"
        captioner.name = "good"
        assert not await settled(gate, captioner), "nobody waits"
        assert await settled(gate, captioner)
        assert captioner.asked == ["all", "name", "name", "all"]

    asyncio.run(run())


@pytest.mark.parametrize("name", ["good", "poor"])
def test_what_is_known_is_kept(name: str) -> None:
    async def run() -> None:
        gate, captioner = QualityGate(), Captioner(name)
        for _ in range(3):
            await settled(gate, captioner)
        assert captioner.asked == ["all"]

    asyncio.run(run())


def test_a_measurement_outlives_who_asked_first() -> None:
    async def run() -> None:
        gate, captioner = QualityGate(), Captioner("good", delay_s=0.05)
        assert await gate.of("e", captioner, 0.01) is None
        assert await gate.of("e", captioner, None) is not None
        assert captioner.asked == ["all"]

    asyncio.run(run())
