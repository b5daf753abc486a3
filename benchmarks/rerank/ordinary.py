"""An ordinary gallery: scenes that differ in much, one query each. Reranking is not to harm it."""

from __future__ import annotations

from random import Random

from benchmarks.rerank.meaning import Meaning, thing_of
from benchmarks.rerank.queries import KnownQuery
from gateway.reranking.query.parsed_query import Relation
from scripts.demo.evaluate import distinct_scenes
from scripts.demo.scenes import COMBINATIONS, Scene


def ordinary_queries(number: int, seed: int) -> list[KnownQuery]:
    """A third each of one object, of like ones, and of two in a relation."""
    kinds = ("single", "several", "relation")
    scenes = [scene for kind in kinds for scene in distinct_scenes(kind, COMBINATIONS, seed, number // len(kinds))]
    Random(seed).shuffle(scenes)
    return [KnownQuery("ordinary", scene.canonical_caption(), _meaning(scene), (scene,)) for scene in scenes]


def _meaning(scene: Scene) -> Meaning:
    if scene.relation:
        things = tuple(thing_of(each, "color", "texture") for each in scene.objects)
        return Meaning(things, (Relation(0, scene.relation, 1),), setting=scene.background)
    thing = thing_of(scene.objects[0], "color", "texture", count=scene.count)
    return Meaning((thing.having("size", scene.size),), setting=scene.background)
