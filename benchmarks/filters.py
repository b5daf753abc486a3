"""What filters cost: the first over a field, a new one over it, one seen before; searches by them; and after a restart.

    python -m benchmarks.filters [ITEMS]

Masks are checked against a plain Python loop. Searches are exact scans of ITEMS × 512, one query, the same without a
filter in the same run. After a restart the same search is timed twice: with nothing known of the fields, and once those
noted before have been read in the background. The last line is one JSON document.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import orjson

from index_service.collection.registry import Registry
from index_service.collection.warm_fields import WarmFields
from index_service.engines.exact.exact import ExactSegment
from index_service.metadata.columns import Blobs, Packed, RowBlock
from index_service.metadata.filters import canonical
from index_service.metadata.masks import FilterMasks
from index_service.record.store import CollectionInfo, Store, StoredItem
from index_service.segments.segments import view_of
from index_service.settings import IndexSettings

Json = dict[str, Any]
DIM, RESTART_DIM, REPEATS = 512, 32, 15
CASES: dict[str, tuple[list[Json], Callable[[Json], bool]]] = {
    "numbers": ([{"price": {"$gte": 99}}, {"price": {"$lt": 1}}], lambda d: d["price"] < 1),
    "few strings": ([{"color": "red"}, {"color": "blue"}], lambda d: d["color"] == "blue"),
    "unique strings": ([{"file": "img-7.jpg"}, {"file": "img-8.jpg"}], lambda d: d["file"] == "img-8.jpg"),
    "lists": ([{"tags": "a"}, {"tags": {"$nin": ["b"]}}], lambda d: "b" not in d["tags"]),
    "nested": ([{"at.k": 7}, {"at.k": 8}], lambda d: d["at"]["k"] == 8),
}


def documents(count: int) -> list[bytes]:
    """Metadata of `count` items, as JSON text."""
    draw = random.Random(0)
    return [
        orjson.dumps(
            {
                "color": draw.choice(("red", "green", "blue")),
                "n": n,
                "price": 100 * draw.random(),
                "tags": draw.sample("abcd", 2),
                "file": f"img-{n}.jpg",
                "at": {"k": n % 1000},
            }
        )
        for n in range(count)
    ]


def timed(masks: FilterMasks, filter_: Json, count: int) -> float:
    """Milliseconds."""
    where, started = canonical(filter_), time.perf_counter()
    masks.mask(where, count)
    return (time.perf_counter() - started) * 1e3


def measure(count: int) -> dict[str, dict[str, float]]:
    """Milliseconds by kind of field."""
    rows = documents(count)
    masks, result = FilterMasks(Blobs(Packed.of(rows))), {}
    for name, ((first, second), holds) in CASES.items():
        times = [timed(masks, filter_, count) for filter_ in (first, second, second)]
        assert int(masks.mask(canonical(second), count).sum()) == sum(holds(orjson.loads(row)) for row in rows)
        result[name] = dict(zip(("first_ms", "new_ms", "again_ms"), (round(ms, 4) for ms in times), strict=True))
        print(f"| {name}: first / another / seen before | {times[0]:.0f} / {times[1]:.2f} / {times[2]:.3f} ms |")
    return result


def searches(count: int) -> dict[str, float]:
    """Median milliseconds of an exact search: of all items, of one in a hundred, of three."""
    draw, filters = (
        np.random.default_rng(0),
        {"all": None, "1%": {"at.k": {"$lt": 10}}, "3": {"n": {"$in": [5, 77, 999]}}},
    )
    vectors = draw.standard_normal((count, DIM), np.float32) / np.float32(DIM**0.5)
    texts = documents(count)
    ids = [b"%d" % n for n in range(count)]
    view = view_of(ExactSegment(vectors), RowBlock(np.arange(count), vectors, Packed.of(ids), Packed.of(texts)))
    wheres = {name: None if filter_ is None else canonical(filter_) for name, filter_ in filters.items()}
    times: dict[str, list[float]] = {name: [] for name in wheres}
    for _ in range(REPEATS + 1):  # the first reads the fields, and isn't counted
        for name, where in wheres.items():
            started = time.perf_counter()
            view.search(vectors[:1], 10, where, False)
            times[name].append((time.perf_counter() - started) * 1e3)
    return {name: round(statistics.median(of[1:]), 3) for name, of in times.items()}


def restarts(count: int) -> dict[str, float]:
    """Milliseconds of the first filtered search after a restart, and the seconds until the fields noted are read."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        store = Store(folder / "index.sqlite3")
        registry = _started(store, folder)
        _fill(registry, count)
        _filtered(registry)
        WarmFields(registry).note()
        cold = _filtered(_started(store, folder))
        again, started = _started(store, folder), time.perf_counter()
        WarmFields(again).recall()
        seconds = time.perf_counter() - started
        warm = _filtered(again)
        store.close()
    return {"unknown_ms": round(cold, 2), "noted_ms": round(warm, 2), "read_s": round(seconds, 2)}


def _started(store: Store, folder: Path) -> Registry:
    registry = Registry(store, IndexSettings(data_dir=folder))
    registry.load()
    return registry


def _fill(registry: Registry, count: int) -> None:
    collection, _ = registry.create(CollectionInfo("c", "m", "f", RESTART_DIM, engine="exact"))
    vectors = np.random.default_rng(0).standard_normal((count, RESTART_DIM), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = documents(count)
    for start in range(0, count, 4096):
        rows = range(start, min(start + 4096, count))
        collection.upsert([StoredItem(f"i{n}", vectors[n].tobytes(), texts[n]) for n in rows], vectors[rows])
    collection.compact()


def _filtered(registry: Registry) -> float:
    view, where = registry.get("c").view, canonical({"color": "red", "at.k": {"$lt": 10}})
    started = time.perf_counter()
    view.search(np.ones((1, RESTART_DIM), np.float32) / np.float32(RESTART_DIM**0.5), 10, where, False)
    return (time.perf_counter() - started) * 1e3


def main() -> None:
    """Measure and print."""
    items = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    found, ms, restart = measure(items), searches(items), restarts(items)
    print(f"| first filter after a restart: unknown / noted | {restart['unknown_ms']} / {restart['noted_ms']} ms |")
    print(f"| exact search of all / 1 % / 3 items | {ms['all']} / {ms['1%']} / {ms['3']} ms |")
    ratio = ms["all"] / ms["1%"]
    bar = {"name": "filtered_1_percent_qps_ratio", "value": round(ratio, 2), "bar": "≥ 0.7", "holds": ratio >= 0.7}
    print(json.dumps({"items": items, "filters": found, "search_ms": ms, "restart": restart, "bars": [bar]}))


if __name__ == "__main__":
    main()
