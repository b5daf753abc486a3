"""Tables in the docs, written from results between two marks, so that no figure is copied by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.lib.reports import Bars


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Without a line's end."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


def between(page: str, begin: str, end: str, text: str) -> str:
    """`page` with `text` between two marks, a line each. Raises ValueError without them."""
    head, _, rest = page.partition(f"{begin}\n")
    _, found, tail = rest.partition(f"{end}\n")
    if not found:
        raise ValueError(f"the page has lost its marks {begin} and {end}")
    return f"{head}{begin}\n\n{text}\n\n{end}\n{tail}"


def rewritten(page: str, texts: Mapping[str, str], command: str) -> str:
    """`page` with each text between the marks of its name. Raises ValueError without them."""
    for name, text in texts.items():
        page = between(page, f"<!-- {name}: written by `{command}` -->", f"<!-- end of {name} -->", text)
    return page


def bars_table(judged: Iterable[dict[str, Any]], labels: Mapping[str, str], bars: Bars) -> str:
    """Raises KeyError for a bar without a label."""
    rows = [(labels[bar["name"]], measured(bar), "{1} {0:,g}".format(*bars[bar["name"]])) for bar in judged]
    return table(("what was asked for", "measured", "bar"), rows)


def measured(bar: dict[str, Any]) -> str:
    """A bar's value, and whether it was missed."""
    if bar["value"] is None:
        return "not measured"
    return digits(bar["value"]) + ("" if bar["holds"] else " (missed)")


def digits(value: float) -> str:
    """Three, or all of a large number."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
