"""An attack in a process of its own, at low priority: on a real network the attackers have processors of their own."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import aiohttp

from benchmarks.attacks.base import REQUEST_S, Attack, Site, Target

PREPARE_S, CLEAN_S, ENOUGH_S, NICE = 60.0, 20.0, 15.0, 10


@dataclass(frozen=True)
class Answers:
    """What the attacker saw: answers by label and status, the slowest ms by label, and why it could not attack.

    `prepared`: answers before the attack.
    """

    tally: dict[str, int] = field(default_factory=dict)
    slowest_ms: dict[str, float] = field(default_factory=dict)
    fault: str = ""
    prepared: dict[str, int] = field(default_factory=dict)


class Attacker:
    """Prepared when the constructor returns. `finish` waits until the attack is over and cleaned up, or ends it."""

    def __init__(self, attack: type[Attack], target: Target, seconds: float) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, other = spawn.Pipe()
        self._process = spawn.Process(target=_main, args=(attack, target, seconds, other), daemon=True)
        self._process.start()
        other.close()
        self.prepared = self._received(PREPARE_S + ENOUGH_S)

    def start(self) -> None:
        """Attack now, until `finish` or for `seconds` at most."""
        self._say()

    def finish(self) -> Answers:
        """End the attack and clean up, in bounded time."""
        self._say()
        answers = self._received(CLEAN_S + 2 * ENOUGH_S)
        self._process.join(2)
        self._process.kill()
        self._process.join()
        return answers if isinstance(answers, Answers) else Answers(fault="the attacker did not end in time")

    def _say(self) -> None:
        with suppress(OSError):
            self._pipe.send(None)

    def _received(self, seconds: float) -> object:
        with suppress(EOFError, OSError):
            if self._pipe.poll(seconds):
                return self._pipe.recv()
        return None


def _main(attack: type[Attack], target: Target, seconds: float, pipe: Connection) -> None:
    import uvloop

    os.nice(NICE)
    pipe.send(uvloop.run(_attack(attack, target, seconds, pipe)))


async def _attack(kind: type[Attack], target: Target, seconds: float, pipe: Connection) -> Answers:
    connector = aiohttp.TCPConnector(limit=0, local_addr=(kind.address, 0))
    timeout = aiohttp.ClientTimeout(total=REQUEST_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        site = Site(target, session)
        attack, fault = kind(site), ""
        try:
            await asyncio.wait_for(attack.prepare(), PREPARE_S)
        except Exception as error:  # whatever the stack answers; the neighbour is measured all the same
            fault = f"not prepared: {type(error).__name__} {error}"
        prepared = dict(site.tally)
        pipe.send(prepared)
        await asyncio.to_thread(pipe.recv)
        if not fault:
            fault = await _run(attack, site, seconds, pipe)
        answers = Answers(dict(site.tally), dict(site.slowest_ms), fault, prepared)
        with suppress(Exception):  # a stack that is down is cleaned by its end
            await asyncio.wait_for(_clean(attack, site), CLEAN_S)
        return answers


async def _run(attack: Attack, site: Site, seconds: float, pipe: Connection) -> str:
    """→ why it ended before its time, if it did."""
    site.tally.clear()
    site.slowest_ms.clear()
    told, running = asyncio.Event(), asyncio.ensure_future(attack.run())
    asyncio.get_running_loop().add_reader(pipe.fileno(), told.set)
    stop = asyncio.ensure_future(told.wait())
    await asyncio.wait({running, stop}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    ended = running.done()
    for task in (running, stop):
        task.cancel()
    await asyncio.wait({running}, timeout=ENOUGH_S)
    if not ended:
        return ""
    error = None if running.cancelled() else running.exception()
    return "it ended by itself" if error is None else f"{type(error).__name__} {error}"


async def _clean(attack: Attack, site: Site) -> None:
    await attack.clean()
    await site.drop()
