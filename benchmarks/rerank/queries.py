"""Queries with the scene that they mean and five that differ from it in one thing only.

`HARD`: two objects in a relation, one object's attributes, counts of like objects: the captioner knows such scenes.
`HARDER`: three objects, counts of two kinds, negation: it was trained on none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from random import Random

from benchmarks.rerank.meaning import Meaning, thing_of
from gateway.reranking.query.parsed_query import NounPhrase, Relation
from scripts.demo.scenes import (
    BACKGROUNDS,
    COLORS,
    COMBINATIONS,
    COUNTS,
    OPPOSITE,
    SHAPES,
    SIZES,
    TEXTURES,
    Object,
    Scene,
    article,
    make_scene,
    plural,
)

Spot = tuple[float, float]
_LOW, _HIGH = 0.25, 0.7
_SPOTS = {2: ((0.22, 0.5), (0.78, 0.5)), 4: ((0.24, 0.24), (0.76, 0.24), (0.24, 0.76), (0.76, 0.76))}
_THREE = ((0.24, 0.3), (0.76, 0.3), (0.5, 0.76))
_JITTER = 0.04


@dataclass(frozen=True)
class KnownQuery:
    """`scenes`: first what it means, then the distractors."""

    kind: str
    text: str
    meaning: Meaning
    scenes: tuple[Scene, ...]


def relation(rng: Random) -> KnownQuery:
    scene = make_scene(rng, COMBINATIONS, "relation")
    first, second = scene.objects
    assert scene.relation is not None
    other = replace(scene, places=scene.places[::-1], relation=OPPOSITE[scene.relation])
    colors = replace(scene, objects=(replace(first, color=second.color), replace(second, color=first.color)))
    changed = [
        _one_changed(scene, 0, rng, "color"),
        _one_changed(scene, 1, rng, "texture"),
        _one_changed(scene, 0, rng, "shape"),
    ]
    things = (thing_of(first, "color", "texture"), thing_of(second, "color", "texture"))
    meaning = Meaning(things, (Relation(0, scene.relation, 1),), setting=scene.background)
    return KnownQuery("relation", scene.canonical_caption(), meaning, (scene, other, colors, *changed))


def attribute(rng: Random) -> KnownQuery:
    scene = make_scene(rng, COMBINATIONS, "single")
    changed = [_one_changed(scene, 0, rng, kind) for kind in ("color", "texture", "shape")]
    size = replace(scene, size=_other(rng, SIZES, scene.size), places=((0.5, 0.5),))
    setting = replace(scene, background=_other(rng, BACKGROUNDS, scene.background))
    (each,) = scene.objects
    thing = thing_of(each, "color", "texture").having("size", scene.size)
    meaning = Meaning((thing,), setting=scene.background)
    return KnownQuery("attribute", scene.canonical_caption(), meaning, (scene, *changed, size, setting))


def count(rng: Random) -> KnownQuery:
    scene = make_scene(rng, COMBINATIONS, "several")
    places = {1: ((0.5, 0.5),), 2: _SPOTS[2], 3: _THREE, 4: _SPOTS[4]}
    numbers = [replace(scene, count=n, places=_moved(rng, spots)) for n, spots in places.items() if n != scene.count]
    changed = [_one_changed(scene, 0, rng, kind) for kind in rng.sample(("color", "texture", "shape"), 2)]
    (each,) = scene.objects
    thing = thing_of(each, "color", "texture", count=scene.count).having("size", "small")
    meaning = Meaning((thing,), setting=scene.background)
    return KnownQuery("count", scene.canonical_caption(), meaning, (scene, *numbers, *changed))


def three(rng: Random) -> KnownQuery:
    """ "a A left of a B and below a C" """
    objects, up = _different(rng, 3), rng.random() < 0.5
    rows = (_HIGH, _LOW) if up else (_LOW, _HIGH)
    scene = _several(rng, objects, ((0.22, rows[0]), (0.78, rows[0]), (0.5, rows[1])))
    a, b, c = objects
    flipped = replace(scene, places=tuple((x, 1 - y) for x, y in scene.places))
    swapped = (replace(a, color=b.color), replace(b, color=a.color), c)
    wrong = [
        replace(scene, objects=(b, a, c)),
        replace(scene, objects=(c, b, a)),
        flipped,
        replace(scene, objects=swapped),
        _one_changed(scene, rng.randrange(3), rng, rng.choice(("color", "texture", "shape"))),
    ]
    name = "below" if up else "above"
    things = tuple(thing_of(each, "color", "texture") for each in objects)
    meaning = Meaning(things, (Relation(0, "left of", 1), Relation(0, name, 2)), setting=scene.background)
    first, second, third = (article(each.words()) for each in objects)
    text = f"{first} left of {second} and {name} {third}{_where(scene)}"
    return KnownQuery("three objects", text, meaning, (scene, *wrong))


def two_counts(rng: Random) -> KnownQuery:
    """ "two A and a B" """
    a, b = _different(rng, 2)
    scene = _several(rng, (a, a, b), rng.sample(_THREE, 3))
    x, y = replace(a, color=b.color), replace(b, color=a.color)
    changed = _one_changed(scene, 2, rng, rng.choice(("color", "texture", "shape"))).objects[2]
    other = _one_changed(scene, 0, rng, rng.choice(("color", "texture", "shape"))).objects[0]
    wrong = [(a, b, b), (x, x, y), (a, a, changed), (other, other, b), (a, a, a)]
    things = (thing_of(a, "color", "texture", count=2), thing_of(b, "color", "texture"))
    text = f"{COUNTS[2]} {plural(a.words())} and {article(b.words())}{_where(scene)}"
    meaning = Meaning(things, setting=scene.background)
    return KnownQuery("two counts", text, meaning, (scene, *(replace(scene, objects=each) for each in wrong)))


def negation(rng: Random) -> KnownQuery:
    return rng.choice((_without, _no_noun, _not_color))(rng)


def _without(rng: Random) -> KnownQuery:
    """ "a A without a B" """
    a, b, c = _different(rng, 3)
    scenes = _with_and_without(rng, a, b, c)
    text = f"{article(a.words())} without {article(b.words())}{_where(scenes[0])}"
    meaning = Meaning((thing_of(a, "color", "texture"),), (), (thing_of(b, "color", "texture"),), scenes[0].background)
    return KnownQuery("negation", text, meaning, scenes)


def _no_noun(rng: Random) -> KnownQuery:
    """ "a A but no B" """
    a, b, c = _different(rng, 3)
    scenes = _with_and_without(rng, a, b, c)
    text = f"{article(a.words())} but no {b.shape}{_where(scenes[0])}"
    meaning = Meaning((thing_of(a, "color", "texture"),), (), (thing_of(b),), scenes[0].background)
    return KnownQuery("negation", text, meaning, scenes)


def _with_and_without(rng: Random, a: Object, b: Object, c: Object) -> tuple[Scene, ...]:
    background = rng.choice(tuple(BACKGROUNDS))

    def pair(one: Object, other: Object) -> Scene:
        scene = make_scene(rng, COMBINATIONS, "relation")
        return replace(scene, objects=(one, other) if rng.random() < 0.5 else (other, one), background=background)

    other = replace(a, color=_other(rng, COLORS, a.color, b.color, c.color))
    third = replace(a, texture=_other(rng, TEXTURES, a.texture))
    return pair(a, c), pair(a, b), pair(a, b), pair(a, b), pair(other, c), pair(third, c)


def _not_color(rng: Random) -> KnownQuery:
    """ "a striped circle that is not red" """
    scene = make_scene(rng, COMBINATIONS, "single")
    (each,) = scene.objects
    unwanted = replace(each, color=_other(rng, COLORS, each.color))
    size = _other(rng, SIZES, scene.size)
    wrong = [
        replace(scene, objects=(unwanted,)),
        replace(scene, objects=(unwanted,), size=size, places=((0.5, 0.5),)),
        _one_changed(scene, 0, rng, "texture"),
        _one_changed(scene, 0, rng, "shape"),
        replace(scene, background=_other(rng, BACKGROUNDS, scene.background)),
    ]
    thing = NounPhrase(each.shape, 1, (("texture", each.texture),), (("color", unwanted.color),))
    text = f"{article(f'{each.texture} {each.shape}')} that is not {unwanted.color}{_where(scene)}"
    return KnownQuery("negation", text, Meaning((thing,), setting=scene.background), (scene, *wrong))


HARD: dict[str, Callable[[Random], KnownQuery]] = {"relation": relation, "attribute": attribute, "count": count}
HARDER: dict[str, Callable[[Random], KnownQuery]] = {
    "three objects": three,
    "two counts": two_counts,
    "negation": negation,
}


def queries(
    makers: dict[str, Callable[[Random], KnownQuery]], number: int, seed: int, without: frozenset[str] = frozenset()
) -> list[KnownQuery]:
    """The kinds in turn; no text twice, and none of `without`."""
    rng, made = Random(seed), dict[str, KnownQuery]()
    kinds = list(makers)
    while len(made) < number:
        query = makers[kinds[len(made) % len(kinds)]](rng)
        if query.text not in without:
            made.setdefault(query.text, query)
    return list(made.values())


def _different(rng: Random, number: int) -> tuple[Object, ...]:
    """No shape and no colour twice."""
    shapes, colors = rng.sample(SHAPES, number), rng.sample(tuple(COLORS), number)
    return tuple(Object(shape, color, rng.choice(TEXTURES)) for shape, color in zip(shapes, colors, strict=True))


def _several(rng: Random, objects: tuple[Object, ...], spots: Iterable[Spot]) -> Scene:
    places = _moved(rng, spots)
    background = rng.choice(tuple(BACKGROUNDS))
    return Scene(objects, "medium", len(objects), background, "left of", places, rng.getrandbits(32))


def _moved(rng: Random, spots: Iterable[Spot]) -> tuple[tuple[float, float], ...]:
    return tuple((x + rng.uniform(-_JITTER, _JITTER), y + rng.uniform(-_JITTER, _JITTER)) for x, y in spots)


def _one_changed(scene: Scene, place: int, rng: Random, kind: str) -> Scene:
    """One attribute of one object, to what no other object has."""
    words = {"color": tuple(COLORS), "texture": TEXTURES, "shape": SHAPES}[kind]
    others = [getattr(each, kind) for each in scene.objects] if kind != "texture" else []
    each = scene.objects[place]
    changed = replace(each, **{kind: _other(rng, words, getattr(each, kind), *others)})
    return replace(scene, objects=(*scene.objects[:place], changed, *scene.objects[place + 1 :]))


def _other(rng: Random, words: Iterable[str], *known: str) -> str:
    return rng.choice([word for word in words if word not in known])


def _where(scene: Scene) -> str:
    return f" on a {scene.background} background"
