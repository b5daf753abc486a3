"""The attributes of a scene that linear heads learn, as class numbers."""

from __future__ import annotations

from scripts.demo.scenes import BACKGROUNDS, COLORS, SHAPES, TEXTURES, Scene

LAYOUTS = ("one", "two", "three", "beside", "on top")


HEADS = {
    "shape": len(SHAPES),
    "color": len(COLORS),
    "texture": len(TEXTURES),
    "background": len(BACKGROUNDS),
    "size": 3,
    "layout": len(LAYOUTS),
    "shape2": len(SHAPES),
    "color2": len(COLORS),
    "texture2": len(TEXTURES),
}


IGNORE = -100


def labels(scene: Scene) -> list[int]:
    """Attributes as class numbers, in the order of HEADS; of two objects the left or upper one is first."""
    first, *others = scene.objects
    if scene.relation in ("right of", "below"):
        first, others = others[0], [first]
    layout = {None: scene.count - 1, "left of": 3, "right of": 3, "above": 4, "below": 4}[scene.relation]
    size = ("small", "large", "medium").index(scene.size)
    row = [SHAPES.index(first.shape), list(COLORS).index(first.color), TEXTURES.index(first.texture)]
    row += [list(BACKGROUNDS).index(scene.background) if scene.background else IGNORE, size, layout]
    if not others:
        return row + [IGNORE] * 3
    other = others[0]
    return [*row, SHAPES.index(other.shape), list(COLORS).index(other.color), TEXTURES.index(other.texture)]
