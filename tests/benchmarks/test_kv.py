"""The comparison of caches, small."""

from __future__ import annotations

from benchmarks.captions.demo import FOLDER
from benchmarks.kv.arms import PAGED, STATIC, absorbed, choice_of
from benchmarks.kv.command import FOLDED
from benchmarks.kv.loads import requests
from benchmarks.kv.memory import of_a_picture
from benchmarks.kv.running import run, tokens_that_differ
from benchmarks.kv.steps import step_ms
from clip_core.captions.captioner import Captioner


def test_memory_admission_and_steps_of_the_demos_captioner() -> None:
    captioner = Captioner.load(FOLDER)
    memory = of_a_picture(captioner, (STATIC, PAGED))["beam"]
    for each in memory.values():
        assert each["live_mb"] <= each["reserved_mb"]
    assert memory[PAGED]["reserved_mb"] < memory[STATIC]["reserved_mb"]
    asked = list(requests("beam", 20, captioner.image_size, captioner.context_length))
    budget = int(3.5e6 * memory[STATIC]["reserved_mb"])
    static, paged = (run(captioner, choice_of(name, budget), asked) for name in (STATIC, PAGED))
    assert tokens_that_differ(static, paged) == 0
    assert paged.told()["admitted_mean"] > static.told()["admitted_mean"] > 0
    assert min(step_ms({STATIC: captioner, PAGED: captioner}, 2, 3, rounds=1).values()) > 0
    assert choice_of(absorbed(PAGED), 5).absorbed
    assert choice_of(FOLDED[0]).kind == choice_of(STATIC).kind
