"""The page's modules without the page: arithmetic, batches, facets, addresses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import Open
from tests.browser.library import Library

pytestmark = pytest.mark.browser


@pytest.fixture
def run(visit: Open, library: Library) -> Any:
    """`run("samples.js", "quantile", …)` calls a module's function in the browser."""
    page = visit("/docs", url=library.url)
    call = "async ([file, name, given]) => (await import(`/ui/${file}`))[name](...given)"
    return lambda file, name, *given: page.evaluate(call, [file, name, given])


@pytest.mark.parametrize(
    ("counts", "part", "ms"),
    [
        ([0, 0, 0], 0.5, None),
        ([10, 10, 10], 0.5, 5),  # the middle of 0 … 10 ms
        ([0, 10, 10], 0.5, 15),  # the middle of 10 … 20 ms
        ([5, 10, 10], 0.75, 15),
        ([0, 0, 4], 0.99, 20),  # beyond all bounds: the last of them
    ],
)
def test_percentiles_as_prometheus_has_them(run: Any, counts: list[int], part: float, ms: float | None) -> None:
    assert run("samples.js", "quantile", [0.01, 0.02], counts, part) == pytest.approx(ms)


def test_uploads_go_in_batches_of_few_files_and_few_bytes(run: Any) -> None:
    files = [{"size": 1000}] * 17 + [{"size": 5_000_000}, {"size": 5_000_000}, {"size": 50_000_000}]
    assert [len(batch) for batch in run("upload/batches.js", "batches", files)] == [8, 8, 2, 1, 1]
    assert run("upload/batches.js", "batches", [{"size": 1e9}]) == [[{"size": 1e9}]]


def test_of_a_chosen_folder_only_pictures_go_in_and_nothing_hidden(run: Any) -> None:
    paths = {".photos/a.jpg": True, ".photos/b/c.HEIC": True, ".photos/._a.jpg": False, ".photos/.old/a.jpg": False}
    files = [
        {"type": "image/jpeg" if path.endswith("jpg") else "", "name": path.split("/")[-1], "webkitRelativePath": path}
        for path in (*paths, ".photos/a.txt")
    ]
    found = run("upload/batches.js", "pictures", files)
    assert [file["webkitRelativePath"] for file in found] == [path for path, is_one in paths.items() if is_one]


def test_scores_have_the_name_and_the_scale_of_their_metric(run: Any) -> None:
    run("scores.js", "noteMetrics", [{"name": "a", "metric": "cosine"}, {"name": "b", "metric": "dot"}])
    assert [run("scores.js", "scoreName", name) for name in "ab"] == ["cosine similarity", "inner product"]
    assert [run("scores.js", "filled", *given) for given in ((0.3, "a", 0.5), (30, "b", 40), (-1, "b", -1))] == [
        0.3,
        0.75,
        0,
    ]
    assert run("scores.js", "filled", 0, "b", 0) == 0


def test_facets_are_fields_with_a_few_repeated_values(run: Any) -> None:
    def field(name: str, *counts: tuple[Any, int], distinct: int = 0) -> dict[str, Any]:
        values = [{"value": value, "count": count} for value, count in counts]
        return {"field": name, "distinct": distinct or len(counts), "missing": 0, "values": values}

    counted = [
        field("n", (2, 30), (10, 20), (1, 10)),
        field("same", (1, 60)),
        field("unique", ("a", 1), ("b", 1)),
        field("many", ("a", 9), ("b", 8), distinct=40),
        field("caption", ("a", 2), ("b", 2)),
        field("nothing"),
    ]
    assert run("filters.js", "facetsOf", counted) == [{"field": "n", "values": [1, 2, 10]}]


@pytest.mark.parametrize(
    "address",
    [
        "?collection=demo",
        "?collection=a-b&q=red+%26+blue&not=small&like=a%2Fb&picture=c&weights=text%3A0.5%2Cnegative%3A1.2&item=x",
        "?collection=demo&filter=%7B%22n%22%3A%5B1%2Ctrue%2C%22a%22%5D%7D",
    ],
)
def test_an_address_is_what_it_was_read_from(run: Any, address: str) -> None:
    assert run("state.js", "toAddress", run("state.js", "fromAddress", address)) == address


def test_weights_outside_of_the_sliders_are_not_taken(run: Any) -> None:
    weights = run("state.js", "fromAddress", "?weights=text:9,like:-1,negative:x,picture:2,other:1")["weights"]
    assert weights == {"text": 1, "picture": 2, "like": 1, "negative": 0.5}


def test_the_best_score_need_not_be_the_first(run: Any) -> None:
    hits = [{"score": 0.2}, {"score": 0.4}, {"score": 0.3}]
    assert run("scores.js", "bestOf", hits) == {"score": 0.4}
    assert run("scores.js", "bestOf", []) is None


def test_engines_and_recall_in_words(run: Any) -> None:
    calibration = {"recall_target": 0.95, "recall": 0.941, "reached": False, "k": 10}
    segment = {"engine": "faiss", "factory": "IVF64,SQ8", "delta": 1200, "tombstones": 3, "calibration": calibration}
    told = {"model": "b", "model_status": "not_served", "metric": "dot", "engine": "auto", "count": 60000, "dim": 512}
    live = [{"engine": "faiss", "k": 10, "recall": 0.97, "samples": 1}, {"engine": "exact", "k": 1, "recall": 1}]
    rows = dict(run("collection/facts.js", "rowsOf", {**told, "segment": segment, "recall": live}))
    assert rows["Engine"] == "auto; now faiss, IVF64,SQ8"
    assert rows["Recall"].split("; ") == [
        "target 0.95",
        "0.941 of the best 10 when it was built, which misses the target",
        "0.97 of the best 10 in 1 live search",
    ]
    assert rows["Items"] == "60,000; 1,200 new and 3 replaced or deleted until the next merge"
    assert rows["Memory"] == "about 123 MB for vectors of 512 numbers"
    assert rows["Model"] == "b, which is not served now: searches by vectors only"
    assert rows["Scores"] == "inner products, without bounds"
    milvus = dict(run("collection/facts.js", "rowsOf", {**told, "segment": {"engine": "milvus"}, "recall": []}))
    hnsw = dict(
        run("collection/facts.js", "rowsOf", {**told, "engine": "hnsw", "segment": {**segment, "engine": "hnsw"}})
    )
    assert (hnsw["Engine"], milvus["Engine"]) == ("hnsw, IVF64,SQ8", "auto; now milvus")
    assert milvus["Recall"] == "not measured yet"
    assert set(rows).isdisjoint({"Aliases", "Limits", "Made", "Notes", "Trouble"})  # not told
