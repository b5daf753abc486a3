"""What every approximate engine shares: an engine finds candidates, float64 scores them, a scan fills what is missing.

An engine is a `Seeker`; build parameters are its own. What a search asks of it is a `Setting`, chosen by `calibrate`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from clip_core.wire import FloatArray
from index_service.backends.base import NO_ROW, BoolArray, Found, IntArray, Metric
from index_service.backends.bounds import longest_of, raised
from index_service.backends.exact import padded, rescore_all, search_exact
from index_service.backends.scaling import levelled, scaled

FEW = 2000  # so few rows are scored faster than an index is asked
SPARSE = 0.05  # under this share of allowed rows every engine misses too much: score them exactly
_DENSE = 0.5  # over it, an engine is asked for more candidates instead
_MASKED_REORDER = 10
_LEAST_K = 10  # fewer wanted hits need as many candidates
_REORDERS = (1, 2, 3, 5, 8, 12, 20, 30, 50, 100)
_SAMPLE = 64
_CONFIDENCE = 1.645  # standard errors: the one-sided 95 % bound of a normal mean
_COST_PER_SECOND = 1e10  # the unit of `Segment.cost` is a tenth of a nanosecond


class Setting(NamedTuple):
    """`effort` is the engine's own knob (efSearch, nprobe, leaves).

    `reorder` candidates are scored for each wanted hit, of which ten are counted at least.
    """

    effort: int
    reorder: int = 1


class Seeker(Protocol):
    """A built index over N rows."""

    @property
    def efforts(self) -> Sequence[int]:
        """What calibration may try, ascending."""
        ...

    @property
    def filters(self) -> bool:
        """Whether `seek` takes a mask."""
        ...

    @property
    def knob(self) -> str:
        """What the effort is called."""
        ...

    def seek(self, queries: FloatArray, count: int, effort: int, mask: BoolArray | None) -> IntArray:
        """(B, ≤ count) candidate rows, -1 for none, some perhaps outside `mask`, which is None unless `filters`."""
        ...


@runtime_checkable
class Savable(Protocol):
    """A seeker whose index can be kept in a file."""

    def write(self, path: Path, notes: dict[str, Any]) -> None:
        """The index and `notes`, which are JSON."""
        ...


@runtime_checkable
class Learned(Seeker, Protocol):
    """A seeker that learned from its rows how to code others."""

    def emptied(self) -> Learned | None:
        """What was learned, without the rows; None where adding a row takes as long as learning anew."""
        ...

    def extended(self, vectors: FloatArray) -> Seeker:
        """Another with these rows (N, D) after its own."""
        ...


@dataclass(frozen=True)
class ApproximateSegment:
    """`vectors` (N, D), no longer than `longest`, are kept, not copied; candidates are scored from them, so scores are
    true whatever the engine's own codes say. The seeker holds them times `scale`. A `part` of what is searched may find
    fewer rows than are wanted: the others have them.
    """

    engine: str
    vectors: FloatArray
    seeker: Seeker
    setting: Setting
    described: dict[str, Any]
    seconds: float = 0.0
    longest: float | None = None
    scale: float = 1.0
    part: bool = False

    def search(self, queries: FloatArray, k: int, mask: BoolArray | None) -> Found:
        """See `Segment.search`; which rows are found is approximate, their scores aren't."""
        count = len(self.vectors)
        allowed = count if mask is None else int(np.count_nonzero(mask))
        share = allowed / max(count, 1)
        if allowed <= max(FEW, SPARSE * count, 4 * k) or (share < _DENSE and not self.seeker.filters):
            return search_exact(self.vectors, queries, k, mask, self.longest)
        scores, rows = self._found(queries, k, mask, share)
        short = np.flatnonzero(np.count_nonzero(rows >= 0, axis=1) < k)
        if self.part or not len(short):
            return scores, rows
        found = list(zip(scores, rows, strict=True))
        for i in short:
            again = self._again(queries[i : i + 1], k, mask)
            found[i] = (again[0][0], again[1][0])
        return padded(found, k)

    def _again(self, query: FloatArray, k: int, mask: BoolArray | None) -> Found:
        """For a `query` (1, D) that found fewer than k rows: its lists hold no more, so twice as many are asked.

        A scan is left for what has no lists, for a mask, whose rows a graph may not reach, and for a larger k than
        recall was measured with: lists that hold just so many rows are no answer.
        """
        effort, measured = self.setting.effort, k <= _LEAST_K
        while measured and mask is None and effort < self.seeker.efforts[-1]:
            effort = min(2 * effort, self.seeker.efforts[-1])
            wider = replace(self, setting=self.setting._replace(effort=effort))
            scores, rows = wider._found(query, k, None, 1.0)
            if np.count_nonzero(rows >= 0) >= k:
                return scores, rows
        return search_exact(self.vectors, query, k, mask, self.longest)

    def _found(self, queries: FloatArray, k: int, mask: BoolArray | None, share: float) -> Found:
        """Masked rows take up effort as allowed ones do, so that a filter needs as much more of it."""
        effort, wanted = int(self.setting.effort / share), max(k, _LEAST_K) * self._reorder(mask)
        asked = queries if self.longest is None else levelled(queries)
        if mask is None:
            rows = self.seeker.seek(asked, wanted, effort, None)
        elif share >= _DENSE:
            rows = self._dense(asked, wanted, effort, mask, share)
        else:
            rows = _allowed(self.seeker.seek(asked, wanted, effort, mask), mask)
        return rescore_all(self.vectors, queries, rows, k, self.longest)

    def _dense(self, asked: FloatArray, wanted: int, effort: int, mask: BoolArray, share: float) -> IntArray:
        """For a mask that allows most rows the engine is asked for more of them, which is faster than to look at the
        mask for each. Where chance, or what the mask is about, leaves too few, it is asked with the mask.
        """
        expected = wanted / share
        more = int(expected + 1 + 4 * math.sqrt(expected * (1 - share)))
        rows = _first(_allowed(self.seeker.seek(asked, more, effort, None), mask), wanted)
        few = np.flatnonzero(np.count_nonzero(rows >= 0, axis=1) < wanted)
        if len(few) and self.seeker.filters:
            again = _allowed(self.seeker.seek(asked[few], wanted, effort, mask), mask)
            rows[few] = NO_ROW
            rows[few, : again.shape[1]] = again
        elif len(few) and self.longest is not None:  # long rows may have crowded out what is allowed
            rows[few] = NO_ROW
        return rows

    def _reorder(self, mask: BoolArray | None) -> int:
        """Codes that tell long rows apart may not tell the short ones apart that a mask leaves."""
        masked = mask is not None and self.longest is not None and self.seeker.filters
        return max(self.setting.reorder, _MASKED_REORDER if masked else 1)

    @property
    def save(self) -> Callable[[Path], None] | None:
        """Writes the index, with what was calibrated, to a file; None where the engine has no file format."""
        if not isinstance(self.seeker, Savable):
            return None
        write, setting = self.seeker.write, list(self.setting)
        notes = {"described": self.described, "seconds": self.seconds, "setting": setting, "scale": self.scale}
        return lambda path: write(path, notes)

    def emptied(self) -> ApproximateSegment | None:
        """A part without rows, to be `extended` by others; None where the engine can't index them quickly."""
        seeker = self.seeker.emptied() if isinstance(self.seeker, Learned) else None
        longest = None if self.longest is None else 0.0
        if seeker is None:
            return None
        return replace(self, vectors=self.vectors[:0], seeker=seeker, longest=longest, part=True)

    def extended(self, vectors: FloatArray) -> ApproximateSegment:
        """Over `vectors` (N, D), which begin with its own; it stays as it is for those who search it."""
        assert isinstance(self.seeker, Learned)
        new = vectors[len(self.vectors) :]
        seeker = self.seeker.extended(scaled(new, self.scale))
        return replace(self, vectors=vectors, seeker=seeker, longest=raised(self.longest, new))

    def cost(self, batch: int) -> int:
        """See `Segment.cost`: a lone search as measured at the build, and half of that for each other."""
        return int((batch + 1) / 2 * self.seconds * _COST_PER_SECOND)

    def recall(self, queries: FloatArray, truth: IntArray, setting: Setting) -> FloatArray:
        """(B,): the share of each row of `truth` (B, K) that a search with `setting` finds."""
        found = replace(self, setting=setting)._found(queries, truth.shape[1], None, 1.0)[1]
        shares = [len(np.intersect1d(rows, own)) / len(own) for rows, own in zip(found, truth, strict=True)]
        return np.array(shares, dtype=np.float32)


