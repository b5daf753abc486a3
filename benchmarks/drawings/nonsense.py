"""Texts that nothing in the demo collection answers: words of other things, strings of letters, and orders."""

from __future__ import annotations

from random import Random

OTHER_THINGS = (
    "a dog on a beach",
    "a photo of a cat",
    "my invoice of march",
    "the eiffel tower at night",
    "a plate of spaghetti",
    "two people shaking hands",
    "a bar chart of sales",
    "handwritten notes",
    "a city street in the rain",
    "a red car",
    "a blue whale",
    "an orange cat",
    "green tea",
    "a screenshot of an email",
    "mountains under snow",
    "a birthday cake with candles",
    "the quick brown fox jumps over the lazy dog",
    "select star from users",
    "rain",
    "hello world",
    "a map of europe",
    "happiness",
    "quarterly report",
    "a football player",
)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def nonsense(strings: int = 76) -> list[str]:
    """Those, and strings of letters in the length of words."""
    rng = Random(0)
    return [*OTHER_THINGS, *(" ".join(_string(rng) for _ in range(rng.randint(1, 4))) for _ in range(strings))]


def _string(rng: Random) -> str:
    return "".join(rng.choices(_LETTERS, k=rng.randint(3, 9)))
