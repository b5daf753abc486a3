"""The tables of docs/kv-caches.md, from the committed results.

python -m benchmarks.kv.pages
"""

from __future__ import annotations

from typing import Any

from benchmarks.kv.arms import STATIC
from benchmarks.kv.command import BARS
from benchmarks.lib.markdown import digits, measured, rewritten, table
from benchmarks.lib.reports import DOCS, saved

PAGE = DOCS / "kv-caches.md"
LABELS = {
    "mb_a_picture_beam_6": "one picture, 6 beams, 13 tokens, `paged 4`, MB",
    "mb_a_picture_beam_6_absorbed": "the same, absorbed, MB",
    "admitted_paged_over_static": "6-beam requests under way in 256 MB: `paged 4` ÷ `static-76`",
    "step_paged_over_static": "a step: `paged 4` ÷ `static-76`, the worse of 8 greedy rows and 8 × 6 beams",
    "tokens_that_differ": "tokens that differ between any two caches, fp32",
    "preempted_tokens_changed": "tokens changed of captions that were preempted, fp32",
}
_NOT_YET = "Not measured yet."
Arms = dict[str, dict[str, float]]


def write() -> None:
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def updated(page: str) -> str:
    """`page` with its tables written again. Raises ValueError without their marks."""
    report = saved("kv")
    texts = {
        "memory": memory(report["memory"]) if "memory" in report else _NOT_YET,
        "loads": loads(report["loads"]) if "loads" in report else _NOT_YET,
        "steps": steps(report["step_ms"]) if "step_ms" in report else _NOT_YET,
        "arrivals": arrivals(report["arrivals"]["arms"]) if "arrivals" in report else _NOT_YET,
        "bars": bars(report["bars"]),
    }
    return rewritten(page, texts, "python -m benchmarks.kv.pages")


def memory(found: dict[str, Arms]) -> str:
    """A line an arm: MB reserved, resident and live, greedy and with 6 beams."""
    rows = []
    for name, beam in found["beam"].items():
        greedy = found["greedy"][name]
        rows.append((f"`{name}`", _three(greedy), _three(beam), f"{100 * beam['waste']:.0f} %"))
    return table(("cache", "greedy: reserved / resident / live", "6 beams: the same", "6 beams: waste"), rows)


def _three(each: dict[str, float]) -> str:
    return " / ".join(f"{each[key]:.1f}" for key in ("reserved_mb", "resident_mb", "live_mb"))


def loads(found: dict[str, Arms]) -> str:
    """A line an arm: requests under way, captions/s and preemptions of each load."""
    rows = []
    for name in found["beam"]:
        cells = []
        for load in ("greedy", "beam", "mixed"):
            each = found.get(load, {}).get(name)
            cells.append("–" if each is None else _load(each))
        rows.append((f"`{name}`", *cells))
    return table(("cache", "greedy", "6 beams", "mixed, 4 to 76 tokens"), rows)


def _load(each: dict[str, float]) -> str:
    gave_way = f", {each['preempted']:.0f} preempted" if each["preempted"] else ""
    at_once = f"{each['admitted_mean']:.1f}" if each["admitted_mean"] else "all"  # none had to wait
    return f"{at_once} at once, {digits(each['captions_per_s'])}/s{gave_way}"


def steps(found: dict[str, dict[str, float]]) -> str:
    """A line an arm: ms of a step, and that ÷ the static cache's."""
    rows = [
        (f"`{name}`", *(f"{each[name]:.0f} ({each[name] / each[STATIC]:.2f})" for each in found.values()))
        for name in next(iter(found.values()))
    ]
    return table(("cache", *found), rows)


def arrivals(arms: Arms) -> str:
    rows = [
        (
            f"`{name}`",
            *(digits(each[key]) for key in ("captions_per_s", "p50_ms", "p99_ms")),
            f"{each['preempted']:.0f}",
        )
        for name, each in arms.items()
    ]
    return table(("cache", "captions/s", "p50, ms", "p99, ms", "preempted"), rows)


def bars(judged: list[dict[str, Any]]) -> str:
    rows = [(LABELS[bar["name"]], measured(bar), f"{BARS[bar['name']][1]} {bar['bar']:g}") for bar in judged]
    return table(("what", "measured", "bar"), rows)


if __name__ == "__main__":
    write()
