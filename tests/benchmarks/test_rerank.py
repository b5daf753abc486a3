"""The benchmark of reranking: queries that mean one picture of six, which the parser understands; its statistics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from benchmarks.lib.reports import judge
from benchmarks.rerank import page, plot, served
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
from gateway.reranking.served.reranker import NO_MODEL

ASKED = queries(HARD, 90, 4)
KNOWN = [*ASKED, *queries(HARDER, 90, 4), *ordinary_queries(30, 4)]


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


def report_of(**figures: float) -> dict[str, Any]:
    """Of a whole run: the tree is right everywhere but in counts, where one sentence is."""
    judged = JudgedArms()
    for place in range(40):
        kind = ("relation", "count")[place % 2]
        best = "tree" if kind == "relation" else "generative_more"
        judged.add(kind, {arm: ArmOutcome(arm == best or place % 4 == 0, tokens=100, pictures=20) for arm in ARMS})
    poor = {"captioner": "noise 1", "canaries": 0.1, "canaries_of_the_search": 0.7, "recall_at_1": 0.2}
    return {
        "machine": {"cpu": "a CPU", "cores": 2},
        "hard": judged.report(),
        "harder": judged.report(),
        "poor": [{**poor, "plain_recall_at_1": 0.8, "let_in": False}],
        "figures": figures,
        "bars": judge({"added_p50_ms": 90.0}, BARS),
    }


SERVED = {
    "served_plain_p50_ms": 9.0,
    "served_tree_p50_ms": 99.0,
    "added_p50_ms": 90.0,
    "pictures_new_to_the_captioner": 4.5,
    "many_candidates": 612.0,
    "many_candidates_ms": 2000.0,
}


def test_the_page_is_written_from_a_report() -> None:
    report = report_of(**SERVED, first_tree_ms=634.0, first_measuring_ms=512.0)
    written = page.updated(page.PAGE.read_text(encoding="utf-8"), report)
    assert "| tree of 20 candidates: added p50, ms | 90 | ≤ 150 |" in written
    assert "| plain search | 0.250 | 0.500 | 0.000 | 100 | 20 + 1 | +0.250 (" in written
    assert "the tree wins on relation (+0.500, 95 % " in written
    assert "; loses on count (-1.000, 95 % " in written
    assert "| `tree`, 20 candidates, 4.5 of them new to it | 99 | +90 |" in written
    assert "spent 512 of 634 ms on" in written
    assert "No language model was configured" in written
    assert "| noise 1 | 0.1 | 0.7 | 0.2 | 0.8 | no |" in written
    assert set(BARS) == set(page._LABELS)
    assert page.updated(written, report) == written


def test_a_report_without_some_of_its_figures_makes_a_page() -> None:
    """Of a run before intervals of kinds, or of some parts."""
    report = report_of()
    for name in ("hard", "harder"):
        del report[name]["tree_minus_generative_more_by_kind"]
    written = page.updated(page.PAGE.read_text(encoding="utf-8"), report)
    assert "the tree wins on relation (+0.500); loses on count (-1.000)." in written
    assert "Time on" not in written


def test_the_plot_has_every_arm(tmp_path: Path) -> None:
    plot.draw(report_of(), tmp_path / "reranking.png")
    assert set(plot._COLOURS) == set(ARMS)
    with Image.open(tmp_path / "reranking.png") as image:
        assert image.width > 900


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


def stack_that(llm_note: str | None) -> httpx.Client:
    """A search finds the query's picture first by a language model, and last without."""
    place = {query.text: n for n, query in enumerate(ASKED)}

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        ids = ["q999-0", f"q{place[body['text']]}-0"][:: -1 if "rerank" in body else 1]
        told = {"rerank": {"note": llm_note, "applied": True, "tokens": 700}} if "rerank" in body else {}
        return httpx.Response(200, json={"hits": [{"id": each} for each in ids], **told})

    return httpx.Client(base_url="http://stack", transport=httpx.MockTransport(answer))


def test_a_language_model_is_judged_where_one_is_configured() -> None:
    with stack_that(None) as client:
        figures = served._listwise(client, ASKED)
    assert (figures["llm_queries"], figures["llm_tokens"], figures["llm_applied"]) == (30, 700, 1)
    assert (figures["served_llm_recall_at_1"], figures["served_llm_plain_recall_at_1"]) == (1, 0)
    written = page.updated(page.PAGE.read_text(encoding="utf-8"), report_of(**SERVED, **figures))
    assert "put 30 of the hard queries in order: recall@1 1.000, by the search 0.000, 700 tokens each." in written
    assert "No language model" not in written
    with stack_that(NO_MODEL) as client:
        assert served._listwise(client, ASKED) == {}
