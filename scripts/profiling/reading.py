"""What a profile says: where a batch's time went and what would change it, operators, matrix products, its own cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import orjson

from clip_core.errors import InvalidRequest

Json = dict[str, Any]
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")
KNOBS = {
    "cache": "keys are made of whole pictures: smaller pictures; `cache_bytes: 0` where nothing repeats",
    "tokenize": "shorter texts; `max_text_chars`",
    "text tower": "`precision: int8`, `threads`, `max_batch`; `pass_overhead_tokens` against padding",
    "decode": "`decode_threads`, `jpeg_draft: true`, or smaller pictures",
    "image tower": "`precision: int8`, `threads`, `max_batch`",
    "index": "the collection's engine and filter: see the index service's spans",
    "rest": "parsing and writing JSON: `encoding_format: base64`, smaller k, fewer `include`",
}


class StageShare(NamedTuple):
    """Mean milliseconds of a batch."""

    name: str
    ms: float
    share: float
    knob: str


class Operator(NamedTuple):
    name: str
    calls: int
    self_ms: float
    share: float


def stages(profile: Json) -> list[StageShare]:
    """The longest first; `rest` is what no stage covers."""
    batches: Sequence[Json] = profile["batches"]
    if not batches:
        return []
    whole = fmean(float(each["ms"]) for each in batches)
    names = dict.fromkeys(name for each in batches for name in each.get("stages", {}))
    found = {name: fmean(float(each["stages"].get(name, 0.0)) for each in batches) for name in names}
    found["rest"] = max(0.0, whole - sum(found.values()))
    rows = [StageShare(name, ms, ms / whole if whole else 0.0, KNOBS.get(name, "")) for name, ms in found.items()]
    return sorted(rows, key=lambda row: -row.ms)


def operators(profile: Json) -> list[Operator]:
    """The longest first, by their own time."""
    rows: Sequence[Json] = profile["operators"]
    whole = sum(float(row["self_us"]) for row in rows) or 1.0
    found = [Operator(row["name"], int(row["calls"]), row["self_us"] / 1e3, row["self_us"] / whole) for row in rows]
    return sorted(found, key=lambda row: -row.self_ms)


def product_gflops(profile: Json) -> float | None:
    """Of all matrix products that PyTorch itself ran; None where there was none, as in int8 towers."""
    rows = [row for row in profile["operators"] if row["name"] in PRODUCTS and row["flops"]]
    seconds = sum(float(row["self_us"]) for row in rows) / 1e6
    return sum(float(row["flops"]) for row in rows) / seconds / 1e9 if seconds else None


def profiler_ms(batch: Json) -> float:
    """What the profiler took around it, which is in no stage."""
    return float(batch.get("profiler_ms", 0.0))


def cost(profile: Json) -> dict[str, float | None]:
    """Milliseconds of a batch with the profiler's own, half and 99 % of them: before the profile, and during it."""
    before = profile["before_ms"]
    during = [float(each["ms"]) + profiler_ms(each) for each in profile["batches"]]
    return {
        "p50_before": _quantile(before, 0.5),
        "p50_during": _quantile(during, 0.5),
        "p99_before": _quantile(before, 0.99),
        "p99_during": _quantile(during, 0.99),
    }


def difference(old: Json, new: Json) -> list[tuple[str, float, float]]:
    """Stage → mean milliseconds a batch in both; what became slower by most first."""
    before = {row.name: row.ms for row in stages(old)}
    after = {row.name: row.ms for row in stages(new)}
    names = dict.fromkeys((*before, *after))
    rows = [(name, before.get(name, 0.0), after.get(name, 0.0)) for name in names]
    return sorted(rows, key=lambda row: row[1] - row[2])


def read_profile(path: Path) -> Json:
    """A folder that `clipserve profile` wrote, or its profile.json. Raises InvalidRequest."""
    file = path / "profile.json" if path.is_dir() else path
    try:
        found = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise InvalidRequest(f"{file} is no profile: {error}") from error
    if not isinstance(found, Mapping) or not {"batches", "operators"} <= found.keys():
        raise InvalidRequest(f"{file} is no profile")
    return dict(found)


def _quantile(values: Sequence[float], q: float) -> float | None:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else None
