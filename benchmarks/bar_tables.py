"""The tables of bars in docs/{engines,performance,captions,speculation}.md, from the results.

    python -m benchmarks.bar_tables

Run after `make bench-index`, `bench-gateway`, `bench-captions` or `bench-speculation` with --save. Each table stands
between marks of its own.
"""

from __future__ import annotations

from typing import Any

from benchmarks.captions import command as captions
from benchmarks.gateway import command as gateway
from benchmarks.index import command as index
from benchmarks.lib.markdown import bars_table, rewritten
from benchmarks.lib.reports import DOCS, saved
from benchmarks.speculation import command as speculation

PAGES = {
    "index": DOCS / "engines.md",
    "gateway": DOCS / "performance.md",
    "captions": DOCS / "captions.md",
    "speculation": DOCS / "speculation.md",
}
BARS = {**index.BARS, **gateway.BARS, **captions.BARS, **speculation.BARS}
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
    "captions": {
        "tokens_that_differ_random": "24 pictures, greedy and beam, fp32 eager and compiled: tokens that differ",
        "beam_fp32_over_open_clip_batch_1": "beam, fp32 ÷ open_clip, one picture (captions/s)",
        "beam_fp32_over_open_clip_batch_4": "beam, fp32 ÷ open_clip, four pictures (captions/s)",
        "beam_int8_batch_8_over_open_clip_batch_4": "beam, int8, eight pictures ÷ open_clip's four (captions/s)",
        "int8_step_over_fp32_eager": "one step of one row: int8 ÷ fp32 that is not compiled (time)",
        "tokens_that_differ_demo": "demo's captioner, 500 unseen scenes, batches of 1, 4 and 8: tokens that differ",
        "int8_share_equal_demo": "the same in int8: share of captions that are equal, greedy and beam",
        "served_over_in_process": "through TorchServe, 32 clients ÷ the same scheduler in one process (captions/s)",
        "p50_over_static_at_70_percent": "p50 at 70 % load ÷ static batching",
        "first_token_over_whole": "first streamed token ÷ whole caption (time)",
    },
    "speculation": {
        "int8_neighbours_over_plain": "int8, one picture, unseen, retrieval included ÷ plain (captions/s)",
        "int8_neighbours_over_random": "the same ÷ random captions as drafts, which cost nothing to find",
        "least_default_over_plain": "the default ÷ plain, the least of 1 to 32 at once in any precision",
        "changed_int8": "captions changed by drafts, of 10,000, int8",
        "changed_fp32": "the same, fp32",
        "changed_bf16": "the same, bf16",
    },
}


def write() -> None:
    for name, path in PAGES.items():
        path.write_text(updated(path.read_text(encoding="utf-8"), name), encoding="utf-8")


def updated(page: str, name: str) -> str:
    """`page` with that table written again, where there are results. Raises ValueError without its marks."""
    if not (report := saved(name)):
        return page
    return rewritten(page, {name: table(report["bars"], LABELS[name])}, "python -m benchmarks.bar_tables")


def table(bars: list[dict[str, Any]], labels: dict[str, str]) -> str:
    """Raises KeyError for a bar without a label."""
    return bars_table(bars, labels, BARS)


if __name__ == "__main__":
    write()
