"""Profiles as HTML pages that need no network."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from statistics import fmean
from typing import Any

from scripts.profiling.flame_graph import frames, stacked, svg
from scripts.profiling.reading import cost, operators, product_gflops, profiler_ms, stages

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 1240px; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse }
th, td { padding: .2rem .8rem; text-align: left; border-bottom: 1px solid #8884 }
td.number { text-align: right; font-variant-numeric: tabular-nums }
code { font-size: .92em; overflow-wrap: anywhere } .wide { overflow-x: auto; margin: 1rem 0 }
svg { width: 100% } .graph svg { min-width: 700px }
"""
_MOST_OPERATORS = 40
_NUMBER, _CODE = re.compile(r"\d[\d.]*%?"), re.compile(r"`([^`]*)`")


def page(profile: dict[str, Any], ceiling_gflops: float | None = None) -> str:
    """`ceiling_gflops`: what this machine reaches in a large float32 product with as many threads."""
    title = f"{profile['endpoint']}: {len(profile['batches'])} batches of worker {profile['worker']}"
    memory = [(number, each["memory"]) for number, each in enumerate(profile["batches"]) if "memory" in each]
    return _page(
        title,
        f"<h2>Where a batch's time went</h2>{_stages(profile)}<p>{_products(profile, ceiling_gflops)}</p>"
        f"<h2>What the profile cost</h2>{_cost(profile)}"
        f'<h2>What called what</h2><div class="wide graph">{svg(frames(profile["trace"]))}</div>'
        f"<h2>Memory after each batch</h2>{_timeline(memory)}"
        f"<h2>Operators</h2>{_operators(profile)}",
    )


def service_page(service: str, profile: dict[str, Any]) -> str:
    """Of a service's profile of itself."""
    lines = [(each["where"], f"{each['bytes'] / 1e3:.1f}", str(each["blocks"])) for each in profile.get("memory", ())]
    held = f"<h2>Allocated meanwhile, and still there</h2>{_table(('line', 'kB', 'blocks'), lines)}" if lines else ""
    return _page(
        f"{service}: {profile['seconds']:g} s, {profile['cpu_ms']:.0f} ms of processor time",
        f'<h2>Where processor time went</h2><div class="wide graph">{svg(stacked(profile["stacks"]))}</div>'
        f"<h2>Memory</h2>{_timeline(profile['timeline'])}{held}",
    )


def _page(title: str, content: str) -> str:
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1>{content}</html>\n"
    )


def _timeline(points: Sequence[Sequence[float]]) -> str:
    """(moment, bytes) as a line from 0 up to the most, which is written beside it."""
    if not points:
        return "<p>unknown</p>"
    most, last = max(size for _, size in points), max(moment for moment, _ in points)
    line = " ".join(f"{1200 * x / (last or 1):.1f},{100 - 100 * size / (most or 1):.1f}" for x, size in points)
    return (
        f"<p>at most {most / 1e6:.0f} MB, at the end {points[-1][1] / 1e6:.0f} MB</p>"
        f'<svg viewBox="0 -2 1200 104" role="img" aria-label="memory over time">'
        f'<polyline points="{line}" fill="none" stroke="currentColor" stroke-width="2"/></svg>'
    )


def _stages(profile: dict[str, Any]) -> str:
    rows = [(row.name, f"{row.ms:.2f}", f"{row.share:.1%}", row.knob) for row in stages(profile)]
    return _table(("stage", "ms a batch", "share", "what would change it"), rows)


def _products(profile: dict[str, Any], ceiling: float | None) -> str:
    reached = product_gflops(profile)
    if reached is None:
        return "PyTorch ran no matrix product of its own here: the towers are int8 or wholly compiled."
    share = f", {reached / ceiling:.0%} of the {ceiling:.1f} that this machine reaches" if ceiling else ""
    threads = "1 thread" if profile["threads"] == 1 else f"{profile['threads']} threads"
    return f"Matrix products ran at {reached:.1f} GFLOP/s with {threads}{share}."


def _cost(profile: dict[str, Any]) -> str:
    names = {"p50": "half of the batches", "p99": "99 % of the batches"}
    found = cost(profile)
    rows = [(text, _ms(found[f"{key}_before"]), _ms(found[f"{key}_during"])) for key, text in names.items()]
    own = fmean(map(profiler_ms, profile["batches"])) if profile["batches"] else 0.0
    note = f"<p>Of each batch {own:.1f} ms are the profiler's own start and stop, which are in no stage above.</p>"
    return _table(("took at most", "ms before", "ms while profiled"), rows) + note


def _operators(profile: dict[str, Any]) -> str:
    found = operators(profile)[:_MOST_OPERATORS]
    rows = [(row.name, str(row.calls), f"{row.self_ms:.2f}", f"{row.share:.1%}") for row in found]
    return _table(("operator", "calls", "own ms", "share"), rows)


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(each)}</th>" for each in head)
    return f'<div class="wide"><table><tr>{titles}</tr>{"".join(map(_row, rows))}</table></div>'


def _row(cells: Sequence[str]) -> str:
    return f"<tr>{''.join(map(_cell, cells))}</tr>"


def _cell(text: str) -> str:
    """Of a number, or of words among which settings stand in backticks."""
    if _NUMBER.fullmatch(text):
        return f'<td class="number">{text}</td>'
    words = _CODE.sub(r"<code>\1</code>", escape(text))
    return f"<td>{words}</td>"
