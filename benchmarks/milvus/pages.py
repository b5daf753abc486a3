"""The tables of docs/milvus.md and docs/scaling-out.md, from the reports that were saved."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from benchmarks.lib.markdown import between, digits, measured, table
from benchmarks.lib.reports import DOCS, RESULTS

_SIZE = re.compile(r"search_(\d+)k_p50_ms")


def write() -> None:
    """Raises ValueError where a page has lost its marks. Where reports have the same size, milvus.json wins."""
    whole = json.loads((RESULTS / "milvus.json").read_text(encoding="utf-8"))
    figures: dict[str, float] = {}
    for path in RESULTS.glob("milvus-*.json"):
        figures |= json.loads(path.read_text(encoding="utf-8"))["figures"]
    for name, mark, text in (
        ("milvus.md", "milvus", _bars(whole)),
        ("scaling-out.md", "growth", _growth(figures | whole["figures"])),
    ):
        begin, end = f"<!-- {mark}: written by `make bench-milvus` -->", f"<!-- end of {mark} -->"
        path = DOCS / name
        path.write_text(between(path.read_text(encoding="utf-8"), begin, end, text), encoding="utf-8")


def _bars(report: Mapping[str, Any]) -> str:
    figures = report["figures"]
    rows = []
    for bar in report["bars"]:
        name, sign = bar["name"], "≥" if bar["name"].startswith("upserts") else "≤"
        rows.append((_label(name, figures), measured(bar), f"{sign} {bar['bar']:g}"))
    return table(("what was asked for", "measured", "bar"), rows)


def _label(name: str, figures: Mapping[str, float]) -> str:
    if name.startswith("search"):
        batch, at = (16 if "batch_16" in name else 1), name.removesuffix("_vs_pymilvus_p50").rpartition("_")[2]
        stem = name.removesuffix("_vs_pymilvus_p50")
        times = [figures.get(f"{stem}{side}_p50_ms", 0.0) for side in ("", "_pymilvus")]
        return (
            f"search of {at} items through us ÷ pymilvus alone, p50, batch {batch}: {times[0]:.2f} ÷ {times[1]:.2f} ms"
        )
    return {
        "upserts_vs_pymilvus": "upserts through us ÷ pymilvus alone, batches of 256",
        "memory_at_all_rows_vs_10k": "memory of an index service at all items ÷ at 10,000",
        "writes_of_one_replica_missed_by_the_other": "writes of one index service that another one missed (strong)",
        "move_failed_requests": "requests that failed during a move to Milvus and back",
        "move_lost_items": "items that were lost by it",
    }[name]


def _growth(figures: Mapping[str, float]) -> str:
    sizes = sorted(int(found[1]) for found in map(_SIZE.fullmatch, figures) if found)
    rows = [
        (f"{size * 1000:,}", *(_shown(figures, f"{name}_{size}k{unit}") for name, unit in (*_MILVUS, *_EMBEDDED)))
        for size in sizes
    ]
    head = ("items", *(f"Milvus: {what}" for what in _WHAT), *(f"embedded: {what}" for what in _WHAT[:3]))
    return table(head, rows)


_WHAT = ("one search, p50 ms", "recall@10", "memory, MB", "index service, MB")
_MILVUS = (("search", "_p50_ms"), ("milvus_recall", ""), ("milvus_memory", "_mb"), ("index_service_memory", "_mb"))
_EMBEDDED = (("embedded_search", "_p50_ms"), ("embedded_recall", ""), ("embedded_memory", "_mb"))


def _shown(figures: Mapping[str, float], name: str) -> str:
    return digits(figures[name]) if name in figures else "–"
