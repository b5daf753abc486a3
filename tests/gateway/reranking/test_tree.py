"""Trees: claims against minimal counterfactuals, values of nodes, and orders by them within budgets."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from clip_core.errors import BadImage, ClipServeError, WorkerLost
from gateway.reranking.asking import Asking
from gateway.reranking.budget import Budget
from gateway.reranking.ordering import reordered
from gateway.reranking.pace import CaptionerPace
from gateway.reranking.plain import rank_by_sentence
from gateway.reranking.query.parse import parse_query
from gateway.reranking.scorer import Row, Scores
from gateway.reranking.served.told import told_missing
from gateway.reranking.tree.growing import MOST_NODES, grow
from gateway.reranking.tree.node import LEAST, MOST, Node, Tree, together
from gateway.reranking.tree.ranking import TreeRanking, rank_by_tree
from gateway.reranking.tree.weights import Weights, fitted_weights

QUERY = "a red circle left of a blue square on a white background"


def tree_of(text: str) -> Tree:
    parsed = parse_query(text)
    assert parsed is not None
    return grow(parsed)


def node(tree: Tree, kind: str, label: str = "") -> Node:
    return next(each for each in tree.nodes if each.kind == kind and label in each.label)


def test_counterfactuals_differ_in_one_thing() -> None:
    tree = tree_of(QUERY)
    where = " on a white background"
    clause = node(tree, "clause")
    assert clause.claims == (
        f"a red circle left of a blue square{where}",
        f"a blue square right of a red circle{where}",
    )
    assert node(tree, "color", "red").against[0] == f"a blue circle left of a blue square{where}"
    assert node(tree, "binding").against == (f"a blue circle left of a red square{where}",)
    assert f"a blue square left of a red circle{where}" in node(tree, "relation").against
    assert node(tree, "setting").against[0] == "a red circle left of a blue square on a black background"
    assert [tree.nodes[need].label for need in node(tree, "relation").needs] == [
        *("circle", "red circle", "square", "blue square")
    ]
    assert [len(stage) for stage in tree.stages] == [1, 5, 2]


def test_counts_absence_and_exclusion() -> None:
    tree = tree_of("two red circles without a star")
    assert node(tree, "count").against == ("a red circle", "three red circles")
    absent = node(tree, "absent")
    assert "two red circles left of a star" in absent.claims
    assert absent.against[0] == "two red circles"
    excluded = node(tree_of("a striped ring that is not red"), "excluded")
    assert excluded.against == ("a red striped ring",)
    assert "a blue striped ring" in excluded.claims
    assert "a red striped ring" not in excluded.claims
    assert node(tree_of("a red ring that is not blue"), "excluded").claims == ("a red ring",)


def test_many_exclusions_stay_few_sentences() -> None:
    colors = ["red", "blue", "green", "yellow", "orange", "purple", "pink", "cyan", "brown", "lime"]
    thing = f"a {' '.join(f'non-{color}' for color in colors)} non-striped non-small circle"
    tree = tree_of(f"{thing} left of {thing.replace('circle', 'star')}")
    assert all(len(each.claims) <= 48 for each in tree.nodes)
    assert node(tree, "clause").claims


def test_a_stage_is_no_more_than_a_captioner_takes() -> None:
    things = [
        f"a non-{color} {noun}" for color, noun in zip(["red", "blue", "lime", "pink", "cyan"], "abcde", strict=True)
    ]
    for joins in (("left of", "above", "below", "behind"), ("left of", "and above", "and below", "and behind")):
        text = things[0] + "".join(f" {join} {thing}" for join, thing in zip(joins, things[1:], strict=True))
        tree = tree_of(text)
        texts = [{text for place in stage for text in tree.nodes[place].texts} for stage in tree.stages]
        assert all(len(each) <= 256 for each in texts)


def test_words_without_counterfactuals_are_only_claimed() -> None:
    assert [each.kind for each in tree_of("a brass lamp").nodes] == ["clause", "count"]
    assert (
        len(tree_of("a red cat left of a blue dog and above a pink hen and below a lime cow behind an ox").nodes)
        <= MOST_NODES
    )


def test_values() -> None:
    told = {"a": -1.0, "b": -1.0, "c": -3.0, "d": -90.0}
    assert Node("clause", "", ("a", "b")).value(told) == pytest.approx(-1 + math.log(2))
    assert Node("color", "", ("a",), ("c",)).value(told) == pytest.approx(2.0)
    assert Node("absent", "", ("a",), ("c",)).value(told) == pytest.approx(-2.0)
    assert Node("color", "", ("a",), ("d",)).value(told) == MOST
    assert Node("color", "", ("d",), ("a",)).value(told) == LEAST
    assert together([-1000.0, -1000.0]) == pytest.approx(-1000 + math.log(2))


def test_the_best_reading_counts() -> None:
    tree = tree_of("a cat left of a dog below a box")
    weights = Weights(({"clause": 1.0},))
    values = {0: -1.0, 1: -9.0, 2: -2.0}
    assert [sorted(each.readings) for each in tree.nodes[:3]] == [[0, 1], [0], [1]]
    assert weights.score(tree, 0, values, 0.5) == -3.0
    assert Weights(({"clause": 1.0, "similarity": 0.02},)).score(tree, 0, values, 0.5) == -2.0


def test_only_what_has_a_score_changes_places() -> None:
    assert reordered([4, 3, 2, 1], {4: 0.0, 2: 5.0, 1: 1.0}) == [2, 3, 1, 4]
    assert reordered([1, 2, 3], {1: 0.0, 2: 0.0}) == [1, 2, 3]


@dataclass
class Shown:
    """A captioner for which a text is as likely as it has words of what the picture shows."""

    pictures: Sequence[str]
    delay_s: float = 0.0
    dies_after: int | None = None
    broken: frozenset[int] = frozenset()
    asked: list[tuple[int, int]] = field(default_factory=list)  # pictures and texts of each call

    async def score(self, places: Sequence[int], texts: Sequence[str], most_tokens: int | None) -> Scores:
        if self.dies_after is not None and len(self.asked) >= self.dies_after:
            raise WorkerLost("the worker ended")
        self.asked.append((len(places), len(texts)))
        await asyncio.sleep(self.delay_s)
        cost = sum(len(text.split()) for text in texts)
        tried = len(places) if most_tokens is None else most_tokens // cost
        rows = [self._row(place, texts) if at < tried else None for at, place in enumerate(places)]
        return Scores(rows, cost * sum(isinstance(row, list) for row in rows), len(places))

    def _row(self, place: int, texts: Sequence[str]) -> Row:
        if place in self.broken:
            return BadImage("broken")
        shown = self.pictures[place]
        return [-float(text != shown) - 3.0 * len(set(text.split()) ^ set(shown.split())) for text in texts]


PICTURES = [
    *(
        "a blue circle left of a red square on a white background",
        "a red circle right of a blue square on a white background",
    ),
    *("a red star left of a blue square on a white background", QUERY, "a moon", "a red circle"),
]


def ranked(scorer: Shown, budget: Budget | None = None, text: str = QUERY) -> tuple[TreeRanking, Asking]:
    asking = Asking(scorer, budget or Budget())
    similarities = {place: 0.9 - place / 100 for place in range(len(scorer.pictures))}
    return asyncio.run(rank_by_tree(tree_of(text), similarities, asking, fitted_weights(), (None, 4, 2))), asking


def test_stages_ask_fewer_and_fewer() -> None:
    scorer = Shown(PICTURES)
    ranking, asking = ranked(scorer)
    assert ranking.order[0] == 3
    assert ranking.stages == [6, 4, 2]
    assert sorted(ranking.order) == list(range(6))
    assert asking.budget.spent is None
    assert asking.budget.used_tokens > 0


def test_what_depends_on_what_is_not_there_is_not_asked() -> None:
    ranking, _ = ranked(Shown(["a moon", "a heart", "a green moon"]))
    assert ranking.pruned > 0
    relation = [place for place, each in enumerate(tree_of(QUERY).nodes) if each.kind == "relation"]
    assert all(values[relation[0]] == LEAST for values in ranking.values.values() if relation[0] in values)


def test_candidates_whose_picture_is_broken_keep_their_places() -> None:
    ranking, asking = ranked(Shown(PICTURES, broken=frozenset({1})))
    assert asking.unreadable == {1}
    assert ranking.order[1] == 1
    assert ranking.order[0] == 3


def test_what_the_first_does_not_fit_is_told() -> None:
    fits, _ = ranked(Shown(PICTURES))
    assert told_missing(tree_of(QUERY), fits) == []
    for picture in ("a red circle right of a blue square", "a blue circle left of a red square"):
        misfit, _ = ranked(Shown([f"{picture} on a white background"]))
        assert "a red circle left of a blue square" in told_missing(tree_of(QUERY), misfit)


@pytest.mark.parametrize("dies_after", [0, 1, 2])
def test_a_captioner_that_dies_leaves_the_best_order_so_far(dies_after: int) -> None:
    ranking, asking = ranked(Shown(PICTURES, dies_after=dies_after))
    assert isinstance(asking.error, ClipServeError)
    assert len(ranking.stages) == dies_after + 1
    assert (ranking.order[0] == 3) == (dies_after > 0)
    assert sorted(ranking.order) == list(range(6))


def test_tokens_that_end() -> None:
    free, _ = ranked(Shown(PICTURES))
    for tokens in (0, 5, 60, 200, 10**6):
        ranking, asking = ranked(Shown(PICTURES), Budget(tokens=tokens))
        assert asking.budget.used_tokens <= tokens
        assert (asking.budget.spent == "tokens") == (tokens < 10**6)
        assert sorted(ranking.order) == list(range(6))
    assert ranking.order == free.order


def test_time_that_ends() -> None:
    for ms, stages in ((0, 0), (30, 1)):
        started = time.perf_counter()
        ranking, asking = ranked(Shown(PICTURES, delay_s=5), Budget(ms=ms))
        assert time.perf_counter() - started < 0.5
        assert asking.budget.spent == "ms"
        assert ranking.order == list(range(6))
        assert len(ranking.stages) == stages


def test_many_candidates_are_asked_in_parts_and_the_first_parts_count() -> None:
    scorer = Shown([*["a moon"] * 63, QUERY] * 10, delay_s=0.02)
    asking = Asking(scorer, Budget(ms=70))
    ranking = asyncio.run(rank_by_sentence(QUERY, range(640), asking))
    assert asking.budget.spent == "ms"
    assert 16 <= len(ranking.scores) < 640
    assert all(pictures <= 16 for pictures, _ in scorer.asked)
    whole = asyncio.run(rank_by_sentence(QUERY, range(640), Asking(Shown(scorer.pictures), Budget())))
    assert whole.order[:10] == [63 + 64 * place for place in range(10)]


class OneWorker(Shown):
    """As TorchServe's: it ends what was sent to it, one after the other, also for those who have gone."""

    free_at = 0.0

    async def score(self, places: Sequence[int], texts: Sequence[str], most_tokens: int | None) -> Scores:
        self.free_at = max(self.free_at, time.perf_counter()) + 0.01 * len(places)
        await asyncio.sleep(self.free_at - time.perf_counter())
        return await super().score(places, texts, most_tokens)


@pytest.mark.parametrize("ms", [120, 240])
def test_searches_with_small_budgets_get_their_share_one_after_the_other(ms: int) -> None:
    """Sixteen pictures take 160 ms: two calls of them are too much for either budget, until that is known."""

    async def searches() -> list[int]:
        scorer, pace, scored = OneWorker([*["a moon"] * 63, QUERY]), CaptionerPace(), list[int]()
        for _ in range(16):
            ranking = await rank_by_sentence(QUERY, range(64), Asking(scorer, Budget(ms=ms), pace))
            scored.append(len(ranking.scores))
        return scored

    scored = asyncio.run(searches())
    assert sum(each > 0 for each in scored[-4:]) >= 3, scored
