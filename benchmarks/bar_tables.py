"""The tables of bars in docs/engines.md (index) and docs/performance.md (gateway), from the committed results.

    python -m benchmarks.bar_tables

Run after `make bench-index` or `make bench-gateway` with --save. Each table stands between marks of its own.
"""

from __future__ import annotations

import json
from typing import Any

from benchmarks.gateway import command as gateway
from benchmarks.index import command as index
from benchmarks.lib.markdown import between, measured
from benchmarks.lib.markdown import table as markdown_table
from benchmarks.lib.reports import DOCS, RESULTS

PAGES = {"index": DOCS / "engines.md", "gateway": DOCS / "performance.md"}
BARS = {**index.BARS, **gateway.BARS}
LABELS = {
    "index": {
        "certified_vs_flat": "certified exact, one query ÷ FAISS IndexFlatIP and IndexFlatIPPanorama (speed)",
        "exact_batch_64_vs_flat": "exact, batch of 64 ÷ FAISS IndexFlatIP (speed)",
        "ann_http_batch_16_vs_raw": "batch of 16 over HTTP ÷ FAISS in process, the same setting (speed)",
        "http_batch_16_beyond_raw_p50_ms": "batch of 16 over HTTP beyond FAISS's own time, p50, ms",
        "http_search_beyond_raw_p50_ms": "one HTTP search beyond FAISS's own time, p50, ms",
        "auto_vs_best_engine_qps": "the engine that `auto` picks ÷ the best of all tried (QPS at recall 0.95)",
        "upsert_vectors_per_s": "durable upserts, batches of 256, vectors/s",
        "filtered_1_percent_vs_unfiltered_qps": "search with a 1 % filter ÷ without (QPS)",
        "resident_vs_raw_vectors": "memory of the service's own ÷ raw vectors, quantized engine, vectors on disk",
        "restart_s": "restart to ready, s",
        "p99_during_compaction_vs_rest": "search p99 during a merge ÷ at rest",
    },
    "gateway": {
        "gateway_cost_p50_ms": "what the gateway adds to one text embedding, p50, ms",
        "texts_per_s_over_torchserve": "texts/s at 32 clients, cache off ÷ straight to TorchServe",
        "server_cpu_per_text_over_torchserve": "processor time of the servers for a text ÷ TorchServe alone",
        "images_per_s_over_infinity": "ViT-B/32 pictures/s at 16 clients ÷ Infinity's torch engine",
        "texts_per_s_over_infinity": "ViT-B/32 short texts/s at 32 clients ÷ Infinity's torch engine",
        "list_of_64_over_singles": "a list of 64 texts ÷ 64 single requests (texts/s)",
        "overload_throughput_over_peak": "four times the capacity: answered ÷ peak",
        "overload_p99_over_capacity": "four times the capacity: p99 of those answered ÷ p99 at capacity",
        "soak_errors": "at 70 % load: errors",
        "soak_memory_growth": "at 70 % load: growth of memory after the first minute",
    },
}


def write() -> None:
    for name, path in PAGES.items():
        path.write_text(updated(path.read_text(encoding="utf-8"), name), encoding="utf-8")


def updated(page: str, name: str) -> str:
    """`page` with the table of "index" or "gateway" written again. Raises ValueError without its marks."""
    bars = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["bars"]
    begin, end = f"<!-- {name}: written by `python -m benchmarks.bar_tables` -->", f"<!-- end of {name} -->"
    return between(page, begin, end, table(bars, LABELS[name]))


def table(bars: list[dict[str, Any]], labels: dict[str, str]) -> str:
    """Raises KeyError for a bar without a label."""
    rows = [(labels[bar["name"]], measured(bar), "{1} {0:,g}".format(*BARS[bar["name"]])) for bar in bars]
    return markdown_table(("what was asked for", "measured", "bar"), rows)


if __name__ == "__main__":
    write()
