"""What a caption says, read back from its words."""

from __future__ import annotations

from dataclasses import dataclass

from scripts.demo.claims import singular
from scripts.demo.scenes import BACKGROUNDS, COLORS, COUNTS, OPPOSITE, RELATIONS, SHAPES, SIZES, TEXTURES, Scene

KINDS: dict[str, tuple[str, ...]] = {
    "shape": SHAPES,
    "color": tuple(COLORS),
    "texture": TEXTURES,
    "size": tuple(SIZES),
    "background": tuple(BACKGROUNDS),
}
NUMBERS = {word: number for number, word in COUNTS.items()}


@dataclass(frozen=True)
class CaptionRead:
    """`objects`: shape, colour, texture and size of one object, or of two in `relation`; `count` of alike objects.

    A word is "" where the caption doesn't say it, or says two things.
    """

    objects: tuple[dict[str, str], ...]
    background: str
    count: int
    relation: str | None


def told(caption: str) -> CaptionRead:
    relation = next((each for each in RELATIONS if f" {each} " in caption), None)
    phrases = caption.split(f" {relation} ") if relation else [caption]
    found = [{kind: _only(phrase, names) for kind, names in KINDS.items()} for phrase in phrases]
    objects = tuple({kind: word for kind, word in each.items() if kind != "background"} for each in found)
    count = next((NUMBERS[word] for word in caption.split() if word in NUMBERS), 1)
    return CaptionRead(objects, _only(caption, KINDS["background"]), count, relation)


def _only(phrase: str, names: tuple[str, ...]) -> str:
    said = {word for word in map(singular, phrase.split()) if word in names}
    return said.pop() if len(said) == 1 else ""


def one_kind(said: CaptionRead, scene: Scene) -> dict[str, bool]:
    """What a caption got right of a scene of one object, or of several alike."""
    each, alone = said.objects[0], len(said.objects) == 1
    true = scene.objects[0]
    right = {
        "shape": each["shape"] == true.shape,
        "color": each["color"] == true.color,
        "texture": each["texture"] == true.texture,
        "size": each["size"] == scene.size,
        "background": said.background == scene.background,
    }
    counted = said.count == scene.count and alone
    return right | {"count": counted, "all": all(right.values()) and counted}


def two_kinds(said: CaptionRead, scene: Scene) -> dict[str, bool]:
    """What a caption got right of two objects in a relation; said and true objects are matched by their colours."""
    true = {each.color: each for each in scene.objects}
    matched = [(each, true[each["color"]]) for each in said.objects if each["color"] in true]
    both = len(matched) == 2 and matched[0][1] is not matched[1][1]
    right = {
        "colors": both,
        "shapes": both and all(each["shape"] == is_.shape for each, is_ in matched),
        "textures": both and all(each["texture"] == is_.texture for each, is_ in matched),
        "background": said.background == scene.background,
        "relation": both and said.relation == _relation_from(scene, matched[0][1].color),
    }
    return right | {"all": all(right.values())}


def _relation_from(scene: Scene, first: str) -> str:
    """The scene's relation as a caption says it that begins with the object of this colour."""
    assert scene.relation is not None
    return scene.relation if scene.objects[0].color == first else OPPOSITE[scene.relation]
