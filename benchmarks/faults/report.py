"""The bars of a run, its table and its document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.faults.attacked import AttackResults
from benchmarks.lib.reports import holds

MEMORY_GROWTH = 1.3
BARS = {
    "burst_100_refused": (0.0, "≤"),
    "burst_200_refused": (0.0, "≤"),
    "burst_400_refused": (0.0, "≤"),
    "burst_1000_good_share": (1.0, "≥"),
    "overload_throughput_over_peak": (0.9, "≥"),
    "overload_p99_over_capacity": (2.0, "≤"),
    "stop_unanswered": (0.0, "≤"),
    "kill_worker_served_s": (12.0, "≤"),
    "kill_index_served_s": (6.0, "≤"),
    "kill_gateway_served_s": (5.0, "≤"),
    "kill_JVM_served_s": (25.0, "≤"),
    "writes_lost": (0.0, "≤"),
}
Bar = dict[str, Any]


def bar(name: str, value: float | None, limit: float, sign: str = "≤") -> Bar:
    """A figure that was not measured has null for its value and does not hold."""
    shown = None if value is None else round(value, 4)
    return {"name": name, "value": shown, "bar": round(limit, 4), "holds": holds(value, limit, sign)}


def bars(result: AttackResults, figures: Mapping[str, float], asked: Mapping[str, tuple[float, str]]) -> list[Bar]:
    """Of what was run: `asked` are those of the phases besides the attacks, `result` is theirs."""
    return _of_attacks(result) + [bar(name, figures.get(name), limit, sign) for name, (limit, sign) in asked.items()]


def _of_attacks(result: AttackResults) -> list[Bar]:
    if not result.felt and not result.left_out:
        return []
    values = [(each, None if each.answers.fault else each.p99_ms) for each in result.felt]
    felt = [bar(f"neighbour p99 ms: {each.name}", value, each.bar_ms) for each, value in values]
    felt += [bar(f"neighbour p99 ms: {name}", None, 0.0) for name in result.left_out]
    memory = [bar(f"memory after attacks: {name}", ratio, MEMORY_GROWTH) for name, ratio in result.growth.items()]
    died = sum(len(each.died) for each in result.felt)
    return [*felt, *memory, bar("parts that ended under attack", float(died), 0.0)]


def show(result: AttackResults, judged: list[Bar], figures: Mapping[str, float], console: Console) -> None:
    """Attacks one by one, other figures, and the bars that were missed."""
    if result.felt:
        console.print(_attacks(result))
    table = Table("figure", "value", "bar")
    limits = {each["name"]: each for each in judged}
    for name, value in figures.items():
        limit = limits.get(name)
        table.add_row(name, f"{value:,.4g}", "" if limit is None else f"{limit['bar']:g}", style=_style(limit))
    console.print(table)
    missed = [each["name"] for each in judged if not each["holds"]]
    console.print(f"{len(judged) - len(missed)} of {len(judged)} bars hold; missed: {', '.join(missed) or 'none'}")


def _attacks(result: AttackResults) -> Table:
    title = f"A neighbour's searches (p99 at rest {result.rest_p99_ms:.1f} ms)"
    table = Table("attack", "p50", "p99 ms", "failed", "well after", "answers", "ended", title=title)
    for each in result.felt:
        table.add_row(
            each.name,
            f"{each.p50_ms:.0f}",
            f"{each.p99_ms:.0f}",
            f"{each.failed}/{each.failed + each.searches}",
            f"{each.recovered_s:.1f} s",
            each.answers.fault or " ".join(f"{label}:{count}" for label, count in sorted(each.answers.tally.items())),
            " ".join(each.died),
            style="red" if each.p99_ms > each.bar_ms or each.died else "",
        )
    return table


def _style(limit: Bar | None) -> str:
    return "" if limit is None else "green" if limit["holds"] else "red"


def document(result: AttackResults) -> dict[str, Any]:
    """The attacks as the report has them."""
    return {"attacks": [asdict(each) for each in result.felt], "rest_p99_ms": result.rest_p99_ms}
