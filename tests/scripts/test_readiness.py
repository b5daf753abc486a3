"""How long `up` waits for its parts, and what it says meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import pytest

from scripts.processes.preflight import StackStartError
from scripts.stack.readiness import Parts, wait_ready


class Gateway:
    """Answers one after the other, the last one again and again; each when `look` has been called so often."""

    def __init__(self, answers: Iterable[str], looks: int = 3) -> None:
        self.answers, self.looks = list(answers), looks
        self._look = threading.Semaphore(0)

    def ask(self) -> Parts:
        for _ in range(self.looks):
            assert self._look.acquire(timeout=30)
        ready = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return {name: "ok" if name in ready else f"{name} is loading" for name in "abc"}

    def look(self) -> None:
        self._look.release()


def test_it_waits_for_the_last_part_and_says_what_is_missing() -> None:
    gateway, said = Gateway(["", "a", "a", "ab", "abc"]), list[str]()
    wait_ready(gateway.ask, 60, gateway.look, said.append)
    assert said == ["a, b, c", "b, c", "c"]


def clock(monkeypatch: pytest.MonkeyPatch, step_s: float) -> None:
    """Each look at the clock finds it so much later."""
    now = iter(range(1_000_000))
    monkeypatch.setattr("scripts.stack.readiness.time.monotonic", lambda: next(now) * step_s)


def test_patience_begins_again_with_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, 1)
    gateway = Gateway(["", "", "", "a", "", "", "ab", "", "", "", "abc"])
    wait_ready(gateway.ask, 5.5, gateway.look)
    assert gateway.answers == ["abc"]


@pytest.mark.parametrize("answers", [[""], ["a", "b", "ab", "a", "b"]])
def test_parts_that_come_and_go_are_no_progress(monkeypatch: pytest.MonkeyPatch, answers: list[str]) -> None:
    clock(monkeypatch, 1)
    gateway = Gateway(answers)
    with pytest.raises(StackStartError, match=r"for 10 s.*c: c is loading"):
        wait_ready(gateway.ask, 10, gateway.look)


def test_a_stop_does_not_wait_for_the_gateways_answer() -> None:
    class Stopped(Exception):
        pass

    def look() -> None:
        raise Stopped

    silent = threading.Event()

    def ask() -> Parts:
        silent.wait(30)
        return {}

    with pytest.raises(Stopped):
        wait_ready(ask, 60, look)
    silent.set()
