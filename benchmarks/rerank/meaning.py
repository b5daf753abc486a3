"""What a query means, and whether a drawn scene shows it: by the scene itself, without any model."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.reranking.query.parsed_query import NounPhrase, Relation
from scripts.demo.scenes import Object, Scene, radius

_ASIDE, _LEVEL, _APART = 0.15, 0.2, 0.3  # in sides of the picture


@dataclass(frozen=True)
class Meaning:
    """`absent` things are nowhere; of the others there are exactly as many as their `count`."""

    things: tuple[NounPhrase, ...]
    relations: tuple[Relation, ...] = ()
    absent: tuple[NounPhrase, ...] = ()
    setting: str | None = None

    def shown_by(self, scene: Scene) -> bool:
        if self.setting not in (None, scene.background):
            return False
        drawn = drawn_objects(scene)
        if any(_those(thing, drawn, scene) for thing in self.absent):
            return False
        found = [_those(thing, drawn, scene) for thing in self.things]
        if any(len(those) != thing.count for those, thing in zip(found, self.things, strict=True)):
            return False
        return all(
            lies(each.name, drawn[one][1], drawn[other][1])
            for each in self.relations
            for one, other in itertools.product(found[each.first], found[each.second])
        )


Drawn = list[tuple[Object, tuple[float, float]]]


def drawn_objects(scene: Scene) -> Drawn:
    """Each with its centre."""
    kinds = scene.objects if scene.relation else scene.objects * scene.count
    return list(zip(kinds, scene.places, strict=True))


def lies(name: str, one: tuple[float, float], other: tuple[float, float]) -> bool:
    aside, down = other[0] - one[0], other[1] - one[1]
    beside = abs(down) < _LEVEL
    return {
        "left of": beside and aside > _ASIDE,
        "right of": beside and aside < -_ASIDE,
        "above": down > _APART,
        "below": down < -_APART,
    }[name]


def thing_of(each: Object, *kinds: str, count: int = 1) -> NounPhrase:
    """With those of its attributes."""
    known = {"color": each.color, "texture": each.texture}
    return NounPhrase(each.shape, count, tuple((kind, known[kind]) for kind in kinds))


def _those(thing: NounPhrase, drawn: Drawn, scene: Scene) -> Sequence[int]:
    return [place for place, (each, _) in enumerate(drawn) if _is(thing, each, scene)]


def _is(thing: NounPhrase, each: Object, scene: Scene) -> bool:
    true = {"color": each.color, "texture": each.texture, "size": "large" if radius(scene) > 0.2 else "small"}
    has = all(true[kind] == word for kind, word in thing.attributes)
    return has and thing.noun == each.shape and not any(true[kind] == word for kind, word in thing.excluded)
