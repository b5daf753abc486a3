"""Callers who search and embed without a pause, try nothing twice, and keep every answer's status."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import aiohttp

from benchmarks.ship.pods import KEY

_WORDS = ("a red circle", "two small blue stars", "a large purple striped heart", "a green square")


@dataclass
class RolloutAnswers:
    """Of all callers; a status of 0 is a connection that broke."""

    statuses: Counter[int] = field(default_factory=Counter)
    fingerprints: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    @property
    def sent(self) -> int:
        return sum(dict(self.statuses).values())  # of a copy: callers go on counting

    @property
    def failed(self) -> int:
        return self.sent - self.statuses[200]

    def add_fault(self, text: str) -> None:
        if len(self.faults) < 20:
            self.faults.append(text[:300])


class CallerThread(threading.Thread):
    """An event loop with all callers, until `stop`."""

    def __init__(self, url: str, collection: str, callers: int) -> None:
        super().__init__(name="callers")
        self.answers = RolloutAnswers()
        self._url, self._collection, self._callers = url, collection, callers
        self._ended = threading.Event()

    def run(self) -> None:
        asyncio.run(self._call())

    def check(self) -> None:
        """Raises RuntimeError when the callers have ended by themselves."""
        if not self.is_alive():
            raise RuntimeError(f"the callers ended: {self.answers.faults}")

    def stop(self) -> None:
        self._ended.set()
        self.join()

    async def _call(self) -> None:
        headers = {"Authorization": f"Bearer {KEY}"}
        connector = aiohttp.TCPConnector(limit=self._callers)
        async with aiohttp.ClientSession(self._url, headers=headers, connector=connector) as session:
            await asyncio.gather(*(self._caller(session, number) for number in range(self._callers)))

    async def _caller(self, session: aiohttp.ClientSession, number: int) -> None:
        turn = number
        while not self._ended.is_set():
            text = f"{_WORDS[turn % len(_WORDS)]} {turn}"
            turn += self._callers
            body: dict[str, object] = {"collection": self._collection, "text": text, "k": 3}
            path = "/v1/search"
            if turn % 3 == 0:
                path, body = "/v1/embeddings", {"model": "demo", "input": text}
            try:
                async with session.post(path, json=body) as answer:
                    await self._keep(answer)
            except (aiohttp.ClientError, asyncio.TimeoutError) as error:
                self.answers.statuses[0] += 1
                self.answers.add_fault(repr(error))

    async def _keep(self, answer: aiohttp.ClientResponse) -> None:
        content = await answer.json()
        self.answers.statuses[answer.status] += 1
        if answer.status != 200:
            self.answers.add_fault(str(content))
        elif "fingerprint" in content:
            self.answers.fingerprints.add(content["fingerprint"])


@contextlib.contextmanager
def load(url: str, collection: str, callers: int) -> Iterator[CallerThread]:
    """While this lasts, at `callers` requests at a time."""
    thread = CallerThread(url, collection, callers)
    thread.start()
    try:
        yield thread
    finally:
        thread.stop()
