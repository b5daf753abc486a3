"""What the gateway counts as demand, and what happens to requests while an endpoint is scaled to zero."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from clip_core.errors import TorchServeUnavailable, WorkerLost
from gateway.demand import Demand
from gateway.upstream.waking import Waking
from scaler.watch.gateway import readings
from tests.clock import Clock
from tests.waiting import until


def demand_of(client: httpx.Client) -> Any:
    return readings(client.get("/metrics").text, 0.0).get("clip_text")


def embed(client: httpx.Client, *texts: str) -> httpx.Response:
    return client.post("/v1/embeddings", json={"input": list(texts)})


def test_the_integral_is_exact_however_seldom_it_is_read() -> None:
    clock = Clock(10.0)
    demand, registry = Demand(clock), CollectorRegistry()
    registry.register(demand)

    def seconds() -> float | None:
        return registry.get_sample_value("clipserve_gateway_demand_item_seconds_total", {"endpoint": "e"})

    with demand.stay("e", 3):
        clock.now += 2
        with demand.stay("e", 1):
            clock.now += 1
            assert seconds() == 3 * 2 + 4 * 1
        clock.now += 1
    clock.now += 100
    assert seconds() == 3 * 4 + 1
    assert registry.get_sample_value("clipserve_gateway_demand_items_total", {"endpoint": "e"}) == 4
    demand.forget("e")
    assert seconds() is None


def test_served_items_are_counted(stack_of: Any) -> None:
    stack = stack_of()
    assert demand_of(stack.client).items == 0  # it is named before anything was asked of it
    assert embed(stack.client, "a", "b", "c").status_code == 200
    found = demand_of(stack.client)
    assert (found.items, found.refused_items) == (3, 0)
    assert found.item_seconds > 0
    stack.client.get("/readyz")
    assert demand_of(stack.client).items == 3  # canaries are no demand


def test_refused_items_are_counted_once(stack_of: Any) -> None:
    stack = stack_of(max_in_flight=1, admission_timeout_s=0)
    stack.torchserve.lets_pass = 0
    with ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(embed, stack.client, f"text {number}") for number in range(8)]
        until(lambda: sum(each.done() for each in sent) >= 6)
        stack.torchserve.lets_pass = None
        statuses = [each.result().status_code for each in sent]
    found = demand_of(stack.client)
    assert found.items == 8
    assert found.refused_items == statuses.count(429) >= 6


def test_what_finds_no_worker_is_demand_that_was_refused(stack_of: Any) -> None:
    stack = stack_of()
    stack.torchserve.failure, stack.torchserve.workers = "queue_full", "UNLOADED"
    answer = embed(stack.client, "a", "b")
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
    found = demand_of(stack.client)
    assert (found.items, found.refused_items) == (2, 2)


def test_at_zero_the_gateway_is_ready_and_a_request_waits_for_the_first_worker(stack_of: Any) -> None:
    stack = stack_of(autoscaled="workers", cold_start_timeout_s=60)
    sleep(stack.torchserve)
    assert stack.client.get("/readyz").status_code == 200
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(embed, stack.client, "wake up")
        until(lambda: demand_of(stack.client).items == 1)
        wake(stack.torchserve)
        answer = sent.result()
    assert answer.status_code == 200
    assert demand_of(stack.client).refused_items == 0


def test_one_that_does_not_wake_in_time_answers_503_with_advice(stack_of: Any) -> None:
    stack = stack_of(autoscaled="workers", cold_start_timeout_s=0.3)
    sleep(stack.torchserve)
    answer = embed(stack.client, "wake up")
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
    assert demand_of(stack.client).refused_items == 1


def test_nothing_waits_for_a_torchserve_that_is_away(stack_of: Any) -> None:
    nobody = {"torchserve_url": "http://127.0.0.1:9", "management_url": "http://127.0.0.1:9"}
    answer = embed(
        stack_of(autoscaled="workers", cold_start_timeout_s=600, **nobody).client, "a"
    )  # the client waits for 10 s
    assert answer.status_code == 503


def test_workers_that_should_be_there_and_are_not_are_no_sleep(stack_of: Any) -> None:
    stack = stack_of(autoscaled="workers", cold_start_timeout_s=0, ready_timeout_s=1)
    sleep(stack.torchserve)
    stack.torchserve.wanted = 1
    assert stack.client.get("/readyz").status_code == 503


def test_a_request_whose_worker_was_taken_away_is_sent_again(stack_of: Any) -> None:
    stack = stack_of(autoscaled="workers", cold_start_timeout_s=0)
    stack.torchserve.failure, stack.torchserve.failures_left = "worker_died", 1
    assert embed(stack.client, "a").status_code == 200
    stack.torchserve.failures_left = 2
    assert embed(stack.client, "b").json()["error"]["code"] == "worker_lost"


def test_without_a_scaler_it_is_not(stack_of: Any) -> None:
    stack = stack_of()
    stack.torchserve.failure, stack.torchserve.failures_left = "worker_died", 1
    assert embed(stack.client, "a").json()["error"]["code"] == "worker_lost"


def sleep(torchserve: Any) -> None:
    torchserve.failure, torchserve.workers, torchserve.wanted = "queue_full", "UNLOADED", 0


def wake(torchserve: Any) -> None:
    torchserve.failure, torchserve.workers, torchserve.wanted = None, "READY", 1


class Workers:
    """A TorchServe that answers what it was told to, one after the other, each after `delay_s`."""

    def __init__(self, *answers: Any, delay_s: float = 0.0) -> None:
        self.answers, self.delay_s = list(answers), delay_s

    async def predict(self, endpoint: str, body: Any, *, timeout_s: float | None = None) -> Any:  # noqa: ARG002
        await asyncio.sleep(self.delay_s)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def workers_ready(self, endpoint: str) -> bool:  # noqa: ARG002
        return True

    async def workers_wanted(self, endpoint: str) -> int:  # noqa: ARG002
        return 1


ASLEEP, LOST = TorchServeUnavailable("asleep"), WorkerLost("lost")


async def test_a_worker_that_is_taken_away_after_the_waking_costs_no_request() -> None:
    assert await Waking(Workers(ASLEEP, LOST, "answer"), 5.0).predict("clip_text", {}) == "answer"
    with pytest.raises(WorkerLost):
        await Waking(Workers(LOST, ASLEEP, LOST), 5.0).predict("clip_text", {})


async def test_a_first_try_that_takes_long_leaves_the_whole_wait() -> None:
    assert await Waking(Workers(ASLEEP, "answer", delay_s=0.6), 0.6).predict("clip_text", {}) == "answer"
