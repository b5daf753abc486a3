"""All searches of one call, run group by group; the answers together stay below a limit of bytes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, chain, takewhile
from typing import Any, NamedTuple

from clip_core.errors import ClipServeError
from clip_core.tracing.spans import stage
from index_service.answers.hits import BatchAnswers, SearchBatch, failed, refuse, write_answers, write_fitting
from index_service.collection.recall import Sample
from index_service.search.groups import SearchGroup, cost_of

_COST_OF_PARSING = 100_000  # of one search, in the unit of `Segment.cost`
LARGE_BYTES, _LARGE_COST = 4 << 20, 20 * 10**9  # from which calls take turns: some tenths of a second, some seconds
_MAX_GROWTH = 4  # of a turn's bytes from one turn to the next


class _Sized(NamedTuple):
    """The search `at` this position of its group's batch, and the expected `bytes` of its answer."""

    bytes: int
    place: int
    group: SearchGroup
    at: int


@dataclass(frozen=True)
class SearchCall:
    """All searches of a call. `results` holds the errors found so far, and None where a search is to run."""

    batches: dict[SearchGroup, SearchBatch]
    results: list[dict[str, Any] | None]
    samples: list[Sample]
    began: float = field(default_factory=time.monotonic)

    @cached_property
    def cost(self) -> int:
        """The estimated cost of `run`, in the unit of `Segment.cost`."""
        searching = (cost_of(*each, sum(one.bytes for one in self._sized[each[0]])) for each in self.batches.items())
        return sum(searching) + len(self.results) * _COST_OF_PARSING

    @cached_property
    def expected_bytes(self) -> int:
        """The estimated bytes of all answers."""
        return sum(one.bytes for sized in self._sized.values() for one in sized)

    @cached_property
    def _sized(self) -> dict[SearchGroup, list[_Sized]]:
        return {group: list(_sizes(group, batch)) for group, batch in self.batches.items()}

    @property
    def large(self) -> bool:
        """Whether the call is so large that calls like it take turns; what another process computes costs nothing."""
        return self.expected_bytes > LARGE_BYTES or (not self.waits and self.cost > _LARGE_COST)

    @property
    def waits(self) -> bool:
        """Whether another process is asked."""
        return any(group.collection.waits for group in self.batches)

    def run(self, most_bytes: int) -> tuple[list[dict[str, Any] | None], float]:
        """The answers in order, no larger than `most_bytes`, and the milliseconds that searching took."""
        started = time.perf_counter()
        if self.expected_bytes <= most_bytes:
            found = [self._run(*each) for each in self.batches.items()]
            write_answers([part for part in found if part is not None], most_bytes, self.results)
        else:
            self._run_in_turns(most_bytes)
        return self.results, (time.perf_counter() - started) * 1e3

    def _run_in_turns(self, most: int) -> None:
        """Run the searches with the smallest expected answers first, and none after one that did not fit.

        A turn has as many searches as should fit, given how much smaller the last turn's answers were than expected.
        """
        left, room, share = self._by_size(), most, most
        while left and room >= 0:
            turn = _turn(left, share)
            left = left[len(turn) :]
            ran = [self._run(group, batch.at(chosen)) for group, batch, chosen in self._grouped(turn)]
            found = [part for part in ran if part is not None]
            before, room = room, write_fitting(found, room, most, self.results)
            shrunk = sum(one.bytes for one in turn) / max(before - room, 1)
            share = min(_MAX_GROWTH * share, int(room * shrunk))
        refuse((self.batches[one.group].searches[one.at] for one in left), most, self.results)

    def _by_size(self) -> list[_Sized]:
        """Every search, the one with the smallest expected answer first."""
        return sorted(chain.from_iterable(self._sized.values()), key=lambda one: (one.bytes, one.place))

    def _grouped(self, turn: list[_Sized]) -> Iterator[tuple[SearchGroup, SearchBatch, list[int]]]:
        for group, batch in self.batches.items():
            chosen = [one.at for one in turn if one.group is group]
            if chosen:
                yield group, batch, chosen

    def _run(self, group: SearchGroup, batch: SearchBatch) -> BatchAnswers | None:
        """None where its collection can't answer, which is told to its own searches, if the call has others."""
        try:
            return self._found(group, batch)
        except ClipServeError as error:
            if len(self.batches) == 1 and all(result is None for result in self.results):
                raise
            for search in batch.searches:
                self.results[search.place] = failed(error)
            return None

    def _found(self, group: SearchGroup, batch: SearchBatch) -> BatchAnswers:
        with stage("retrieval") as span:
            if span is not None:
                span.attributes |= _retrieval(group, batch)
            found, sample = group.collection.search(batch, group.where, group.exact, group.consistency, self.began)
        if sample is not None:
            self.samples.append(sample)
        return found


def _retrieval(group: SearchGroup, batch: SearchBatch) -> dict[str, Any]:
    """Named as the GenAI conventions name a retrieval."""
    return {
        "gen_ai.operation.name": "retrieval",
        "gen_ai.data_source.id": group.collection.info.name,
        "gen_ai.request.top_k": batch.most_k,
        "clipserve.searches": len(batch.searches),
        "clipserve.filtered": group.where is not None,
        "clipserve.exact": str(group.exact),
    }


def _sizes(group: SearchGroup, batch: SearchBatch) -> Iterator[_Sized]:
    for at, search in enumerate(batch.searches):
        yield _Sized(group.collection.answer_bytes(search), search.place, group, at)


def _turn(left: list[_Sized], share: int) -> list[_Sized]:
    """The first searches whose answers should take no more than `share` bytes; one at least."""
    within = takewhile(lambda total: total <= share, accumulate(one.bytes for one in left))
    return left[: max(1, sum(1 for _ in within))]
