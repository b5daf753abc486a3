"""Which FAISS factory strings are taken, and what training one needs.

A string is read by a grammar of our own, and what it would take is estimated before anything is built: FAISS allocates
whatever a string names (`PQ512x20` 2 GB for its codebooks) and may train for days.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

ROWS_A_LIST = 39  # fewer than these for each list or centroid, and FAISS warns that clusters mean little
MOST_TRAINED = 160_000  # rows, held in memory
_MOST_LENGTH = 200
MOST_LISTS = 1 << 16  # of which each gets two of the rows trained on
_MOST_LINKS, _MOST_BITS, _MOST_BLOCK = 256, 12, 1024
_MOST_BYTES = 512 << 20  # of codebooks and matrices
_MOST_WORK = 1e14  # multiplications of training: about an hour on a few cores
_ROUNDS, _ROTATIONS = 25, 50  # of k-means, and of what turns the axes
_SUFFIX = {"": 1, "k": 1 << 10, "M": 1 << 20}
_TAKEN = "L2norm, Pad, RR, HR, PCA, ITQ, OPQ, IVF, HNSW, Flat, SQ, PQ, RaBitQ and Refine, as in `IVF1024,PQ64x4fsr`"


class FactoryPlan(NamedTuple):
    """A factory without its refining stage, as candidates are always scored again, and the rows that training needs."""

    factory: str
    rows: int


@dataclass
class _Estimate:
    """What the parts of a factory take, one after the other; `dim` is what the next one gets."""

    dim: int
    bytes: float = 0
    work: float = 0
    rows: int = 0
    lists: int = 0
    graph: bool = False

    def centroids(self, count: int) -> None:
        """That many are trained."""
        self.rows = max(self.rows, ROWS_A_LIST * count)

    def turned(self, out: int, training: float) -> None:
        """By a matrix to another dimension."""
        if not 1 <= out <= 2 * self.dim:
            raise ValueError(f"a transform to {out} dimensions, from 1 to {2 * self.dim} are possible")
        self.bytes += 4.0 * self.dim * max(out, self.dim)
        self.work += training
        self.dim = out


def _pad(size: _Estimate, out: str) -> None:
    size.turned(int(out or size.dim), 0)


def _pca(size: _Estimate, out: str) -> None:
    size.rows = max(size.rows, int(out))
    size.turned(int(out), 10 * size.dim**3 + MOST_TRAINED * size.dim**2)


def _itq(size: _Estimate, out: str) -> None:
    size.rows = max(size.rows, 10 * size.dim)
    size.turned(int(out or size.dim), _ROTATIONS * 20 * size.dim**3)


def _opq(size: _Estimate, _parts: str, out: str) -> None:
    size.rows = max(size.rows, 256)  # of its codebooks; they only turn the axes, so few rows for each will do
    size.turned(int(out or size.dim), _ROTATIONS * (10 * size.dim**3 + (1 << 16) * size.dim**2))


def _lists(size: _Estimate, count: str, suffix: str, *links: str) -> None:
    size.lists = int(count) * _SUFFIX[suffix]
    if not 1 <= size.lists <= MOST_LISTS:
        raise ValueError(f"{size.lists} inverted lists, from 1 to {MOST_LISTS} are possible")
    size.centroids(size.lists)
    for each in links:
        _check_links(each)


def _graph(size: _Estimate, links: str) -> None:
    size.graph = True
    _check_links(links)


def _check_links(links: str) -> None:
    if links and not 2 <= int(links) <= _MOST_LINKS:
        raise ValueError(f"a graph of {links} links a node, from 2 to {_MOST_LINKS} are possible")


def _product(size: _Estimate, parts: str, bits: str, plain: str) -> None:
    _codebooks(size, int(parts), int(bits or 8))
    each = 1 << int(bits or 8)
    if size.graph:
        size.bytes += 4.0 * int(parts) * each**2  # a table of distances between centroids
    elif not size.lists and not plain:
        size.bytes += 32.0 * each**2  # an order of centroids by their distances


def _fast_scan(size: _Estimate, parts: str, block: str) -> None:
    _codebooks(size, int(parts), 4)
    _check_block(block)


def _codebooks(size: _Estimate, parts: int, bits: int) -> None:
    if not 1 <= parts <= size.dim:
        raise ValueError(f"product codes of {parts} parts, from 1 to the {size.dim} dimensions are possible")
    if not 1 <= bits <= _MOST_BITS:
        raise ValueError(f"product codes of {bits} bits a part, from 1 to {_MOST_BITS} are possible")
    each = 1 << bits
    size.centroids(each)
    size.bytes += 4.0 * size.dim * each
    size.work += float(min(256 * each, MOST_TRAINED)) * each * size.dim * _ROUNDS


def _check_block(block: str) -> None:
    if block and not 32 <= int(block) <= _MOST_BLOCK:
        raise ValueError(f"codes in blocks of {block}, from 32 to {_MOST_BLOCK} are possible")


def _nothing(_: _Estimate) -> None:
    """Trains next to nothing."""


def _blocks(_: _Estimate, block: str) -> None:
    _check_block(block)


_Part = tuple[re.Pattern[str], Callable[..., None]]
_N = "([0-9]{1,9})"
_TRANSFORMS: list[_Part] = [
    (re.compile("L2norm"), _nothing),
    (re.compile(f"Pad{_N}"), _pad),
    (re.compile(f"(?:RR|HR){_N}?"), _pad),
    (re.compile(f"PCAW?R?{_N}"), _pca),
    (re.compile(f"ITQ{_N}?"), _itq),
    (re.compile(f"OPQ{_N}(?:_{_N})?"), _opq),
]
_PLACES: list[_Part] = [
    (re.compile(rf"IVF{_N}([kM]?)(?:_HNSW{_N}?|\(HNSW{_N}?\))?"), _lists),
    (re.compile(f"HNSW{_N}?"), _graph),
]
_CODES: list[_Part] = [
    (re.compile("Flat|SQ(?:4|6|8|fp16|bf16)"), _nothing),
    (re.compile(f"PQ{_N}x4fsr?(?:_{_N})?"), _fast_scan),
    (re.compile(f"PQ{_N}(?:x{_N})?(np)?"), _product),
    (re.compile("RaBitQ[1-9]?"), _nothing),
    (re.compile(f"RaBitQfs[1-9]?(?:_{_N})?"), _blocks),
]
_REFINED = re.compile(r"RFlat|Refine\(\w{1,20}\)")


def plan_of(factory: str, dim: int) -> FactoryPlan:
    """What an index takes. Raises ValueError that says what about it is unknown or too large."""
    plan = _planned(factory, dim)
    if isinstance(plan, str):
        raise ValueError(plan)
    return plan


@lru_cache(1024)
def _planned(factory: str, dim: int) -> FactoryPlan | str:
    """An exception wouldn't be remembered."""
    try:
        return _read(factory, dim)
    except ValueError as error:
        return str(error)


