"""Words that a query's rules know: kinds of attributes, numbers, and what stands between two things."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

ATTRIBUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "size": ("small", "large", "big", "tiny", "huge", "tall", "short"),
        "color": (
            *("red", "orange", "yellow", "lime", "green", "cyan", "blue", "purple", "pink", "brown"),
            *("black", "white", "gray", "grey", "beige", "golden", "silver"),
        ),
        "texture": (
            *("plain", "striped", "dotted", "checkered", "spotted", "furry", "fluffy", "shiny"),
            *("wooden", "metal", "plastic", "glass", "leather"),
        ),
    }
)
"""By kind, in the order in which English says them."""
KIND_OF: Mapping[str, str] = MappingProxyType({word: kind for kind, words in ATTRIBUTES.items() for word in words})
NEAREST: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "size": ("small", "large"),
        "color": ("red", "blue", "green", "yellow", "orange", "purple", "pink", "cyan", "brown", "lime"),
        "texture": ("plain", "striped", "dotted", "checkered"),
        "noun": ("circle", "square", "triangle", "star", "heart", "cross", "ring", "moon"),
        "setting": ("white", "black", "gray", "beige"),
    }
)
"""By kind, the words that a counterfactual takes first: those of the demo's language."""
NUMBERS: Mapping[str, int] = MappingProxyType(
    {word: number for number, word in enumerate(("one", "two", "three", "four", "five", "six", "seven", "eight"), 1)}
)
ARTICLES = frozenset({"a", "an", "the", "some", "any", "this", "that"})
PRONOUNS = frozenset(
    {"it", "its", "them", "their", "each", "other", "both", "which", "who", "what", "where", "he", "she"}
)
OPPOSITES: Mapping[str, str] = MappingProxyType(
    {
        "left of": "right of",
        "right of": "left of",
        "above": "below",
        "below": "above",
        "behind": "in front of",
        "in front of": "behind",
    }
)
SIDES = ("left of", "right of", "above", "below")
RELATIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "left of": ("to the left of", "on the left of", "left of"),
        "right of": ("to the right of", "on the right of", "right of"),
        "above": ("on top of", "above", "over"),
        "below": ("underneath", "beneath", "below", "under"),
        "behind": ("behind",),
        "in front of": ("in front of",),
        "next to": ("next to", "beside", "near"),
        "on": ("on",),
        "in": ("inside", "in"),
    }
)
"""By name, the phrases that say it."""
_NEGATIONS = ("without any", "without", "with no", "and no", "but no", "no", "but not")
_JOINS = ("together with", "along with", "and", "with", "plus", "or", ",", ";")
MEANING: Mapping[str, tuple[str, str]] = MappingProxyType(
    {phrase: ("relation", name) for name, phrases in RELATIONS.items() for phrase in phrases}
    | dict.fromkeys(_NEGATIONS, ("not", ""))
    | {phrase: ("or" if phrase == "or" else "and", "") for phrase in _JOINS}
)
"""What stands between two noun phrases → its kind, and the relation's name."""
BETWEEN = re.compile(r"(?<![\w-])(" + "|".join(map(re.escape, sorted(MEANING, key=len, reverse=True))) + r")(?![\w-])")
