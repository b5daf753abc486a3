"""The gate against a simulated batching server, in simulated time; and the middleware in front of real answers."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest

from gateway.admission import Gate
from tests.waiting import until

BATCH = 16


@dataclass
class Simulation:
    """Poisson arrivals at a server that takes up to BATCH at a time, each batch in `fixed + each * size` seconds."""

    rate: float
    fixed: float
    each: float
    seconds: float = 20.0
    now: float = 0.0
    queue: deque[float] = field(default_factory=deque)
    latencies: list[float] = field(default_factory=list)
    shed: int = 0

    def run(self, gate: Gate) -> Simulation:
        arrivals = self._arrivals()
        finishing: list[tuple[float, list[float], float]] = []
        for arrival in arrivals:
            while finishing and finishing[0][0] <= arrival:
                self._finish(gate, finishing)
            self.now = arrival
            if gate.enter():
                self.queue.append(arrival)
                self._start(finishing)
            else:
                self.shed += 1
        return self

    def _arrivals(self) -> Iterator[float]:
        gaps = np.random.default_rng(5).exponential(1 / self.rate, int(self.rate * self.seconds))
        yield from np.cumsum(gaps).tolist()

    def _start(self, finishing: list[tuple[float, list[float], float]]) -> None:
        if self.queue and not finishing:
            batch = [self.queue.popleft() for _ in range(min(BATCH, len(self.queue)))]
            work = self.fixed + self.each * len(batch)
            heapq.heappush(finishing, (self.now + work, batch, work))

    def _finish(self, gate: Gate, finishing: list[tuple[float, list[float], float]]) -> None:
        self.now, batch, work = heapq.heappop(finishing)
        for arrived in batch:
            total = self.now - arrived
            gate.leave(total - work, work)
            if self.now > self.seconds / 4:  # after it has settled
                self.latencies.append(total)
        self._start(finishing)

    def throughput(self) -> float:
        return len(self.latencies) / (self.seconds * 3 / 4)

    def p99(self) -> float:
        return float(np.percentile(self.latencies, 99))


SPEEDS = {"fast": (0.004, 0.0005), "slow": (0.02, 0.02)}


@pytest.mark.parametrize("speed", SPEEDS)
def test_four_times_too_much_costs_neither_throughput_nor_time(speed):
    fixed, each = SPEEDS[speed]
    capacity = BATCH / (fixed + each * BATCH)

    def simulate(load: float) -> Simulation:
        run = Simulation(load * capacity, fixed, each)
        return run.run(Gate(256, clock=lambda: run.now))

    at_capacity, overloaded = simulate(1.0), simulate(4.0)
    assert overloaded.shed > 0
    assert overloaded.throughput() >= 0.9 * at_capacity.throughput()
    assert overloaded.p99() <= 2 * at_capacity.p99()


@pytest.mark.parametrize("speed", SPEEDS)
def test_half_the_capacity_is_served_whole(speed):
    fixed, each = SPEEDS[speed]
    run = Simulation(0.5 * BATCH / (fixed + each * BATCH), fixed, each)
    assert run.run(Gate(256, clock=lambda: run.now)).shed == 0


def test_a_burst_on_an_idle_gateway_is_served():
    gate = Gate(256)
    assert all(gate.enter() for _ in range(64))
    assert not gate.enter()


def test_the_bound_follows_the_load():
    now = 0.0
    gate = Gate(128, clock=lambda: now)

    def serve(waited: float, rounds: int) -> float:
        nonlocal now
        for _ in range(rounds):
            now += 2.0
            inside = sum(gate.enter() for _ in range(200))
            for _ in range(inside):
                gate.leave(waited, 0.01)
        return gate.limit

    assert serve(1.0, 30) == 16
    assert serve(0.0, 60) == 128


def test_a_bound_that_is_not_reached_stays():
    gate = Gate(128, clock=lambda: 1e6)
    for _ in range(100):
        assert gate.enter()
        gate.leave(0.0, 0.01)
    assert gate.limit == 64


def test_what_no_model_worked_on_says_nothing():
    gate = Gate(64)
    for _ in range(100):
        assert gate.enter()
        gate.leave()
    assert (gate.limit, gate.under_way) == (64, 0)


def in_flight(stack) -> float:
    """As the gateway counts it, without the request that asks."""
    (line,) = [
        each
        for each in stack.client.get("/metrics").text.splitlines()
        if each.startswith("clipserve_gateway_requests_in_flight")
    ]
    return float(line.split()[-1]) - 1


def test_too_many_at_once_are_told_so(stack_of):
    stack = stack_of(max_in_flight=2)
    stack.torchserve.lets_pass = 0
    image = "A" * 10_000

    def ask(body: object) -> tuple[int, str | None]:
        answer = stack.post("/v1/embeddings", body)
        return answer.status_code, answer.headers.get("retry-after")

    with ThreadPoolExecutor(8) as pool:
        texts = [pool.submit(ask, {"input": "a"}) for _ in range(2)]
        until(lambda: stack.torchserve.busy == 2)
        more = [pool.submit(ask, {"input": "a"}) for _ in range(4)]
        assert [each.result() for each in more] == [(429, "1")] * 4
        images = [pool.submit(ask, {"input": "a", "filler": image}) for _ in range(2)]
        until(lambda: in_flight(stack) == 4)
        stack.torchserve.lets_pass = None
        assert [each.result() for each in texts] == [(200, None)] * 2
        assert [each.result()[0] for each in images] == [200, 200]  # a flood of one kind leaves the other alone
    assert stack.client.get("/healthz").status_code == 200
    assert 'clipserve_gateway_shed_total{body="small"} 4.0' in stack.client.get("/metrics").text
