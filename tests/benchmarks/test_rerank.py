"""The benchmark of reranking: queries that mean one picture of six, which the parser understands; its statistics."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.lib.reports import judge
from benchmarks.rerank import page
from benchmarks.rerank.arms import ARMS, ArmOutcome
from benchmarks.rerank.command import BARS
from benchmarks.rerank.fit import Example, fit
from benchmarks.rerank.meaning import lies
from benchmarks.rerank.orders import JudgedArms
from benchmarks.rerank.ordinary import ordinary_queries
from benchmarks.rerank.queries import HARD, HARDER, KnownQuery, queries
from benchmarks.rerank.statistics import paired
from gateway.reranking.query.parse import parse_query
from gateway.reranking.query.parsed_query import NounPhrase

KNOWN = [*queries(HARD, 90, 4), *queries(HARDER, 90, 4), *ordinary_queries(30, 4)]


def test_each_query_means_its_first_picture_and_none_of_its_distractors() -> None:
    assert len({query.text for query in KNOWN}) > 200
    for query in KNOWN:
        shown = [query.meaning.shown_by(scene) for scene in query.scenes]
        assert shown == [True, *[False] * (len(shown) - 1)], query.text


@pytest.mark.parametrize("query", KNOWN[::7], ids=lambda query: query.text)
def test_the_parser_reads_what_the_benchmark_means(query: KnownQuery) -> None:
    parsed = parse_query(query.text)
    assert parsed is not None
    assert [said(parsed.things[place]) for place in parsed.present()] == [said(each) for each in query.meaning.things]
    assert [said(parsed.things[place])[0] for place in parsed.absent] == [each.noun for each in query.meaning.absent]
    assert parsed.readings[0] == query.meaning.relations
    assert parsed.setting == query.meaning.setting


def said(thing: NounPhrase) -> tuple[object, ...]:
    return thing.noun, thing.count, sorted(thing.attributes), sorted(thing.excluded)


def test_places() -> None:
    assert lies("left of", (0.2, 0.5), (0.8, 0.55))
    assert not lies("left of", (0.2, 0.2), (0.8, 0.8))
    assert lies("above", (0.5, 0.2), (0.4, 0.8))
    assert not lies("below", (0.5, 0.2), (0.4, 0.8))


def test_a_paired_difference_has_its_interval() -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.random(1000) < 0.8).tolist(), (rng.random(1000) < 0.7).tolist()
    difference, low, high = paired(one, other)
    assert difference == pytest.approx(np.mean(one) - np.mean(other))
    assert low < difference < high
    assert high - low == pytest.approx(2 * 1.96 * np.std(np.subtract(one, other, dtype=float)) / 1000**0.5, rel=0.1)
    assert paired(one, one) == (0.0, 0.0, 0.0)


def test_the_page_is_written_from_a_report() -> None:
    judged = JudgedArms()
    for place in range(40):
        right = {arm: ArmOutcome(arm == "tree" or place % 4 == 0, tokens=100, pictures=20) for arm in ARMS}
        judged.add(("relation", "count")[place % 2], right)
    poor = {"captioner": "noise 1", "canaries": 0.1, "canaries_of_the_search": 0.7, "recall_at_1": 0.2}
    report = {
        "hard": judged.report(),
        "harder": judged.report(),
        "poor": [{**poor, "plain_recall_at_1": 0.8, "let_in": False}],
        "bars": judge({"added_p50_ms": 90.0}, BARS),
    }
    written = page.updated(page.PAGE.read_text(encoding="utf-8"), report)
    assert "| tree of 20 candidates: added p50, ms | 90 | ≤ 150 |" in written
    assert "| plain search | 0.250 | 0.500 | 0.000 | 100 | +0.750 (" in written
    assert "| noise 1 | 0.1 | 0.7 | 0.2 | 0.8 | no |" in written
    assert set(BARS) == set(page._LABELS)


def test_weights_find_what_tells_right_pictures_and_are_never_negative() -> None:
    rng, examples = np.random.default_rng(1), []
    for _ in range(200):
        features = rng.normal(size=(1, 20, 13))
        right = np.zeros(20, dtype=bool)
        right[(features[0, :, 1] - features[0, :, 3]).argmax()] = True
        examples.append(Example(features, right))
    first, second, third = fit(examples)
    assert set(first) <= {"similarity", "clause", "joint"}
    assert all(weight > 0 for stage in (first, second, third) for weight in stage.values())
    assert max(third, key=lambda name: third[name]) == "clause"
