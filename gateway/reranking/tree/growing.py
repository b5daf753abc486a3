"""A parsed query → its tree: clauses, what they say of each thing, and minimal counterfactuals of all that."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gateway.reranking.query.parsed_query import ParsedQuery, Relation, Thing
from gateway.reranking.query.vocabulary import NEAREST, OPPOSITES, SIDES
from gateway.reranking.tree.node import CLAUSE, Node, Tree

MOST_NODES = 48
_OTHERS = 2  # counterfactuals of an attribute
_STAGES = (
    {CLAUSE},
    {"noun", "color", "texture", "size", "excluded", "count", "setting", "absent"},
    {"binding", "relation"},
)


@dataclass(frozen=True)
class Clause:
    """One thing, two in a relation, or two that are just both there (`name` is empty)."""

    first: int
    name: str = ""
    second: int | None = None

    @property
    def things(self) -> tuple[int, ...]:
        return (self.first,) if self.second is None else (self.first, self.second)


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
        for clause, readings in clauses.items():
            yield Node(CLAUSE, self._label(clause), self._claims(clause), readings=readings)
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
        clauses = [Clause(each.first, each.name, each.second) for each in reading]
        alone = [place for place in self._query.present() if place not in related]
        clauses += [Clause(place) for place in alone]
        if not reading:
            clauses += [Clause(one, "", other) for one, other in itertools.pairwise(alone)]
        return clauses

    def _claims(self, clause: Clause) -> tuple[str, ...]:
        """All sentences that say it: from either side, and each thing in every way that is not excluded."""
        first = _ways(self._query.things[clause.first])
        if clause.second is None:
            return tuple(thing.words() + self._where for thing in first)
        pairs = list(itertools.product(first, _ways(self._query.things[clause.second])))
        if not clause.name:
            said = [f"{one.alone().words()} {side} {other.alone().words()}" for one, other in pairs for side in SIDES]
        else:
            said = [f"{one.words()} {clause.name} {other.words()}" for one, other in pairs]
            if clause.name in OPPOSITES:
                said += [f"{other.words()} {OPPOSITES[clause.name]} {one.words()}" for one, other in pairs]
        return tuple(each + self._where for each in said)

    def _said(
        self, clause: Clause, changed: dict[int, Thing], *, name: str | None = None, where: str | None = None
    ) -> str:
        """The clause with some things in place of the query's, from its left or upper thing, as captions begin."""
        things = [changed.get(place) or self._query.things[place] for place in clause.things]
        relation, where = clause.name if name is None else name, self._where if where is None else where
        if relation in ("right of", "below"):
            relation, things = OPPOSITES[relation], things[::-1]
        return f" {relation} ".join(thing.words() for thing in things) + where

    def _label(self, clause: Clause) -> str:
        first = self._query.things[clause.first].words()
        if clause.second is None:
            return first
        return f"{first} {clause.name or 'and'} {self._query.things[clause.second].words()}"

    def _of_thing(self, place: int, clause: Clause) -> Iterator[Node]:
        thing = self._query.things[place]
        clause = Clause(place) if not clause.name else clause
        said = self._said(clause, {})
        for kind, word in (("noun", thing.noun), *thing.attributes):
            against = [
                self._said(clause, {place: thing.having(kind, each)}) for each in self._others(place, kind, word)
            ]
            if against:
                label = word if kind == "noun" else f"{word} {thing.noun}"
                yield Node(kind, label, (said,), tuple(against))
        for kind, word in thing.excluded:
            claims = tuple(self._said(clause, {place: way}) for way in _ways(thing))
            against = (self._said(clause, {place: thing.having(kind, word)}),)
            yield Node("excluded", f"{thing.noun} not {word}", claims, tuple(against))
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
        return list(found)[:_OTHERS]

    def _of_clause(self, clause: Clause) -> Iterator[Node]:
        if not clause.name or clause.second is None:
            return
        said = self._said(clause, {})
        swapped = list(self._swapped(clause))
        if swapped:
            yield Node("binding", f"which is which: {self._label(clause)}", (said,), tuple(swapped))
        names = (
            [each for each in SIDES if each != clause.name] if clause.name in SIDES else [OPPOSITES.get(clause.name)]
        )
        against = tuple(self._said(clause, {}, name=each) for each in names if each)
        if against:
            yield Node("relation", clause.name, (said,), against)

    def _swapped(self, clause: Clause) -> Iterator[str]:
        assert clause.second is not None
        first, second = self._query.things[clause.first], self._query.things[clause.second]
        for kind in ("color", "texture"):
            one, other = first.attribute(kind), second.attribute(kind)
            if one and other and one != other:
                changed = {clause.first: first.having(kind, other), clause.second: second.having(kind, one)}
                yield self._said(clause, changed)

    def _absent(self, place: int, beside: int) -> Node:
        """What is not to be there, beside a thing that is: against that thing alone, and against another one."""
        unwanted, thing = self._query.things[place].alone(), _ways(self._query.things[beside])[0]
        other = self._others(place, "noun", unwanted.noun)
        claims = tuple(f"{thing.words()} {side} {unwanted.words()}{self._where}" for side in SIDES)
        against = [f"{thing.words()}{self._where}"]
        if other:
            instead = unwanted.having("noun", other[-1]).words()
            against += [f"{thing.words()} {side} {instead}{self._where}" for side in SIDES]
        return Node("absent", f"no {self._query.things[place].noun}", claims, tuple(against))

    def _setting(self, clause: Clause) -> Iterator[Node]:
        setting = self._query.setting
        if setting is None or (clause.second is not None and not clause.name):
            return
        others = [each for each in NEAREST["setting"] if each != setting][:_OTHERS]
        against = tuple(self._said(clause, {}, where=f" on a {each} background") for each in others)
        yield Node("setting", f"{setting} background", (self._said(clause, {}),), against, 0, readings=self._all())


def _ways(thing: Thing) -> list[Thing]:
    """The thing with each attribute that is not excluded; itself where nothing is."""
    ways = [thing]
    for kind, word in thing.excluded:
        words = [each for each in NEAREST[kind] if each != word]
        ways = [way.having(kind, each) for way in ways for each in words]
    return ways
