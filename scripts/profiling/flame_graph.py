"""Chrome's trace events → what called what for how long, and that as an SVG."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

_WIDTH, _ROW, _LEAST = 1200.0, 18, 0.5  # pixels
_LETTER = 6.5


@dataclass
class Frame:
    """`us`: microseconds of all calls, those that they made included."""

    name: str
    us: float = 0.0
    below: dict[str, Frame] = field(default_factory=dict)

    def step(self, name: str) -> Frame:
        return self.below.setdefault(name, Frame(name))

    @property
    def depth(self) -> int:
        return 1 + max((each.depth for each in self.below.values()), default=0)


def frames(events: Sequence[dict[str, Any]]) -> Frame:
    """The tree of all threads' events; an event is called by the shortest one of its thread that is around it."""
    threads: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for each in events:
        threads[each.get("pid"), each.get("tid")].append(each)
    top = Frame("all")
    for own in threads.values():
        _add(top, sorted(own, key=lambda each: (float(each["ts"]), -float(each["dur"]))))
    top.us = sum(each.us for each in top.below.values())
    return top


def stacked(stacks: Sequence[dict[str, Any]]) -> Frame:
    """The same of sampled stacks: `frames`, the caller first, and `ms`."""
    top = Frame("all")
    for each in stacks:
        frame, spent = top, float(each["ms"]) * 1e3
        frame.us += spent
        for name in each["frames"]:
            frame = frame.step(str(name))
            frame.us += spent
    return top


def _add(top: Frame, ordered: Sequence[dict[str, Any]]) -> None:
    around: list[tuple[float, Frame]] = []
    for event in ordered:
        start, end = float(event["ts"]), float(event["ts"]) + float(event["dur"])
        while around and (around[-1][0] < end or around[-1][0] <= start):
            around.pop()
        frame = (around[-1][1] if around else top).step(str(event["name"]))
        frame.us += float(event["dur"])
        around.append((end, frame))


def svg(top: Frame) -> str:
    """Wider is longer; a frame's title says its milliseconds and share. It needs nothing from a network."""
    height = top.depth * _ROW
    boxes = "".join(_boxes(top, 0.0, _WIDTH, 0, max(top.us, 1e-9)))
    return (
        f'<svg viewBox="0 0 {_WIDTH:.0f} {height}" xmlns="http://www.w3.org/2000/svg" '
        f'font-family="monospace" font-size="11" role="img" aria-label="flame graph">{boxes}</svg>'
    )


def _boxes(frame: Frame, x: float, width: float, level: int, total: float) -> Iterator[str]:
    if width < _LEAST:
        return
    name = escape(frame.name)
    shown = name if len(frame.name) * _LETTER < width else escape(frame.name[: int(width / _LETTER)])
    hue = 20 + sum(map(ord, frame.name)) % 40
    yield (
        f"<g><title>{name}: {frame.us / 1e3:.2f} ms, {frame.us / total:.1%}</title>"
        f'<rect x="{x:.1f}" y="{level * _ROW}" width="{width:.1f}" height="{_ROW - 1}" fill="hsl({hue} 85% 65%)"/>'
        f'<text x="{x + 3:.1f}" y="{level * _ROW + 13}">{shown}</text></g>'
    )
    below = sorted(frame.below.values(), key=lambda each: -each.us)
    inside = sum(each.us for each in below)
    share = min(1.0, frame.us / inside) if inside else 1.0  # events that overlap would be wider than what is around
    for each in below:
        own = width * each.us / frame.us * share if frame.us else 0.0
        yield from _boxes(each, x, own, level + 1, total)
        x += own
