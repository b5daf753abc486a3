"""Questions with known answers about drawn scenes: how many, which colour, how two things stand, whether, and which."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from scripts.demo.scenes import COLORS, OPPOSITE, SHAPES, UNSEEN, Object, Scene, make_scene, plural

Json = dict[str, Any]
KINDS = ("count", "color", "relation", "exists", "which")
GROUP = 6  # pictures that a question is about
_NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
_WORD = re.compile(r"[a-z]+|\d+")


@dataclass(frozen=True)
class ShownScene:
    """A scene as an item. `group` is what questions filter by."""

    id: str
    group: int
    scene: Scene


@dataclass(frozen=True)
class KnownQuestion:
    """`said` is the answer as one word; `cited` are the ids of the pictures that show it, where it is not no."""

    kind: str
    text: str
    filter: Json
    said: str
    cited: frozenset[str]


def make_gallery(seed: int, groups: int) -> list[ShownScene]:
    """Scenes of combinations that the demo model never saw, in groups of single, several and related objects."""
    rng = Random(seed)
    kinds = ("single", "several", "relation")
    return [
        ShownScene(f"g{group}-{place}", group, make_scene(rng, UNSEEN, kinds[place % 3]))
        for group in range(groups)
        for place in range(GROUP)
    ]


def make_questions(gallery: Sequence[ShownScene], number: int, seed: int) -> list[KnownQuestion]:
    """As many of each kind, half of those that can be no are no."""
    rng = Random(seed)
    groups = sorted({each.group for each in gallery})
    made: list[KnownQuestion] = []
    while len(made) < number:
        kind = KINDS[len(made) % len(KINDS)]
        chosen = rng.choice(groups)
        made += _MAKERS[kind]([each for each in gallery if each.group == chosen], rng)
    return made[:number]


def is_right(question: KnownQuestion, answer: Json) -> bool:
    """Of an answer of /v1/ask, by its one word."""
    cited = {each["id"] for each in answer["citations"]}
    if question.kind == "which":
        return cited == set(question.cited)
    return one_word(question.kind, answer) == question.said


def citations_right(question: KnownQuestion, answer: Json) -> bool:
    """Whether all that is cited shows what is said."""
    cited = {each["id"] for each in answer["citations"]}
    return cited <= set(question.cited) and bool(cited) == bool(question.cited)


def one_word(kind: str, answer: Json) -> str:
    words = _WORD.findall(answer["answer"].lower())
    if not answer["found"]:
        return "no" if kind in ("relation", "exists") else "none"
    if kind == "count":
        return next((str(_NUMBERS.get(word, word)) for word in words if word in _NUMBERS or word.isdigit()), "none")
    if kind == "color":
        colors = [word for word in words if word in COLORS]
        return colors[-1] if colors else "none"
    return "yes" if words[:1] == ["yes"] else "no"


def blind(questions: Sequence[KnownQuestion]) -> dict[str, float]:
    """By kind, the share of right answers of one who always gives the most frequent one, and sees nothing."""
    scores = {}
    for kind in KINDS:
        answers = Counter(
            (each.said, each.cited if kind == "which" else None) for each in questions if each.kind == kind
        )
        scores[kind] = max(answers.values()) / answers.total() if answers else 0.0
    return scores


def _count(group: Sequence[ShownScene], rng: Random) -> list[KnownQuestion]:
    thing = _thing(group, rng)
    counts = {each.id: _number(each.scene, thing) for each in group}
    total, cited = sum(counts.values()), frozenset(name for name, count in counts.items() if count)
    text = f"How many {plural(_words(thing))} are there?"
    return [KnownQuestion("count", text, _of(group), str(total) if total else "none", cited)]


def _color(group: Sequence[ShownScene], rng: Random) -> list[KnownQuestion]:
    shown = rng.choice(group)
    each = rng.choice(shown.scene.objects)
    where = {"item": shown.id}
    return [KnownQuestion("color", f"What colour is the {each.shape}?", where, each.color, frozenset((shown.id,)))]


def _relation(group: Sequence[ShownScene], rng: Random) -> list[KnownQuestion]:
    shown = rng.choice([each for each in group if each.scene.relation])
    first, second = shown.scene.objects
    assert shown.scene.relation is not None
    yes = rng.random() < 0.5
    relation = shown.scene.relation if yes else OPPOSITE[shown.scene.relation]
    text = f"Is the {_words(first)} {relation} the {_words(second)}?"
    return [KnownQuestion("relation", text, {"item": shown.id}, "yes" if yes else "no", frozenset((shown.id,)))]


def _exists(group: Sequence[ShownScene], rng: Random) -> list[KnownQuestion]:
    thing = _thing(group, rng)
    cited = frozenset(each.id for each in group if _number(each.scene, thing))
    text = f"Is there {'an' if thing.color[0] in 'aeiou' else 'a'} {_words(thing)}?"
    return [KnownQuestion("exists", text, _of(group), "yes" if cited else "no", cited)]


def _which(group: Sequence[ShownScene], rng: Random) -> list[KnownQuestion]:
    thing = _thing(group, rng)
    cited = frozenset(each.id for each in group if _number(each.scene, thing))
    return [KnownQuestion("which", f"Which of these show a {_words(thing)}?", _of(group), "", cited)]


_MAKERS: dict[str, Callable[[Sequence[ShownScene], Random], list[KnownQuestion]]] = {
    "count": _count,
    "color": _color,
    "relation": _relation,
    "exists": _exists,
    "which": _which,
}


def _thing(group: Sequence[ShownScene], rng: Random) -> Object:
    """One that is there, or, as often, one that is not."""
    each = rng.choice(rng.choice(group).scene.objects)
    if rng.random() < 0.5:
        return each
    there = {(one.shape, one.color) for shown in group for one in shown.scene.objects}
    missing = [(shape, color) for shape in SHAPES for color in COLORS if (shape, color) not in there]
    return Object(*rng.choice(missing), "plain")


def _number(scene: Scene, thing: Object) -> int:
    """How many of this colour and shape it shows."""
    alike = sum((each.shape, each.color) == (thing.shape, thing.color) for each in scene.objects)
    return alike if scene.relation else alike * scene.count


def _words(thing: Object) -> str:
    return f"{thing.color} {thing.shape}"


def _of(group: Sequence[ShownScene]) -> Json:
    return {"group": group[0].group}
