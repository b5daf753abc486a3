"""The tables of docs/scaling.md, from the committed results.

python -m benchmarks.scaler.pages
"""

from __future__ import annotations

from typing import Any

from benchmarks.lib.markdown import bars_table, digits, rewritten, table
from benchmarks.lib.reports import DOCS, saved
from benchmarks.scaler.command import BARS

PAGE = DOCS / "scaling.md"
FAMILIES = ("HPA", "ours", "last value", "Holt-Winters", "static")
LABELS = {
    "minutes_over_vs_tuned_hpa": "minutes over the SLO ÷ tuned HPA at equal worker-hours, median of the series",
    "flash_crowd_vs_tuned_hpa": "the same with flash crowds: three times the demand for 20 minutes",
    "shuffled_vs_tuned_hpa": "the same with the hours of each series shuffled",
    "level_shift_vs_tuned_hpa": "the same with a level that doubles",
    "live_p99_over_static_peak": "live: p99 ÷ static peak",
    "live_worker_hours_over_static_peak": "live: worker-hours ÷ static peak",
    "live_capacity_lost_workers": "workers lost while the scaler, the gateway's metrics or TorchServe are away",
}


def write() -> None:
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def updated(page: str) -> str:
    """`page` with its tables written again. Raises ValueError without their marks."""
    report = saved("scaler")
    texts = {
        "compared": compared(report["compared"]),
        "ratios": ratios({"as it is": report["as_it_is"], **report["stressed"]}),
        "live": live(report.get("live", {})),
        "scaler": bars_table(report["bars"], LABELS, BARS),
    }
    return rewritten(page, texts, "python -m benchmarks.scaler.pages")


def compared(series: dict[str, Any]) -> str:
    """A line a series: minutes over by policy; – where a policy has no setting with so few worker-hours."""
    rows = [
        (
            name,
            digits(each["worker_hours"]),
            digits(each["oracle_hours"]),
            *(_minutes(each, family) for family in FAMILIES),
        )
        for name, each in series.items()
    ]
    return table(("series", "worker-hours", "the oracle's", *FAMILIES), rows)


def _minutes(each: dict[str, Any], family: str) -> str:
    found = each["minutes_over"][family]
    return "–" if found is None else f"{found:,.0f}"


def ratios(found: dict[str, dict[str, float]]) -> str:
    """A line a series: our minutes over ÷ the tuned HPA's; losses are bold."""
    rows = [(name, *(_ratio(each[name]) for each in found.values())) for name in found["as it is"]]
    return table(("series", *found), rows)


def _ratio(value: float) -> str:
    text = f"{value:.2f}"
    return f"**{text}**" if float(text) > 1 else text


def live(arms: dict[str, Any]) -> str:
    """A line an arm."""
    rows = [
        (
            name,
            digits(each["worker_hours"]),
            *("–" if each[key] is None else f"{each[key]:,.0f} ms" for key in ("p50_ms", "p99_ms")),
            f"{each['requests'] - each['not_answered']:,} of {each['requests']:,}",
        )
        for name, each in arms.items()
    ]
    return table(("workers", "worker-hours", "p50", "p99", "answered"), rows)


if __name__ == "__main__":
    write()
