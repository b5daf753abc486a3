"""What bodies are turned into."""

from __future__ import annotations

import tracemalloc

from index_service.collection.bodies import metadata_json


def test_metadata_takes_the_memory_of_its_text() -> None:
    """orjson's own bytes have 4 KB behind them, which millions of rows would keep."""
    tracemalloc.start()
    try:
        kept = [metadata_json({"row": row}, 1000) for row in range(1000)]
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept[7] == b'{"row":7}'
    assert held < 200 * len(kept)
