"""The second level: shared, cleared for all, never trusted, and never in a request's way."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import fakeredis
import numpy as np
import pytest

from clip_core.encode.circuit_breaker import CircuitBreaker
from clip_core.encode.embedding_cache import EmbeddingCache, content_key
from clip_core.encode.encoded import Encoded
from clip_core.encode.shared_cache import SharedCache, TieredCache, from_settings, pack, unpack
from clip_core.endpoint_config import EndpointConfig
from clip_core.errors import Unavailable
from clip_core.inputs.request import Part
from clip_core.model_spec import ModelSpec
from clip_core.settings import HandlerSettings
from clip_core.wire import unit
from tests.clock import Clock
from tests.waiting import until

DIM = 8
SPEC = ModelSpec("m", "text", DIM, 77, "f" * 16)


def key(n: int) -> bytes:
    return content_key(Part("text", str(n)), SPEC)


def encoded(seed: int, tokens: int | None = 3) -> Encoded:
    return Encoded(unit(np.random.default_rng(seed).normal(size=DIM).astype(np.float32)), tokens, seed % 2 == 0)


@pytest.fixture
def server() -> fakeredis.FakeServer:
    return fakeredis.FakeServer()


def worker(
    server: fakeredis.FakeServer,
    max_bytes: int = 1 << 20,
    clock: Callable[[], float] = time.monotonic,
    model: str = "",
) -> TieredCache:
    shared = SharedCache(fakeredis.FakeRedis(server=server), DIM, 60.0, CircuitBreaker(2.0, pause_s=0.01), model)
    return TieredCache(shared, max_bytes, clock=clock)


def settle(server: fakeredis.FakeServer, entries: int) -> None:
    """Writes are not waited for: wait until Redis holds this many vectors."""
    client = fakeredis.FakeRedis(server=server)
    until(lambda: len(client.keys("clipserve:vectors:1:*:*")) == entries)


@pytest.mark.parametrize("own_model", [True, False])
def test_one_model_is_cleared_alone_or_with_all(server: fakeredis.FakeServer, own_model: bool) -> None:
    """Both of its workers forget; those of another model go on, unless all are cleared."""
    clock = Clock()
    first, second, other = (worker(server, clock=clock, model=name) for name in ("a", "a", "b"))
    first.put_many({key(1): encoded(1)})
    other.put_many({key(2): encoded(2)})
    settle(server, 2)
    assert second.get_many([key(1)])
    first.clear(own_model=own_model)
    clock.now += 2.0
    assert first.get_many([key(1)]) == second.get_many([key(1)]) == {}
    assert bool(other.get_many([key(2)])) == own_model
    first.put_many({key(3): encoded(3)})
    settle(server, 3)
    assert second.get_many([key(3)]), "the new epoch is shared"


@pytest.mark.parametrize("tokens", [None, 0, 77])
@pytest.mark.parametrize("seed", [1, 2])
def test_an_entry_survives_the_way_to_redis_bit_for_bit(tokens: int | None, seed: int) -> None:
    value = encoded(seed, tokens)
    again = unpack(pack(value), DIM)
    assert again is not None
    assert again.vector.tobytes() == value.vector.tobytes()
    assert (again.tokens, again.truncated) == (value.tokens, value.truncated)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x" * 37,
        pack(encoded(1))[:-1],
        pack(Encoded(np.zeros(DIM, np.float32))),
        pack(Encoded(np.full(DIM, np.nan, np.float32))),
        pack(Encoded(np.full(DIM, 2.0, np.float32))),
        pack(Encoded(np.full(DIM + 1, 1.0, np.float32))),
    ],
)
def test_what_is_no_unit_vector_of_ours_is_a_miss(server: fakeredis.FakeServer, data: bytes) -> None:
    assert unpack(data, DIM) is None
    fakeredis.FakeRedis(server=server).set(b"clipserve:vectors:1:0.0:" + key(1), data)
    assert worker(server).get_many([key(1)]) == {}


def test_what_one_worker_computed_another_finds(server: fakeredis.FakeServer) -> None:
    one, other = worker(server), worker(server)
    one.put_many({key(n): encoded(n) for n in range(3)})
    settle(server, 3)
    found = other.get_many([key(0), key(2), key(9)])
    assert set(found) == {key(0), key(2)}
    assert found[key(2)].vector.tobytes() == encoded(2).vector.tobytes()
    assert (other.stats.shared_hits, other.stats.misses, other.stats.entries) == (2, 3, 2)
    other.get_many([key(0)])
    assert (other.stats.hits, other.stats.shared_hits) == (1, 2), "the second time it is at hand"
    assert set(worker(server).get_many([key(0)])) == {key(0)}, "finding it leaves it there for the next"


def test_redis_forgets_after_its_time(server: fakeredis.FakeServer) -> None:
    worker(server).put_many({key(1): encoded(1)})
    settle(server, 1)
    assert 50_000 < fakeredis.FakeRedis(server=server).pttl(b"clipserve:vectors:1:0.0:" + key(1)) <= 60_000


def test_a_clear_reaches_every_worker_within_a_second(server: fakeredis.FakeServer) -> None:
    clock = Clock()
    one, other = worker(server, clock=clock), worker(server, clock=clock)
    for each in (one, other):
        each.put_many({key(1): encoded(1)})
    settle(server, 1)
    one.clear()
    assert one.get_many([key(1)]) == {}
    clock.now = 1.5
    assert other.get_many([key(1)]) == {}, "it holds the vector, but sees the new epoch"
    other.put_many({key(1): encoded(1)})
    settle(server, 2)
    assert set(one.get_many([key(1)])) == {key(1)}


def test_between_two_looks_hits_do_not_ask_redis(server: fakeredis.FakeServer) -> None:
    clock = Clock()
    cache = worker(server, clock=clock)
    cache.put_many({key(1): encoded(1)})
    settle(server, 1)
    server.connected = False
    clock.now = 0.9
    assert set(cache.get_many([key(1)])) == {key(1)}
    assert cache.stats.shared_errors == 0


def test_forgetting_one_forgets_it_in_redis_too(server: fakeredis.FakeServer) -> None:
    cache = worker(server)
    cache.put_many({key(n): encoded(n) for n in range(2)})
    settle(server, 2)
    assert cache.discard(key(0))
    assert set(worker(server).get_many([key(0), key(1)])) == {key(1)}


def test_forgetting_one_reaches_every_worker_within_a_second(server: fakeredis.FakeServer) -> None:
    clock = Clock()
    one, other = worker(server, clock=clock), worker(server, clock=clock)
    one.put_many({key(n): encoded(n) for n in range(2)})
    settle(server, 2)
    assert set(other.get_many([key(0), key(1)])) == {key(0), key(1)}
    one.discard(key(0))
    assert set(other.get_many([key(0)])) == {key(0)}, "it has not looked yet"
    clock.now = 1.5
    assert set(other.get_many([key(0), key(1)])) == {key(1)}
    other.put_many({key(0): encoded(0)})
    clock.now = 3.0
    assert set(other.get_many([key(0)])) == {key(0)}, "it was forgotten once, not for ever"


def test_a_worker_that_may_have_missed_something_forgets_everything(server: fakeredis.FakeServer) -> None:
    clock = Clock()
    one, other = worker(server, clock=clock), worker(server, clock=clock)
    other.put_many({key(1): encoded(1)})
    for n in range(1001):
        one.discard(key(1_000_000 + n))
    clock.now = 1.5
    assert other.get_many([key(1)]) == {}
    assert other.stats.entries == 0


# Down and slow


def test_a_redis_that_is_down_is_a_miss_and_comes_back(server: fakeredis.FakeServer) -> None:
    cache = worker(server)
    server.connected = False
    assert cache.get_many([key(1)]) == {}
    cache.put_many({key(1): encoded(1)})
    assert set(cache.get_many([key(1)])) == {key(1)}, "the worker's own level goes on"
    assert cache.stats.shared_errors >= 1
    server.connected = True

    def shared() -> bool:
        cache.put_many({key(2): encoded(2)})
        return bool(worker(server).get_many([key(2)]))

    until(shared)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[Any] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    held.append(listener.accept())

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for connection, _ in held:
            connection.close()


def test_a_silent_redis_costs_one_timeout_and_then_nothing(silent_port: int) -> None:
    settings = HandlerSettings(cache_redis_url=f"redis://127.0.0.1:{silent_port}", cache_redis_timeout_s=0.1)
    cache = from_settings(settings, EndpointConfig(), DIM)
    started = time.monotonic()
    assert cache.get_many([key(1)]) == {}
    assert time.monotonic() - started < 5.0
    started = time.monotonic()
    for n in range(200):
        assert cache.get_many([key(n)]) == {}
        cache.put_many({key(n): encoded(n)})
    assert time.monotonic() - started < 10.0, "200 timeouts would be 20 seconds"


def test_a_call_that_hangs_holds_nobody_and_no_second_one_is_begun() -> None:
    gate, begun = threading.Event(), []
    breaker = CircuitBreaker(0.05, pause_s=0.0)

    def hang() -> str:
        begun.append(1)
        gate.wait(10)
        return "late"

    assert [breaker.call(hang, "without") for _ in range(5)] == ["without"] * 5
    assert (len(begun), breaker.errors) == (1, 1)
    gate.set()
    until(lambda: breaker.call(lambda: "well", "without") == "well")


def test_the_pause_doubles_up_to_a_minute_and_ends_with_a_success() -> None:
    clock, pauses = Clock(), []

    def fail() -> bool:
        raise OSError("down")

    breaker = CircuitBreaker(5.0, pause_s=1.0, clock=clock)
    for _ in range(9):
        before = breaker.errors
        while breaker.errors == before:
            breaker.call(fail, False)
            clock.now += 0.5
        pauses.append(clock.now)
    waits = np.diff(pauses)
    assert waits[:5].tolist() == [1, 2, 4, 8, 16]
    assert waits.max() <= 60.5
    clock.now += 61
    assert breaker.call(lambda: True, False)


def test_a_peer_that_is_away_all_night_is_still_left_out() -> None:
    clock, tried = Clock(), list[float]()

    def fail() -> bool:
        tried.append(clock.now)
        raise OSError("down")

    breaker = CircuitBreaker(5.0, pause_s=1.0, clock=clock)
    for _ in range(1100):  # 2 to the 1024th is no float
        breaker.call(fail, False)
        breaker.call(fail, False)
        clock.now += 61
    assert len(tried) == 1100


# Settings


def test_the_settings_choose_the_levels() -> None:
    assert type(from_settings(HandlerSettings(), EndpointConfig(), DIM)) is EmbeddingCache
    url = HandlerSettings(cache_redis_url="redis://127.0.0.1:1")
    assert isinstance(from_settings(url, EndpointConfig(), DIM), TieredCache)
    off = from_settings(HandlerSettings(cache=False, cache_redis_url="redis://127.0.0.1:1"), EndpointConfig(), DIM)
    off.put_many({key(1): encoded(1)})
    assert off.get_many([key(1)]) == {}


@pytest.mark.parametrize(
    "url", ["nonsense", "http://:s3cret@localhost", "redis://:s3cret@localhost:many/0", "redis://[::1"]
)
def test_a_malformed_url_is_named_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="CLIPSERVE_HANDLER_CACHE_REDIS_URL is no Redis URL") as refused:
        from_settings(HandlerSettings(cache_redis_url=url), EndpointConfig(), DIM)
    assert "s3cret" not in str(refused.value)
    assert refused.value.__suppress_context__


# Clearing and forgetting: what is answered is what happened


def gone(server: fakeredis.FakeServer, n: int) -> bool:
    return fakeredis.FakeRedis(server=server).get(b"clipserve:vectors:1:0.0:" + key(n)) is None


def quiet(cache: TieredCache) -> None:
    """Wait until what was sent to Redis without waiting is done."""
    cache.shared._breaker.call(lambda: None, None, patient=True)


def test_clearing_and_forgetting_say_when_redis_did_not(server: fakeredis.FakeServer) -> None:
    cache = worker(server)
    cache.put_many({key(n): encoded(n) for n in range(3)})
    settle(server, 3)
    server.connected = False
    with pytest.raises(Unavailable, match="Redis did not confirm"):
        cache.discard_many([key(0)])
    assert cache.stats.entries == 2, "what can be done here is done"
    with pytest.raises(Unavailable, match="Redis did not confirm"):
        cache.clear()
    assert cache.stats.entries == 0
    server.connected = True
    assert cache.discard_many([key(0), key(9)]) == {key(0)}, "it tries during the breaker's pause"
    cache.clear()


def test_forgetting_waits_for_a_write_under_way(server: fakeredis.FakeServer) -> None:
    cache = worker(server)
    for n in range(20):
        cache.put_many({key(n): encoded(n)})
        cache.discard_many([key(n)])
        assert gone(server, n)


def test_what_was_computed_before_it_was_forgotten_is_not_written_after(server: fakeredis.FakeServer) -> None:
    clock = Clock()
    slow, other = worker(server, clock=clock), worker(server, clock=clock)
    assert slow.get_many([key(1), key(2)]) == {}  # and it begins to compute them
    other.discard_many([key(1)])
    slow.put_many({key(1): encoded(1), key(2): encoded(2)})
    settle(server, 1)
    assert gone(server, 1)
    clock.now = 1.5
    assert set(slow.get_many([key(1), key(2)])) == {key(2)}, "its own level loses it with the next look"


def test_what_is_forgotten_between_a_look_and_its_write_is_not_written(
    server: fakeredis.FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, other = worker(server), worker(server)
    multi = fakeredis.FakeRedis(server=server).pipeline().__class__.multi

    def forgotten_now(self: Any) -> None:
        monkeypatch.undo()
        other.discard_many([key(1)])
        multi(self)

    monkeypatch.setattr(fakeredis.FakeRedis(server=server).pipeline().__class__, "multi", forgotten_now)
    slow.put_many({key(1): encoded(1)})
    quiet(slow)
    assert gone(server, 1)
    assert slow.stats.shared_errors == 0


def test_a_vector_read_while_it_is_forgotten_is_not_kept(server: fakeredis.FakeServer) -> None:
    one, other = worker(server), worker(server)
    one.put_many({key(1): encoded(1)})
    settle(server, 1)
    ask = other.shared._ask

    def read_before_and_heard_after(keys: Any) -> Any:
        values, _ = ask(keys)
        one.discard_many([key(1)])
        return values, ask(keys)[1]

    other.shared._ask = read_before_and_heard_after  # type: ignore[method-assign]
    assert other.get_many([key(1)]) == {}
    assert other.stats.entries == 0


def test_what_was_computed_before_a_clear_is_found_by_nobody_after(server: fakeredis.FakeServer) -> None:
    slow, other = worker(server), worker(server)
    assert slow.get_many([key(1)]) == {}
    other.clear()
    slow.put_many({key(1): encoded(1)})
    settle(server, 1)
    assert worker(server).get_many([key(1)]) == {}