def _allowed(rows: IntArray, mask: BoolArray) -> IntArray:
    """Those of `rows` (B, C), -1 for none, that the mask (N,) allows."""
    allowed: IntArray = np.where((rows >= 0) & mask[rows], rows, NO_ROW)
    return allowed


def _first(rows: IntArray, count: int) -> IntArray:
    """(B, ≤ count): the first of each of `rows` (B, C), those that are -1 last."""
    return np.take_along_axis(rows, np.argsort(rows < 0, axis=1, kind="stable")[:, :count], axis=1)


def restored(
    engine: str, vectors: FloatArray, seeker: Seeker, notes: dict[str, Any], metric: Metric
) -> ApproximateSegment:
    """The segment whose `notes` were saved beside its index, over `vectors` (N, D). Raises KeyError, TypeError."""
    return ApproximateSegment(
        engine,
        vectors,
        seeker,
        Setting(*notes["setting"]),
        notes["described"],
        notes["seconds"],
        longest_of(vectors, metric),
        notes.get("scale", 1.0),
    )


def calibrated(
    segment: ApproximateSegment, queries: FloatArray | None, target: float | None, k: int = 10
) -> ApproximateSegment:
    """The segment with the cheapest setting whose recall@k reaches `target`, and the time that a search takes.

    Measured on `queries` (Q, D) when there are enough, else on some of the rows. Without a target the setting stays.
    """
    own = queries is None or len(queries) < _SAMPLE // 2
    sample = _some_rows(segment.vectors) if own or queries is None else queries[-4 * _SAMPLE :]
    if target is not None and len(sample):
        truth = search_exact(segment.vectors, sample, k, None, segment.longest)[1]
        setting = _cheapest(segment, sample, truth, target)
        measured = {
            "recall_target": target,
            "recall": round(float(segment.recall(sample, truth, setting).mean()), 4),
            "k": k,
            "queries": len(sample),
            "measured_on": "rows" if own else "queries",
        }
        segment = replace(segment, setting=setting, described={**segment.described, "calibration": measured})
    knobs = {segment.seeker.knob: segment.setting.effort, "reorder": segment.setting.reorder}
    return replace(segment, seconds=_seconds(segment, sample, k), described={**segment.described, "search": knobs})


