"""English words as questions and captions use them: their base forms, and classes in which one rules out another."""

from __future__ import annotations

import re

_WORD = re.compile(r"[a-z0-9]+(?:['-][a-z]+)*")
_SAME = {"grey": "gray", "colour": "color", "colours": "color", "big": "large", "tiny": "small", "little": "small"}
_IRREGULAR = {
    "men": "man",
    "women": "woman",
    "people": "person",
    "children": "child",
    "mice": "mouse",
    "geese": "goose",
}
_NO_PLURAL = {"cross", "glass", "grass", "dress", "bus", "gas", "lens", "always", "this", "is", "has", "its", "canvas"}
NUMBERS = {"zero": 0, "no": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
NAMES = {number: name for name, number in NUMBERS.items() if name != "no"}
ARTICLES = {"a", "an", "the", "any", "some", "this", "that", "these", "those", "there", "another", "other"}
COLORS = (
    *("red", "orange", "yellow", "lime", "green", "cyan", "blue", "purple", "pink", "brown", "black", "white", "gray"),
    *("beige", "gold", "silver", "violet", "turquoise"),
)
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "moon", "rectangle", "oval")
CLASSES: tuple[frozenset[str], ...] = (
    frozenset(COLORS),
    frozenset(SHAPES),
    frozenset(("small", "large", "medium", "huge")),
    frozenset(("plain", "striped", "dotted", "checkered", "spotted", "solid")),
)
"""A thing has one word of each at most: what is striped is not dotted."""


def words(text: str) -> list[str]:
    """In order, in base form, in small letters."""
    return [base(word) for word in _WORD.findall(text.lower())]


def base(word: str) -> str:
    """A singular: `circles` → `circle`, `crosses` → `cross`."""
    word = _SAME.get(word, word)
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word in _NO_PLURAL or len(word) < 4 or not word.endswith("s") or word.endswith("ss"):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1]


def plural(phrase: str) -> str:
    """Of a phrase whose last word is its noun."""
    head, space, noun = phrase.rpartition(" ")
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{head}{space}{noun}es"
    return f"{head}{space}{noun}s"


def with_article(phrase: str) -> str:
    return f"{'an' if phrase[:1] in 'aeiou' else 'a'} {phrase}"
