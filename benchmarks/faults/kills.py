"""kill -9 of each part under load: how long searches fail, and whether an acknowledged write is lost."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psutil

from benchmarks.attacks.base import numbered
from benchmarks.faults.neighbour import searches
from benchmarks.faults.parts import parts
from benchmarks.faults.progress import Steps
from benchmarks.stack.demo_stack import captions
from benchmarks.stack.ready_stack import ready_stack
from scripts.public_api import PublicApi
from scripts.stack.live_stack import LiveStack
from scripts.tune.load import in_background

PARTS = {"worker clip_text": "worker", "index": "index", "gateway": "gateway", "JVM": "JVM"}
COLLECTION = "killed"
PLANNED_S, BEFORE_S, AFTER_S, MOST_S, IN_A_ROW, FIND_S = 40.0, 2.0, 2.0, 45.0, 3, 20.0


def kills(directory: Path, figures: dict[str, float], steps: Steps) -> None:
    """Adds to `figures`. Each part is killed in a stack of its own, over the same data; another one reads it back."""
    acknowledged: set[str] = set()
    for part, short in PARTS.items():
        with (
            steps.step(f"kill -9 {short}", PLANNED_S),
            suppress(subprocess.TimeoutExpired),  # one that does not stop: the next ones go on
            ready_stack(directory) as stack,
        ):
            figures[f"kill_{short}_served_s"], written = _kill(stack, part)
            acknowledged |= written
    with steps.step("read back", PLANNED_S / 2), ready_stack(directory) as stack:
        kept = _kept(PublicApi(stack.gateway))
        figures["writes_acknowledged"] = float(len(acknowledged))
        figures["writes_lost"] = float(len(acknowledged - kept))


def _kill(stack: LiveStack, part: str) -> tuple[float, set[str]]:
    """→ seconds until searches are served again, and the ids whose writes were acknowledged."""
    api, texts = PublicApi(stack.gateway), [text for _, text in captions(stack)]
    api.call("PUT", f"/v1/collections/{COLLECTION}", {})
    dim = api.call("GET", f"/v1/collections/{COLLECTION}")["dim"]
    with in_background(_load, stack.gateway, searches(texts, 2000), dim, f"{PARTS[part]}-") as written:
        time.sleep(BEFORE_S)
        victim = _victim(stack, part)
        started = time.monotonic()
        victim.kill()
        with suppress(psutil.TimeoutExpired):  # nobody may have reaped it
            victim.wait(1)
        seconds = _served_again(stack, texts, started)
        time.sleep(AFTER_S)
        ids: set[str] = written()
    return seconds, ids


def _victim(stack: LiveStack, part: str) -> psutil.Process:
    """Raises RuntimeError when it is not to be found."""
    deadline = time.monotonic() + FIND_S
    while time.monotonic() < deadline:
        if part in (found := parts(stack)):
            return found[part]
    raise RuntimeError(f"{part} is not there to be killed:\n{stack.text()}")


def _served_again(stack: LiveStack, texts: Sequence[str], started: float) -> float:
    """Seconds until the last of three successes in a row; MOST_S when the stack has ended or nothing helps."""
    api, good = PublicApi(stack.gateway, timeout_s=2), 0
    while time.monotonic() - started < MOST_S and stack.process.poll() is None:
        try:
            api.call("POST", "/v1/search", searches(texts, 1)[0])
            good += 1
        except Exception:  # of whatever kind: not served
            good = 0
        if good == IN_A_ROW:
            return time.monotonic() - started
        time.sleep(0.05)
    return MOST_S


def _kept(api: PublicApi) -> set[str]:
    kept, after = set(), ""
    while True:
        page = api.call("GET", f"/v1/collections/{COLLECTION}/items?limit=1000&after={after}")
        kept |= {item["id"] for item in page["items"]}
        if page.get("next") is None:
            return kept
        after = page["next"]


async def _load(gateway: str, bodies: list[Any], dim: int, prefix: str, stop: asyncio.Event) -> set[str]:
    """Two who search and two who write one item at a time, until told to stop → what was acknowledged."""
    written: set[str] = set()
    items = [{**item, "id": prefix + item["id"]} for item in numbered(dim, 4000)]

    async def search(first: int) -> None:
        for body in bodies[first::2]:
            await _send(session, f"{gateway}/v1/search", body)
            if stop.is_set():
                return

    async def write(first: int) -> None:
        for item in items[first::2]:
            content = await _send(session, f"{gateway}/v1/collections/{COLLECTION}/items", {"items": [item]})
            if content and orjson.loads(content)["results"][0]["status"] == 200:
                written.add(item["id"])
            if stop.is_set():
                return

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        await asyncio.gather(search(0), search(1), write(0), write(1))
    return written


async def _send(session: aiohttp.ClientSession, url: str, body: Any) -> bytes:
    """The content of an answer of 200, or nothing; about thirty a second."""
    await asyncio.sleep(0.03)
    with suppress(aiohttp.ClientError, asyncio.TimeoutError):
        async with session.post(url, data=orjson.dumps(body), headers={"Content-Type": "application/json"}) as answer:
            content = await answer.read()
            return content if answer.status == 200 else b""
    return b""
