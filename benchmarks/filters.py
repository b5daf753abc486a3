"""What filters cost: the first over a field, a new one over a known field, and one that was seen before.

    python -m benchmarks.filters [ITEMS]

Masks are checked against a plain Python loop. The last line is one JSON document.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import orjson

from index_service.columns import Blobs, Packed
from index_service.filters import canonical
from index_service.masks import FilterMasks

Json = dict[str, Any]
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


if __name__ == "__main__":
    items = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    print(json.dumps({"items": items, "filters": measure(items)}))
