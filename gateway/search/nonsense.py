"""Texts that describe no picture: what they find shows where scores begin to mean something."""

from __future__ import annotations

import random

_SUBJECTS = (
    "the second clause of the agreement",
    "his apology to the committee",
    "the forecast for the third quarter",
    "an unstated assumption of the proof",
    "the minutes of the last meeting",
    "her opinion on the reform",
    "the exchange rate agreed upon",
    "a footnote in the appendix",
    "the definition of a quorum",
    "their reluctance to compromise",
)
_PREDICATES = (
    "does not apply retroactively",
    "was postponed without a reason",
    "remains ambiguous at best",
    "differs from the usual convention",
    "was revised on Tuesday",
)
_SYLLABLES = (
    "bra",
    "quon",
    "zel",
    "mip",
    "tor",
    "vash",
    "ulk",
    "fen",
    "gry",
    "oxi",
    "plim",
    "dwe",
    "snar",
    "hap",
    "juz",
)


def nonsense_texts() -> list[str]:
    """A hundred, always the same: half of them words that there are not, half sentences on nothing one can see."""
    chance = random.Random(0)
    words = [" ".join(_word(chance) for _ in range(chance.randint(1, 4))) for _ in range(50)]
    return words + [f"{subject} {predicate}" for subject in _SUBJECTS for predicate in _PREDICATES]


def _word(chance: random.Random) -> str:
    return "".join(chance.choices(_SYLLABLES, k=chance.randint(2, 3)))
