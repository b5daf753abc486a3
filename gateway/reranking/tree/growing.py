"""A parsed query → its tree: clauses, what they say of each thing, and minimal counterfactuals of all that."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gateway.reranking.query.parsed_query import NounPhrase, ParsedQuery, Relation
from gateway.reranking.query.vocabulary import NEAREST, OPPOSITES, SIDES
from gateway.reranking.tree.node import CLAUSE, JOINT, Node, Tree

MOST_NODES = 48
_MOST_WAYS, _MOST_PAIRS = 12, 24  # sentences that say the same, where attributes are excluded
_MOST_PAIRS_OF_ALL = 48  # of all clauses together: a captioner takes 256 texts at once
_SETTINGS = 2  # counterfactuals of a background
_STAGES = (
    {CLAUSE, JOINT},
    {"noun", "color", "texture", "size", "excluded", "count", "setting", "absent"},
    {"binding", "relation"},
)


@dataclass(frozen=True)
class Clause:
    """One thing, two in a relation, or several that are just there (`name` is empty)."""

    things: tuple[int, ...]
    name: str = ""

    @property
    def joint(self) -> bool:
        return not self.name and len(self.things) > 1


def grow(query: ParsedQuery) -> Tree:
    nodes = list(itertools.islice(_Growing(query).nodes(), MOST_NODES))
    stages = (tuple(place for place, node in enumerate(nodes) if node.kind in kinds) for kinds in _STAGES)
    return Tree(query, tuple(nodes), tuple(stage for stage in stages if stage))


class _Growing:
    def __init__(self, query: ParsedQuery) -> None:
        self._query = query
        self._where = f" on a {query.setting} background" if query.setting else ""

    def nodes(self) -> Iterator[Node]:
        clauses = self._clauses()
        count = 0
        clause_of: dict[int, tuple[int, Clause]] = {}
        pairs = min(_MOST_PAIRS, max(1, _MOST_PAIRS_OF_ALL // len(clauses)))
        for clause, readings in clauses.items():
            claims = self._claims(clause, pairs)
            yield Node(JOINT if clause.joint else CLAUSE, self._label(clause), claims, readings=readings)
            for thing in clause.things:
                clause_of.setdefault(thing, (count, clause))
            count += 1
        firsts: dict[int, list[int]] = {}  # of each thing, the nodes that say that it is there
        for thing, (parent, clause) in clause_of.items():
            for node in self._of_thing(thing, clause):
                firsts.setdefault(thing, []).extend([count] if node.kind in ("noun", "color") else [])
                yield replace(node, parent=parent, readings=self._all())
                count += 1
        for parent, (clause, readings) in enumerate(clauses.items()):
            needs = tuple(node for thing in clause.things for node in firsts.get(thing, []))
            for node in self._of_clause(clause):
                yield replace(node, parent=parent, needs=needs, readings=readings)
        for absent in sorted(self._query.absent):
            yield replace(self._absent(absent, next(iter(clause_of))), parent=0, readings=self._all())
        yield from self._setting(next(iter(clauses)))

    def _all(self) -> frozenset[int]:
        return frozenset(range(len(self._query.readings)))

    def _clauses(self) -> dict[Clause, frozenset[int]]:
        """With the readings that each belongs to."""
        found: dict[Clause, frozenset[int]] = {}
        for place, reading in enumerate(self._query.readings):
            for clause in self._of_reading(reading):
                found[clause] = found.get(clause, frozenset()) | {place}
        return found

    def _of_reading(self, reading: Sequence[Relation]) -> list[Clause]:
        related = {place for each in reading for place in (each.first, each.second)}
        clauses = [Clause((each.first, each.second), each.name) for each in reading]
        alone = [place for place in self._query.present() if place not in related]
        return clauses + ([Clause((place,)) for place in alone] if reading else [Clause(tuple(alone))])

    def _claims(self, clause: Clause, most_pairs: int) -> tuple[str, ...]:
        """All sentences that say it: from either side, and each thing in every way that is not excluded."""
        if clause.joint:
            return (self._said(clause, {}),)
        first, *rest = (_ways(self._query.things[place]) for place in clause.things)
        if not rest:
            return tuple(thing.words() + self._where for thing in first)
        pairs = list(itertools.islice(itertools.product(first, rest[0]), most_pairs))
        said = [f"{one.words()} {clause.name} {other.words()}" for one, other in pairs]
        if clause.name in OPPOSITES:
            said += [f"{other.words()} {OPPOSITES[clause.name]} {one.words()}" for one, other in pairs]
        return tuple(each + self._where for each in said)

    def _said(
        self, clause: Clause, changed: dict[int, NounPhrase], *, name: str | None = None, where: str | None = None
    ) -> str:
        """The clause with some things in place of the query's, from its left or upper thing, as captions begin."""
        things = [changed.get(place) or self._query.things[place] for place in clause.things]
        relation, where = clause.name if name is None else name, self._where if where is None else where
        if relation in ("right of", "below"):
            relation, things = OPPOSITES[relation], things[::-1]
        return f" {relation or 'and'} ".join(thing.words() for thing in things) + where

    def _label(self, clause: Clause) -> str:
        return f" {clause.name or 'and'} ".join(self._query.things[place].words() for place in clause.things)

    def _of_thing(self, place: int, clause: Clause) -> Iterator[Node]:
        thing = self._query.things[place]
        clause = clause if clause.name else Clause((place,))
        said = self._said(clause, {})
        for kind, word in (("noun", thing.noun), *thing.attributes):
            against = [
                self._said(clause, {place: thing.having(kind, each)}) for each in self._others(place, kind, word)[:1]
            ]
            if against:
                label = word if kind == "noun" else f"{word} {thing.noun}"
                yield Node(kind, label, (said,), tuple(against))
        for kind, word in thing.excluded:
            claims = tuple(self._said(clause, {place: way}) for way in _ways(thing))
            unwanted = self._said(clause, {place: thing.having(kind, word)})
            yield Node("excluded", f"{thing.noun} not {word}", claims, (unwanted,))
        if thing.count is not None and (thing.count > 1 or not clause.name):
            numbers = [number for number in (thing.count - 1, thing.count + 1) if number]
            against = [self._said(clause, {place: replace(thing, count=number, article=True)}) for number in numbers]
            yield Node("count", f"{thing.count} of {thing.noun}", (said,), tuple(against))

    def _others(self, place: int, kind: str, word: str) -> list[str]:
        """What could stand in place of `word`: first what the query says of its other things."""
        if word not in NEAREST[kind] and kind != "color":
            near: tuple[str, ...] = ()
        else:
            near = NEAREST[kind]
        rest = [thing for other, thing in enumerate(self._query.things) if other != place]
        said = [thing.noun if kind == "noun" else thing.attribute(kind) for thing in rest]
        found = dict.fromkeys(each for each in (*said, *near) if each and each != word)
        return list(found)

    def _of_clause(self, clause: Clause) -> Iterator[Node]:
        if not clause.name:
            return
        said = self._said(clause, {})
        swapped = list(self._swapped(clause))
        if swapped:
            yield Node("binding", self._label(clause), (said,), tuple(swapped))
        names = (
            [each for each in SIDES if each != clause.name] if clause.name in SIDES else [OPPOSITES.get(clause.name)]
        )
        against = tuple(self._said(clause, {}, name=each) for each in names if each)
        if against:
            yield Node("relation", clause.name, (said,), against)

    def _swapped(self, clause: Clause) -> Iterator[str]:
        one_place, other_place = clause.things
        first, second = self._query.things[one_place], self._query.things[other_place]
        for kind in ("color", "texture"):
            one, other = first.attribute(kind), second.attribute(kind)
            if one and other and one != other:
                changed = {one_place: first.having(kind, other), other_place: second.having(kind, one)}
                yield self._said(clause, changed)

    def _absent(self, place: int, beside: int) -> Node:
        """What is not to be there, beside a thing that is: against that thing alone, and against another one."""
        unwanted, thing = self._query.things[place].alone(), _ways(self._query.things[beside])[0]
        other = self._others(place, "noun", unwanted.noun)
        claims = tuple(f"{thing.words()} {side} {unwanted.words()}{self._where}" for side in SIDES)
        against = [f"{thing.words()}{self._where}"]
        if other:
            instead = unwanted.having("noun", other[:2][-1]).words()
            against += [f"{thing.words()} {side} {instead}{self._where}" for side in SIDES]
        return Node("absent", f"no {self._query.things[place].noun}", claims, tuple(against))

    def _setting(self, clause: Clause) -> Iterator[Node]:
        setting = self._query.setting
        if setting is None:
            return
        clause = Clause(clause.things[:1]) if clause.joint else clause
        others = [each for each in NEAREST["setting"] if each != setting][:_SETTINGS]
        against = tuple(self._said(clause, {}, where=f" on a {each} background") for each in others)
        yield Node("setting", f"{setting} background", (self._said(clause, {}),), against, 0, readings=self._all())


def _ways(thing: NounPhrase) -> list[NounPhrase]:
    """The thing with each attribute that is not excluded, a few of them; itself where nothing is, or all are.

    An attribute that it has stays: "a red circle that is not blue" is red.
    """
    ways = [thing]
    for kind in dict.fromkeys(kind for kind, _ in thing.excluded if thing.attribute(kind) is None):
        words = [each for each in NEAREST[kind] if (kind, each) not in thing.excluded]
        ways = [way.having(kind, each) for way in ways for each in words][:_MOST_WAYS] or ways
    return ways
