"""The scenes that are sketched: mostly plain shapes, half of them on grounds without a name."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from scripts.demo.scenes import Combination, Scene, make_scene

KINDS, SHARES = ("single", "several", "relation"), (0.55, 0.27, 0.18)


def make_sketch(rng: Random, combinations: tuple[Combination, ...]) -> Scene:
    """One without a held-out combination, where `combinations` has none."""
    scene = make_scene(rng, combinations, rng.choices(KINDS, SHARES)[0])
    if rng.random() < 0.5:
        scene = replace(scene, background="")
    plain = replace(scene, objects=tuple(replace(each, texture="plain") for each in scene.objects))
    allowed = {each.combination for each in plain.objects} <= set(combinations)
    return plain if allowed and rng.random() < 0.65 else scene
