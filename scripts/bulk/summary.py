"""The page of a run: `summary.html`, in one file without scripts."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.bulk.shards.shard import Done
from scripts.progress import clock_time

_SHOWN = 50  # rows of a table
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { padding: .3rem .8rem; border-bottom: 1px solid #ddd; text-align: left; }
td.n { text-align: right; font-variant-numeric: tabular-nums; } h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; }
@media (prefers-color-scheme: dark) { body { background: #161616; color: #eee; } td, th { border-color: #333; } }
""".strip()


@dataclass(frozen=True)
class Totals:
    """`seconds` and `new_rows` are of this run alone, the others of all runs."""

    rows: int
    bad: int
    shards: int
    done: int
    damaged: int
    seconds: float
    new_rows: int
    codes: Mapping[str, int]

    @property
    def rate(self) -> float:
        return self.new_rows / self.seconds if self.seconds > 0 else 0.0


def totals(done: Iterable[Done], shards: int, seconds: float, new_rows: int, left_out: Sequence[str] = ()) -> Totals:
    """`left_out`: the codes of what is in no shard."""
    codes, rows, bad, number, damaged = Counter(left_out), 0, len(left_out), 0, 0
    for each in done:
        rows, bad, number = rows + each.rows, bad + each.bad, number + 1
        damaged += bool(each.error)
        codes.update(each.codes or {})
    return Totals(rows, bad, shards, number, damaged, seconds, new_rows, dict(codes.most_common()))


def page(
    about: Mapping[str, Any], told: Totals, damaged: Sequence[tuple[str, str]], extra: Mapping[str, object]
) -> str:
    facts = {
        "vectors": f"{told.rows:,}",
        "not embedded": f"{told.bad:,}",
        "shards done": f"{told.done:,} of {told.shards:,}",
        "this run": f"{told.new_rows:,} vectors in {clock_time(told.seconds)}, {told.rate:,.1f} a second",
        **extra,
    }
    return "\n".join(
        [
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>clipserve bulk</title>',
            '<meta name="viewport" content="width=device-width">',
            f"<style>{_STYLE}</style>",
            "<h1>clipserve bulk</h1>",
            _table(("", ""), facts.items()),
            "<h2>What was asked for</h2>",
            _table(("", ""), about.items()),
            *(["<h2>Not embedded</h2>", _table(("code", "items"), told.codes.items())] if told.codes else []),
            *(["<h2>Damaged sources</h2>", _table(("shard", "what"), damaged)] if damaged else []),
            "</html>\n",
        ]
    )


def _table(heads: Sequence[str], rows: Iterable[tuple[object, object]]) -> str:
    shown = list(rows)
    cells = [f"<tr><td>{_escaped(name)}</td><td>{_escaped(value)}</td></tr>" for name, value in shown[:_SHOWN]]
    more = [f"<tr><td colspan=2>and {len(shown) - _SHOWN} more</td></tr>"] if len(shown) > _SHOWN else []
    head = f"<tr><th>{heads[0]}</th><th>{heads[1]}</th></tr>" if any(heads) else ""
    return f"<table>{head}{''.join([*cells, *more])}</table>"


def _escaped(value: object) -> str:
    return html.escape(", ".join(map(str, value)) if isinstance(value, list) else str(value))
