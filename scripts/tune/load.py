"""HTTP load from a process of its own: one client in turn, or many at once. Prints nothing; returns milliseconds."""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import aiohttp
import orjson

LOST_MS = 10_000.0  # a calm client waits no longer
_Timed = tuple[float, int]  # ms and status


@dataclass(frozen=True)
class Load:
    """`latencies` in ms of the answers with status 200; `errors` counts all others; `seconds` is wall time."""

    latencies: list[float]
    errors: int
    seconds: float
    bodies: list[Any]

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    @property
    def p99(self) -> float:
        """Infinity for fewer than two answers."""
        return statistics.quantiles(self.latencies, n=100)[98] if len(self.latencies) > 1 else float("inf")


def alternate(urls_and_bodies: list[tuple[str, list[Any]]], keep: bool = True) -> list[Load]:
    """One client sends the i-th body of each target in turn, so that noise falls on all alike."""
    loads: list[Load] = in_process(_alternate, urls_and_bodies, keep)
    return loads


def together(url: str, bodies: list[Any], clients: int, seconds: float) -> Load:
    """`clients` at once, each with its next request as soon as it has its answer."""
    loads: list[Load] = in_process(_together, url, bodies, clients, seconds)
    return loads[0]


def at_rate(url: str, bodies: list[Any], per_s: float, seconds: float) -> Load:
    """An open loop: requests leave at `per_s` whether or not earlier ones were answered. Ends with the last answer."""
    loads: list[Load] = in_process(_at_rate, url, bodies, per_s, seconds)
    return loads[0]


def each_once(url: str, bodies: list[Any], clients: int) -> Load:
    """Every body once, by `clients` at once."""
    loads: list[Load] = in_process(_each_once, url, bodies, clients)
    return loads[0]


def calm(url: str, bodies: list[Any], per_s: float, seconds: float) -> Load:
    """One client, one request at a time, at most `per_s`: over a kept connection and over one of its own in turn."""
    loads: list[Load] = in_process(_calm, url, bodies, per_s, seconds)
    return loads[0]


def in_process(function: Any, *arguments: Any) -> Any:
    """What the coroutine function `function` returns, from a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_run, (function, arguments))


@contextmanager
def in_background(function: Any, *arguments: Any) -> Iterator[Callable[[], Any]]:
    """The coroutine function `function(*arguments, stop)` in a process of its own, meanwhile.

    What is yielded sets the event `stop` and gives what `function` returns.
    """
    spawn = multiprocessing.get_context("spawn")
    own, other = spawn.Pipe()
    process = spawn.Process(target=_stoppable, args=(function, arguments, other), daemon=True)
    process.start()
    other.close()

    def stopped() -> Any:
        with suppress(OSError):  # it may have ended by itself
            own.send(None)
        return own.recv()

    try:
        yield stopped
    finally:
        process.kill()
        process.join()


def _stoppable(function: Any, arguments: tuple[Any, ...], pipe: Connection) -> None:
    import uvloop

    async def run() -> Any:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe.fileno(), stop.set)
        return await function(*arguments, stop)

    pipe.send(uvloop.run(run()))


def _run(function: Any, arguments: tuple[Any, ...]) -> Any:
    import uvloop

    return uvloop.run(function(*arguments))


async def _alternate(targets: list[tuple[str, list[Any]]], keep: bool) -> list[Load]:
    latencies: list[list[float]] = [[] for _ in targets]
    kept: list[list[Any]] = [[] for _ in targets]
    errors = [0] * len(targets)
    started = time.perf_counter()
    async with aiohttp.ClientSession() as session:
        for row in zip(*(bodies for _, bodies in targets), strict=True):
            for i, ((url, _), body) in enumerate(zip(targets, row, strict=True)):
                ms, status, answer = await _post(session, url, orjson.dumps(body))
                errors[i] += status != 200
                if status == 200:
                    latencies[i].append(ms)
                if keep:
                    kept[i].append(orjson.loads(answer))
    seconds = time.perf_counter() - started
    return [Load(ms, bad, seconds, body) for ms, bad, body in zip(latencies, errors, kept, strict=True)]


async def _together(url: str, bodies: list[Any], clients: int, seconds: float) -> list[Load]:
    packed, answers = [orjson.dumps(body) for body in bodies], list[_Timed]()
    deadline = time.perf_counter() + seconds

    async def client(first: int, session: aiohttp.ClientSession) -> None:
        number = first
        while time.perf_counter() < deadline:
            answers.append((await _post(session, url, packed[number % len(packed)]))[:2])
            number += clients

    started = time.perf_counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(client(i, session) for i in range(clients)))
    return [_load(answers, time.perf_counter() - started)]


async def _at_rate(url: str, bodies: list[Any], per_s: float, seconds: float) -> list[Load]:
    packed = [orjson.dumps(body) for body in bodies]
    started = time.perf_counter()
    tasks = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        for number in range(max(1, int(per_s * seconds))):
            await asyncio.sleep(started + number / per_s - time.perf_counter())
            tasks.append(asyncio.create_task(_post(session, url, packed[number % len(packed)])))
        answers = [(ms, status) for ms, status, _ in await asyncio.gather(*tasks)]
    return [_load(answers, max(seconds, time.perf_counter() - started))]


async def _each_once(url: str, bodies: list[Any], clients: int) -> list[Load]:
    packed, answers = iter([orjson.dumps(body) for body in bodies]), list[_Timed]()

    async def client(session: aiohttp.ClientSession) -> None:
        for body in packed:
            answers.append((await _post(session, url, body))[:2])

    started = time.perf_counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))
    return [_load(answers, time.perf_counter() - started)]


async def _calm(url: str, bodies: list[Any], per_s: float, seconds: float) -> list[Load]:
    packed, answers = [orjson.dumps(body) for body in bodies], list[_Timed]()
    started = time.perf_counter()
    limit = aiohttp.ClientTimeout(total=LOST_MS / 1e3)
    new = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(timeout=limit) as kept, aiohttp.ClientSession(connector=new, timeout=limit) as own:
        while time.perf_counter() < started + seconds:
            begun, number = time.perf_counter(), len(answers)
            answers.append((await _post((kept, own)[number % 2], url, packed[number % len(packed)]))[:2])
            await asyncio.sleep(begun + 1 / per_s - time.perf_counter())
    return [_load(answers, time.perf_counter() - started)]


def _load(answers: list[_Timed], seconds: float) -> Load:
    latencies = [ms for ms, status in answers if status == 200]
    return Load(latencies, len(answers) - len(latencies), seconds, [])


async def _post(session: aiohttp.ClientSession, url: str, body: bytes) -> tuple[float, int, bytes]:
    started = time.perf_counter()
    try:
        async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
            data = await answer.read()
            return (time.perf_counter() - started) * 1e3, answer.status, data
    except (aiohttp.ClientError, asyncio.TimeoutError) as error:
        return 0.0, 599, orjson.dumps({"error": {"message": str(error)}})
