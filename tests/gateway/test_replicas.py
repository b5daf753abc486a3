"""Several gateways at once: limits counted together in a real Redis, and what happens while it is away.

Collected only where there is a redis-server (tests/gateway/conftest.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clip_core.errors import RateLimited
from gateway.keys.api_key import ApiKey, KeyLimits
from gateway.keys.quotas import Quotas, counts_in
from tests.gateway.redis_server import RedisServer
from tests.waiting import until

ALONE = "clipserve_gateway_rate_limit_fallbacks_total"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def room_in_this_minute() -> None:
    """Windows begin with the clock's minutes: what a test counts stays within one."""
    until(lambda: time.time() % 60 < 54)


def ask(stack, number: int = 0, key: str = "k") -> int:
    return stack.post("/v1/embeddings", {"input": f"a{number}"}, headers={"X-API-Key": key}).status_code


def alone(stack) -> float:
    lines = stack.client.get("/metrics", headers={"X-API-Key": "other"}).text.splitlines()
    return float(next(line for line in lines if line.startswith(ALONE)).split()[-1])


@pytest.fixture
def two_of(stack_of, redis):
    def start(**settings):
        common = {"api_keys": "k,other,third", "redis_url": redis.url, **settings}
        return stack_of(**common), stack_of(**common)

    return start


def test_two_gateways_share_one_budget(two_of):
    first, second = two_of(requests_per_minute=4)
    assert [ask(stack) for stack in (first, second, first, second)] == [200] * 4
    assert [ask(first), ask(second)] == [429, 429]
    assert ask(second, key="third") == 200
    assert alone(first) == 0


def test_racing_requests_get_just_what_there_is(two_of):
    both = two_of(requests_per_minute=7)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda number: ask(both[number % 2], number), range(24)))
    assert (statuses.count(200), statuses.count(429)) == (7, 17)


def test_items_are_shared_too(two_of):
    first, second = two_of(items_per_minute=10)
    body, headers = {"input": ["a"] * 6}, {"X-API-Key": "k"}
    assert first.post("/v1/embeddings", body, headers=headers).headers["x-ratelimit-remaining-items"] == "4"
    refused = second.post("/v1/embeddings", body, headers=headers)
    assert (refused.status_code, refused.headers["x-ratelimit-remaining-items"]) == (429, "4")


def test_without_redis_each_counts_for_itself_and_says_so(two_of, redis, caplog):
    first, second = two_of(requests_per_minute=3)
    assert ask(first) == 200
    redis.stop()
    assert [ask(first) for _ in range(4)] == [200, 200, 200, 429]
    assert [ask(second) for _ in range(4)] == [200, 200, 200, 429]
    assert alone(first) >= 4
    assert "Redis does not answer" in caplog.text


async def test_once_redis_is_back_it_counts_again(redis):
    key, limits = ApiKey("a"), KeyLimits(items_per_minute=5)
    first, second = both = [Quotas(limits, counts_in(redis.url), retry_s=0.0) for _ in range(2)]
    await first.spend(key, "items", 5)
    redis.stop()
    await second.spend(key, "items", 5)
    redis.start()
    await first.spend(key, "items", 5)  # counts that Redis lost are forgiven
    with pytest.raises(RateLimited):
        await second.spend(key, "items", 1)
    for quotas in both:
        await quotas.close()
