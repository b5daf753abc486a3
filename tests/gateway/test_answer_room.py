"""Room for large answers: callers take turns, nobody waits for long in vain, and small answers never wait."""

from __future__ import annotations

import asyncio

import pytest

from clip_core.errors import Overloaded
from gateway.admission.answer_room import AnswerRoom
from gateway.admission.queued_request import AdmissionCall

FULL = 1600


class Visits:
    """Requests that are in the room until they are told to leave."""

    def __init__(self, requests: int = 1, wait_s: float = 60.0) -> None:
        self.room = AnswerRoom(FULL, requests, wait_s)
        self.inside: list[str] = []
        self.entered: list[str] = []
        self._leaves: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *names: str, size: int = FULL, call: AdmissionCall | None = None) -> None:
        """The caller is the first letter of the name."""
        for name in names:
            self._leaves[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._stay(name, size, call or AdmissionCall(name[0])))
            await settle()

    async def _stay(self, name: str, size: int, call: AdmissionCall) -> None:
        async with self.room.taken(call, size):
            self.inside.append(name)
            self.entered.append(name)
            await self._leaves[name].wait()
        self.inside.remove(name)

    async def leave(self, name: str) -> None:
        self._leaves[name].set()
        await settle()

    async def all_leave(self) -> None:
        while self.inside:
            await self.leave(self.inside[0])
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_callers_take_turns():
    visits = Visits()
    await visits.come("a1", "a2", "a3", "b1")
    assert visits.inside == ["a1"]
    await visits.all_leave()
    assert visits.entered.index("b1") < visits.entered.index("a3")


async def test_two_full_answers_go_at_once_where_there_are_two_workers():
    visits = Visits(requests=2)
    await visits.come("a1", "b1", "c1")
    assert visits.inside == ["a1", "b1"]
    await visits.all_leave()
    assert visits.entered[-1] == "c1"


async def test_small_answers_never_wait():
    visits = Visits(requests=2)
    await visits.come("a1", "b1")
    await visits.come("c1", size=FULL // 16)
    assert visits.inside == ["a1", "b1", "c1"]
    await visits.all_leave()


async def test_one_that_is_larger_than_the_room_goes_alone_and_is_not_passed():
    visits = Visits(requests=2)
    await visits.come("a1", "a2", size=1000)
    await visits.come("b1", size=10 * FULL)
    await visits.leave("a1")
    await visits.come("c1", size=1000)
    assert visits.inside == ["a2"]
    await visits.leave("a2")
    assert visits.inside == ["b1"]
    await visits.all_leave()
    assert visits.entered == ["a1", "a2", "b1", "c1"]


async def test_nobody_waits_for_longer_than_said():
    visits = Visits(wait_s=0.02)
    await visits.come("a1", "b1")
    with pytest.raises(Overloaded):
        await visits.tasks["b1"]
    await visits.leave("a1")
    await visits.come("b2")
    assert visits.inside == ["b2"]
    await visits.all_leave()


async def test_without_a_wait_who_finds_no_room_is_refused_at_once():
    visits = Visits(wait_s=0.0)
    await visits.come("a1", "b1")
    assert isinstance(visits.tasks["b1"].exception(), Overloaded)
    await visits.all_leave()


async def test_patient_calls_and_those_that_have_begun_wait_as_long_as_it_takes():
    visits, begun = Visits(wait_s=0.02), AdmissionCall("a")
    await visits.come("a1", "a2", call=begun)
    await visits.come("p1", call=AdmissionCall("p", patient=True))
    await visits.come("z1")
    with pytest.raises(Overloaded):
        await visits.tasks["z1"]
    await visits.all_leave()
    assert sorted(visits.entered) == ["a1", "a2", "p1"]


async def test_once_one_request_of_a_call_is_refused_all_are():
    visits, call = Visits(wait_s=0.02), AdmissionCall("b")
    await visits.come("a1")
    await visits.come("b1", "b2", call=call)
    with pytest.raises(Overloaded):
        await visits.tasks["b1"]
    await visits.all_leave()
    await visits.come("b3", call=call)
    assert [type(visits.tasks[name].exception()) for name in ("b1", "b2", "b3")] == [Overloaded] * 3
    assert visits.entered == ["a1"]


@pytest.mark.parametrize("leaver", ["b1", "c1"])  # the one that is next, and one behind it
async def test_who_leaves_frees_the_place(leaver):
    visits = Visits(requests=2)
    await visits.come("a1", "a2", size=1000)
    await visits.come("b1", size=2 * FULL)
    await visits.come("c1", "d1", size=1000)
    await visits.leave("a1")
    visits.tasks[leaver].cancel()
    await settle()
    await visits.all_leave()
    assert leaver not in visits.entered
    assert len(visits.entered) == 4
    await visits.come("e1", size=2 * FULL)
    assert visits.inside == ["e1"]
    await visits.all_leave()


async def test_who_leaves_in_the_moment_of_entering_takes_no_room():
    visits = Visits()
    first = visits.room.taken(AdmissionCall("a"), FULL)
    await first.__aenter__()
    await visits.come("b1")
    await first.__aexit__(None, None, None)  # b1 may go, and does not hear of it any more
    visits.tasks["b1"].cancel()
    await settle()
    assert not visits.entered
    await visits.come("c1")
    assert visits.inside == ["c1"]
    await visits.all_leave()
