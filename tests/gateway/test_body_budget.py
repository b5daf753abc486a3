"""Which body ends when the gateway holds too many bytes of them, or too many that are half sent."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_core.errors import ClipServeError, Overloaded, TooSlow
from gateway.counts import Counts
from gateway.middleware.body_budget import SMALL_BYTES, Body, BodyBudget

MOST = 16 * SMALL_BYTES


class Bodies:
    """A budget, and the bodies that it ended with their errors."""

    def __init__(self, most_unfinished: int = 1000) -> None:
        self.budget = BodyBudget(MOST, most_unfinished)
        self.ended: dict[str, ClipServeError] = {}

    def begin(self, name: str, caller: str = "a", *, streamed: bool = False) -> Body:
        body = Body(caller, lambda error: self.ended.__setitem__(name, error), streamed)
        self.budget.begin(body)
        return body


def test_the_idlest_unfinished_body_of_the_largest_caller_ends():
    bodies = Bodies()
    for name, caller, size in [("a1", "a", 4), ("a2", "a", 3), ("b1", "b", 5)]:
        body = bodies.begin(name, caller)
        bodies.budget.add(body, size * SMALL_BYTES, whole=False)
        body.moved = 0.0
    bodies.budget.add(bodies.begin("c1", "c"), 3 * SMALL_BYTES, whole=True)
    assert list(bodies.ended) == ["a1"]
    assert isinstance(bodies.ended["a1"], Overloaded)
    assert bodies.budget.held == 11 * SMALL_BYTES


def test_what_is_fetched_for_a_request_counts_as_its_body():
    bodies = Bodies()
    whole = bodies.begin("whole")
    bodies.budget.add(whole, 100, whole=True)
    for _ in range(14):
        bodies.budget.hold(whole, SMALL_BYTES)
    assert list(bodies.ended) == ["whole"]
    bodies.budget.end(whole)
    assert bodies.budget.held == 0


def test_an_upload_outlives_what_stands_still():
    bodies = Bodies()
    still = bodies.begin("still")
    bodies.budget.add(still, 4 * SMALL_BYTES, whole=False)
    still.moved -= 1
    upload = bodies.begin("upload")
    for _ in range(11):
        bodies.budget.add(upload, SMALL_BYTES, whole=False)
    assert list(bodies.ended) == ["still"]


def test_whole_bodies_stay_and_leave_a_reserve_for_small_ones():
    bodies = Bodies()
    for number in range(7):
        bodies.budget.add(bodies.begin(f"whole{number}"), 2 * SMALL_BYTES, whole=True)
    bodies.budget.add(bodies.begin("large"), 2 * SMALL_BYTES, whole=True)
    bodies.budget.add(bodies.begin("small"), SMALL_BYTES, whole=True)
    assert list(bodies.ended) == ["large"]


def test_what_has_ended_makes_room():
    bodies = Bodies()
    for _ in range(100):
        body = bodies.begin("body")
        bodies.budget.add(body, 10 * SMALL_BYTES, whole=True)
        bodies.budget.end(body)
    assert not bodies.ended
    assert bodies.budget.held == 0


def test_too_many_half_sent_bodies_of_one_caller_end_the_slowest_of_them():
    bodies = Bodies(most_unfinished=3)
    bodies.budget.add(bodies.begin("stream", streamed=True), 1, whole=False)
    slow = [bodies.begin(name) for name in ("trickle", "upload")]
    bodies.budget.add(slow[0], 1, whole=False)
    bodies.budget.add(slow[1], SMALL_BYTES, whole=False)
    bodies.begin("other", "b")
    bodies.begin("burst")
    assert not bodies.ended
    for body in slow:
        body.began -= 2
    bodies.begin("new")
    assert list(bodies.ended) == ["trickle"]
    assert isinstance(bodies.ended["trickle"], TooSlow)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4 * SMALL_BYTES), st.booleans()), max_size=60))
def test_the_budget_holds_and_a_small_whole_body_never_ends_for_unfinished_ones(pieces):
    bodies = Bodies(most_unfinished=10)
    for number, (caller, size, whole) in enumerate(pieces):
        body = bodies.begin(f"{number}", caller)
        bodies.budget.add(body, size, whole=whole)
        if whole:
            bodies.budget.end(body)
        assert bodies.budget.held <= MOST
    bodies.budget.add(bodies.begin("neighbour", "a"), SMALL_BYTES, whole=True)
    assert "neighbour" not in bodies.ended


@pytest.mark.parametrize("whole", [True, False])
def test_nothing_is_counted_twice(whole):
    bodies = Bodies()
    body = bodies.begin("body")
    bodies.budget.add(body, 10, whole=False)
    bodies.budget.let_go(body)
    bodies.budget.add(body, 5, whole=whole)
    assert bodies.budget.held == 5
    bodies.budget.end(body)
    bodies.budget.end(body)
    assert bodies.budget.held == 0


def test_counts_forget_what_is_not_in_use():
    counts = Counts()
    assert [counts.add("a", 2), counts.add("a", 1), counts.add("b", 0), counts.add("a", -3)] == [2, 3, 0, 0]
    assert not counts
