"""What is asked of an approximate segment, and what there is to doubt about its answer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from clip_core.wire import FloatArray
from index_service.engines.approximate.candidate_search import Setting
from index_service.engines.base import BoolArray, IntArray

LEAST_K = 10  # fewer wanted hits need as many candidates; recall is measured with so many
MANY_K = 100  # for these, too, it is known what effort they take


class Usual(NamedTuple):
    """What an answer that is taken for good may have, as calibration found it; by default the least that is taken.

    So many `unseen` rows may be expected to be better than the tenth hit where the engine didn't look, and this may be
    the hits' mean `place` among the candidates, in the engine's order, as a share of their number, without a mask.
    """

    unseen: float = 0.5
    place: float = 0.25


LEAST_USUAL = Usual()


class Doubts(NamedTuple):
    """(B,) each: where the engine may have looked at too few rows, and where too few candidates were scored."""

    effort: BoolArray
    reorder: BoolArray


class Asked(NamedTuple):
    """What is asked of a segment at once: `k` hits for each of `queries` (B, D) above `floors` (B,), among the rows
    that `mask` allows, which are a `share` of all.
    """

    queries: FloatArray
    k: int
    mask: BoolArray | None
    share: float
    floors: FloatArray
    setting: Setting
    again: bool = False

    def of(self, places: IntArray) -> Asked:
        """Some of the queries."""
        return self._replace(queries=self.queries[places], floors=self.floors[places])

    @property
    def candidates(self) -> int:
        """How many are scored for each query."""
        return max(self.k, LEAST_K) * self.setting.reorder

    @property
    def effort(self) -> int:
        """Masked rows take up effort as allowed ones do, so that a filter needs as much more of it."""
        return int(self.setting.effort / self.share)


def places(rows: IntArray, found: IntArray) -> FloatArray:
    """(B,): the mean place of the rows `found` (B, K) among the candidates `rows` (B, C), as a share of their number.

    It is small where the engine's codes put the best first, and near a half where they can't tell them from others.
    """
    shares = np.empty(len(rows), np.float32)
    for i, (candidates, best) in enumerate(zip(rows, found, strict=True)):
        candidates = candidates[candidates >= 0]
        at = np.flatnonzero(np.isin(candidates, best))
        shares[i] = at.mean() / len(candidates) if len(at) else 0
    return shares
