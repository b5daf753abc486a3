"""What a query says: things with attributes and counts, relations between them, what is not to be there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.reranking.query.vocabulary import ATTRIBUTES, NUMBERS

_ORDER = tuple(ATTRIBUTES)
_MOST_NOUN_WORDS = 3
_COUNT_WORDS = {number: word for word, number in NUMBERS.items()}


@dataclass(frozen=True)
class NounPhrase:
    """A noun phrase. `count` is None for a plural without a number; `attributes` are (kind, word).

    `excluded` are attributes that it must not have: "a circle that is not red".
    """

    noun: str
    count: int | None = 1
    attributes: tuple[tuple[str, str], ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()
    article: bool = True

    def words(self) -> str:
        """In the order size, colour, texture, noun, with its article or number."""
        said = sorted(self.attributes, key=lambda each: _ORDER.index(each[0]))
        singular = " ".join([*(word for _, word in said), self.noun])
        if self.count == 1:
            return f"{'an' if singular[0] in 'aeiou' else 'a'} {singular}" if self.article else singular
        many = plural(singular)
        return many if self.count is None else f"{_COUNT_WORDS.get(self.count, self.count)} {many}"

    def attribute(self, kind: str) -> str | None:
        return next((word for own, word in self.attributes if own == kind), None)

    def having(self, kind: str, word: str) -> NounPhrase:
        """With another noun ("noun") or another attribute."""
        if kind == "noun":
            return replace(self, noun=word)
        kept = tuple(each for each in self.attributes if each[0] != kind)
        return replace(self, attributes=(*kept, (kind, word)))

    def alone(self) -> NounPhrase:
        """One of them."""
        return replace(self, count=1, article=True)


@dataclass(frozen=True)
class Relation:
    """Places of two things in the query, and how the first lies to the second."""

    first: int
    name: str
    second: int


@dataclass(frozen=True)
class ParsedQuery:
    """`readings`: the relations in each way that the sentence may be meant, the likelier first; one at least.

    `absent` are the places of things that must not be there. `setting` is the background's colour.
    """

    things: tuple[NounPhrase, ...]
    readings: tuple[tuple[Relation, ...], ...] = ((),)
    absent: frozenset[int] = frozenset()
    setting: str | None = None

    def present(self) -> list[int]:
        return [place for place in range(len(self.things)) if place not in self.absent]

    @property
    def is_doubtful(self) -> bool:
        """Whether a noun has so many words that it may be a sentence, or words of another language."""
        return any(len(thing.noun.split()) > _MOST_NOUN_WORDS for thing in self.things)


def plural(words: str) -> str:
    return words + ("es" if words.endswith(("s", "x", "ch", "sh")) else "s")


def singular(word: str) -> str:
    """As the rules of spelling have it; irregular plurals stay as they are."""
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 2 else word