def _read(factory: str, dim: int) -> FactoryPlan:
    if len(factory) > _MOST_LENGTH:
        raise ValueError(f"it has {len(factory)} characters, at most {_MOST_LENGTH} are possible")
    size, parts = _Estimate(dim), factory.split(",")
    while len(parts) > 1 and _REFINED.fullmatch(parts[-1]):
        parts.pop()
    rest = _taken_up([*parts], size)
    if rest:
        raise ValueError(f"{rest[0]!r} can't stand there; it takes {_TAKEN}")
    _check(size)
    return FactoryPlan(",".join(parts), size.rows)


def _taken_up(parts: list[str], size: _Estimate) -> list[str]:
    """Read transforms, then inverted lists or a graph, then a code; what is left over."""
    while parts and _matched(_TRANSFORMS, parts[0], size):
        parts.pop(0)
    if parts and parts[0].startswith("HNSW"):
        parts[:1] = parts[0].split("_", 1)  # `HNSW32_SQ8` is `HNSW32,SQ8`
    if parts and _matched(_PLACES, parts[0], size):
        parts.pop(0)
    if parts and _matched(_CODES, parts[0], size):
        parts.pop(0)
    elif not parts and not size.graph:
        raise ValueError(f"it has no code, such as Flat; it takes {_TAKEN}")
    return parts


def _matched(kinds: list[_Part], part: str, size: _Estimate) -> bool:
    for pattern, take in kinds:
        found = pattern.fullmatch(part)
        if found:
            take(size, *(group or "" for group in found.groups()))
            return True
    return False


def _check(size: _Estimate) -> None:
    if size.bytes > _MOST_BYTES:
        raise ValueError(
            f"its codebooks and matrices take {size.bytes / 2**20:,.0f} MB, at most {_MOST_BYTES >> 20} go"
        )
    if size.work > _MOST_WORK:
        raise ValueError(f"its training takes {size.work:.1e} multiplications, at most {_MOST_WORK:.0e} go")
