"""What every approximate engine shares: an engine finds candidates, float64 scores them, a scan fills what is missing.

An engine is a `Seeker`; build parameters are its own. What a search asks of it is a `Setting`, which `calibrated`
chooses by searches without a mask. A mask may take away just the rows that a query's nearest lists hold. What is found
under one is therefore compared with those searches, and what looks worse is asked for again with more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from clip_core.wire import FloatArray
from index_service.engines.approximate.candidate_search import Learned, Savable, Seeker, Setting
from index_service.engines.approximate.masked import asked_for_more, enough, looked_at, widened
from index_service.engines.approximate.retry_policy import LEAST_K, LEAST_USUAL, MANY_K, Asked, Doubts, Usual, places
from index_service.engines.base import BoolArray, Found, IntArray, Metric
from index_service.engines.bounds import longest_of, norms, raised
from index_service.engines.exact.exact import padded, rescore_all, search_exact
from index_service.engines.scaling import levelled, scaled

FEW = 2000  # so few rows are scored faster than an index is asked
SPARSE = 0.05  # under this share of allowed rows every engine misses too much: score them exactly
_DENSE = 0.5  # under it, an engine that takes no masks would be asked for too many candidates
_LIKELY, _MANY_LIKELY = 0.3, 0.8  # of the rows allowed: what chance leaves of the candidates are the best (MANY_K) ones
_MOST_ASKED = 8192  # candidates, beyond which looking at the mask is faster
_LONG_REORDER = 10  # under a mask: codes that tell long rows apart may not tell the short ones apart that it leaves
_MASKED_REORDER = 2  # times as many candidates where the engine looks at the mask
_MOST_REORDER = 16  # times as many as at first: a scan is hardly slower
STEP = 4  # times as much of what is doubted
_SCANNED = 3  # times as many masked rows of lists are looked at while allowed ones are scanned
_COST_PER_SECOND = 1e10  # the unit of `Segment.cost` is a tenth of a nanosecond


@dataclass(frozen=True)
class ApproximateSegment:
    """`vectors` (N, D), no longer than `longest`, are kept, not copied; candidates are scored from them, so scores are
    true whatever the engine's own codes say. The seeker holds them times `scale`. A `part` of what is searched may find
    fewer rows than are wanted: the others have them. `many` is the effort for MANY_K hits; 0: as for few.
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
    usual: Usual = LEAST_USUAL
    many: int = 0

    def search(self, queries: FloatArray, k: int, mask: BoolArray | None, floors: FloatArray | None = None) -> Found:
        """See `Segment.search`; which rows are found is approximate, their scores aren't.

        `floors` (B,) are scores of which each query has k elsewhere: lower ones may be missed.
        """
        count = len(self.vectors)
        allowed = count if mask is None else int(np.count_nonzero(mask))
        share = allowed / max(count, 1)
        if allowed <= max(FEW, SPARSE * count, 4 * k) or not self._worth(k, share):
            return search_exact(self.vectors, queries, k, mask, self.longest)
        floors = np.full(len(queries), -np.inf, np.float32) if floors is None else floors
        judged = k if mask is None else max(k, LEAST_K)
        scores, rows = self._sure(Asked(queries, judged, mask, share, floors, self._first(k, mask)))
        return scores[:, :k], rows[:, :k]

    def _worth(self, k: int, share: float) -> bool:
        """Whether the engine can be asked when so many rows are allowed: one that can't look at the mask, or can't tell
        what it missed then, would be asked for too many candidates.
        """
        if not self.seeker.filters:
            return share >= _DENSE
        return self.seeker.unseen is not None or enough(k * self.setting.reorder, share) <= _MOST_ASKED

    def _first(self, k: int, mask: BoolArray | None) -> Setting:
        """For more than LEAST_K hits effort grows by as much from each ten times as many to the next."""
        effort, reorder = self.setting
        if self.many > effort and k > LEAST_K:
            effort = round(effort * (self.many / effort) ** math.log(k / LEAST_K, MANY_K / LEAST_K))
        long = mask is not None and self.longest is not None and self.seeker.filters
        return Setting(effort, max(reorder, _LONG_REORDER) if long else reorder)

    def _sure(self, asked: Asked) -> Found:
        """Doubtful queries are asked again with a wider setting, and in the end answered by a scan."""
        found, doubts = self._found(asked)
        again = np.flatnonzero(doubts.effort | doubts.reorder)
        if not len(again):
            return found
        wider, rest = self._wider(asked, doubts), asked.of(again)
        if wider is None or not (found[1] >= 0).any():  # an engine that finds nothing at all is out of reach
            better = search_exact(self.vectors, rest.queries, rest.k, rest.mask, self.longest)
        else:
            better = self._sure(rest._replace(setting=wider, again=True))
        return _pieced(found, again, better)

    def _wider(self, asked: Asked, doubts: Doubts) -> Setting | None:
        """None where a scan takes no longer, or more wouldn't help: an engine that can't tell what it missed has too
        few rows in its lists for more hits than recall was measured with, or long ones before those that a mask leaves.
        """
        (effort, reorder), tells = asked.setting, self.seeker.unseen is not None
        step = 2 if asked.mask is None else STEP
        if not tells and (asked.k > LEAST_K if asked.mask is None else self.longest is not None):
            return None
        if doubts.effort.any():
            most = self.seeker.efforts[-1]
            if asked.effort >= most or (tells and step * asked.effort > _SCANNED * asked.share * most):
                return None
            effort *= step
        if doubts.reorder.any():
            if reorder >= _MOST_REORDER * self._first(asked.k, asked.mask).reorder:
                return None
            reorder *= step
        return Setting(effort, reorder)

    def _found(self, asked: Asked) -> tuple[Found, Doubts]:
        rows, sure = self._candidates(asked)
        found = rescore_all(self.vectors, asked.queries, rows, asked.k, self.longest)
        short = np.count_nonzero(found[1] >= 0, axis=1) < asked.k
        effort = np.zeros_like(short) if self.part else short
        if self.seeker.unseen is None:
            effort |= ~sure
            return found, Doubts(effort, effort & (asked.mask is not None))  # which may have taken most candidates
        likely = asked.k <= MANY_K and asked.share >= (_LIKELY if asked.k <= LEAST_K else _MANY_LIKELY)
        effort |= self._overlooked(asked, found, np.flatnonzero(~sure if likely else np.ones_like(sure)))
        return found, Doubts(effort, self._misplaced(asked, rows, found, np.flatnonzero(~sure)))

    def _candidates(self, asked: Asked) -> tuple[IntArray, BoolArray]:
        """(B, C) rows, -1 for none, and which of the queries (B,) had what was to be expected."""
        seeker, queries, mask = self.seeker, self._queries(asked), asked.mask
        if mask is None:
            rows = seeker.seek(queries, asked.candidates, asked.effort, None)
            return rows, np.full(len(rows), not asked.again or seeker.unseen is None)
        looks, many = seeker.filters and seeker.unseen is not None, asked.candidates
        many *= _MASKED_REORDER if self.setting.reorder > 1 else 1
        if looks and (asked.again or enough(asked.candidates, asked.share) > _MOST_ASKED):
            return looked_at(seeker, queries, many, asked.effort, mask), np.zeros(len(queries), np.bool_)
        least = asked._replace(setting=self._first(asked.k, mask)).candidates
        rows, sure = asked_for_more(seeker, queries, (least, asked.candidates), asked.effort, mask, asked.share)
        few = np.flatnonzero(~sure)
        if looks and len(few):
            rows = widened(rows, few, looked_at(seeker, queries[few], many, asked.effort, mask))
        return rows, sure

    def _overlooked(self, asked: Asked, found: Found, judged: IntArray) -> BoolArray:
        """(B,): which of the `judged` queries may have better rows where the engine didn't look.

        Further down the order fewer of the rows expected are there: ten times as many hits as were measured may have
        some three times as many.
        """
        doubtful = np.zeros(len(asked.queries), np.bool_)
        doubtful[judged] = True
        for mask in (None,) if asked.mask is None else (None, asked.mask):  # counting what one leaves takes the longest
            left = np.flatnonzero(doubtful)
            if len(left):
                expected = self._unseen(asked.of(left), (found[0][left], found[1][left]), mask)
                doubtful[left] = expected > self.usual.unseen * math.sqrt(asked.k / LEAST_K)
        return doubtful

    def _misplaced(self, asked: Asked, rows: IntArray, found: Found, judged: IntArray) -> BoolArray:
        """(B,): which of the `judged` queries have hits all over the candidates `rows` (B, C) that the mask left."""
        doubtful = np.zeros(len(rows), np.bool_)
        if self.setting.reorder > 1 and asked.mask is not None:
            doubtful[judged] = places(rows[judged], found[1][judged]) > self.usual.place / _MASKED_REORDER
        return doubtful

    def _unseen(self, asked: Asked, found: Found, mask: BoolArray | None) -> FloatArray:
        """(B,): see `Unseen.above`, for the worst hit found."""
        if self.seeker.unseen is None:
            return np.zeros(len(asked.queries), np.float32)
        floors = asked.floors
        if found[0].shape[1] == asked.k:
            floors = np.maximum(floors, found[0][:, -1])
        if self.longest is not None:
            lengths = norms(asked.queries)
            floors = (floors * self.scale / np.where(lengths > 0, lengths, 1)).astype(np.float32)
        return self.seeker.unseen.above(self._queries(asked), floors, asked.effort, mask)

    def _queries(self, asked: Asked) -> FloatArray:
        """(B, D), as the seeker has them."""
        return asked.queries if self.longest is None else levelled(asked.queries)

    @property
    def save(self) -> Callable[[Path], None] | None:
        """Writes the index, with what was calibrated, to a file; None where the engine has no file format."""
        if not isinstance(self.seeker, Savable):
            return None
        write, setting, usual = self.seeker.write, list(self.setting), list(self.usual)
        notes = {"described": self.described, "seconds": self.seconds, "setting": setting, "scale": self.scale}
        notes |= {"usual": usual, "many": self.many}
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

    @property
    def remote(self) -> bool:
        """Whether a search asks another process, which may not answer."""
        return getattr(self.seeker, "remote", False)

    def judged(
        self, queries: FloatArray, setting: Setting, mask: BoolArray | None = None
    ) -> tuple[FloatArray, FloatArray, IntArray]:
        """The best LEAST_K rows (B, K) of `queries` (B, D) by the engine, which looks at `mask`, whatever there is to
        doubt; before them, how many are expected to be better (B,), and their mean place (B,).
        """
        share = 1.0 if mask is None else float(mask.mean())
        floors = np.full(len(queries), -np.inf, np.float32)
        asked = Asked(queries, LEAST_K, mask, share, floors, setting, again=True)
        rows = self._candidates(asked)[0]
        found = rescore_all(self.vectors, queries, rows, LEAST_K, self.longest)
        return self._unseen(asked, found, mask), places(rows, found[1]), found[1]

    def recall(self, queries: FloatArray, truth: IntArray, setting: Setting) -> FloatArray:
        """(B,): the share of each row of `truth` (B, K) that a search with `setting` finds."""
        asked = Asked(queries, truth.shape[1], None, 1.0, np.empty(0, np.float32), setting)
        rows = self._candidates(asked)[0]
        return shares(rescore_all(self.vectors, queries, rows, asked.k, self.longest)[1], truth)


def shares(found: IntArray, truth: IntArray) -> FloatArray:
    """(B,): the share of each row of `truth` (B, K) that is `found` (B, any)."""
    each = [len(np.intersect1d(rows, own)) / len(own) for rows, own in zip(found, truth, strict=True)]
    return np.array(each, dtype=np.float32)


def _pieced(found: Found, at: IntArray, better: Found) -> Found:
    """`found`, where the queries `at` these places have `better` answers, perhaps more of them or fewer."""
    results = list(zip(*found, strict=True))
    for place, result in zip(at, zip(*better, strict=True), strict=True):
        results[place] = result
    return padded(results, max(found[1].shape[1], better[1].shape[1]))


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
        usual=Usual(*notes.get("usual", ())),
        many=notes.get("many", 0),
    )
