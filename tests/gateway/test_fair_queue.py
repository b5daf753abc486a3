"""The fair queue by itself: whose entry is next, and what it keeps."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.fair_queue import FairQueue

ALWAYS, NEVER = float("inf"), float("-inf")


@dataclass(eq=False)
class Entry:
    lane: str
    since: float = 0.0
    firm: bool = False
    weight: int = 1


def filled(*entries: Entry) -> FairQueue[Entry]:
    queue: FairQueue[Entry] = FairQueue()
    for entry in entries:
        queue.push(entry)
    return queue


def test_thousands_of_lanes_that_became_empty_stand_in_nobody_s_way():
    """Their entries were taken out or popped while another one waited, so that the queue was never empty."""
    entries = [Entry(str(n)) for n in range(2000)]
    queue = filled(*entries, Entry("last"))
    for entry in entries[:1000]:
        queue.remove(entry)
    assert [queue.pop(NEVER).lane for _ in range(1001)] == [*map(str, range(1000, 2000)), "last"]
    assert not queue


def test_an_empty_queue_keeps_nothing():
    queue = filled(*(Entry(str(n % 50), weight=2) for n in range(100)))
    for entry in list(queue)[:40]:
        queue.remove(entry)
    while queue:
        queue.pop(NEVER)
    assert (len(queue._lanes), len(queue._due)) == (0, 0)
    queue.push(Entry("a"))
    assert queue.pop(NEVER).lane == "a"


def test_lanes_share_by_weight():
    queue = filled(*(Entry("heavy", weight=3) for _ in range(3)), *(Entry("light") for _ in range(6)))
    assert [queue.pop(NEVER).lane[0] for _ in range(9)] == [*"hlllhlllh"]


def test_an_old_firm_entry_does_not_turn_the_order_of_others_around():
    """Whether the newest goes first is judged by the oldest of those that may still be refused."""
    firm, first, second = Entry("a", 0.0, firm=True), Entry("a", 5.0), Entry("a", 6.0)
    queue = filled(firm, first, second)
    assert [queue.pop(3.0) for _ in range(3)] == [first, second, firm]


def test_the_newest_goes_first_once_the_oldest_is_stale():
    first, firm, second, third = Entry("a", 1.0), Entry("a", 1.5, firm=True), Entry("a", 2.0), Entry("a", 4.0)
    queue = filled(first, firm, second, third)
    assert [queue.pop(3.0) for _ in range(4)] == [third, second, first, firm]