def _some_rows(vectors: FloatArray) -> FloatArray:
    rows = np.random.default_rng(0).choice(len(vectors), min(_SAMPLE, len(vectors)), replace=False)
    return vectors[np.sort(rows)]


def _cheapest(segment: ApproximateSegment, queries: FloatArray, truth: IntArray, target: float) -> Setting:
    """The least effort with generous reordering, then the least reordering with that effort; else the most of both."""
    reorders = sorted({*_REORDERS, segment.setting.reorder}) if segment.setting.reorder > 1 else [1]
    efforts = segment.seeker.efforts
    effort = _least(efforts, lambda e: _surely(segment.recall(queries, truth, Setting(e, reorders[-1]))) >= target)
    reorder = _least(reorders, lambda r: _surely(segment.recall(queries, truth, Setting(effort, r))) >= target)
    return Setting(effort, reorder)


def _surely(shares: FloatArray) -> float:
    """What the mean of all queries reaches with 95 % confidence, judged by these `shares` of a few.

    Without that margin a setting would be taken as often as not that only the sample's luck lifts over the target.
    """
    return float(shares.mean() - _CONFIDENCE * shares.std() / math.sqrt(len(shares)))


def _least(values: Sequence[int], reaches: Callable[[int], bool]) -> int:
    """The first of `values` (ascending) that `reaches`, found by halving; the last when none does."""
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(values[middle]) else (middle + 1, high)
    return values[low]


def _seconds(segment: ApproximateSegment, sample: FloatArray, k: int) -> float:
    times = []
    for query in sample[:9]:
        started = time.perf_counter()
        segment.search(query[None], k, None)
        times.append(time.perf_counter() - started)
    return min(times, default=0.0)  # whatever else ran meanwhile


def ladder(least: int, most: int, step: float = 2**0.5) -> list[int]:
    """Efforts from `least` to `most`, each some 1.4 times the one before."""
    values, value = [], float(least)
    while value < most:
        values.append(round(value))
        value *= step
    return [*values, most]
