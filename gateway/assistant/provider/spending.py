"""What was spent on answers, by key and day (UTC), on disk; and the caps on it.

Money is reserved by an estimate before a call and settled by what the provider counted after it. A call whose count
never came costs its estimate.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

from clip_core.errors import BudgetSpent

_SCHEMA = """
CREATE TABLE IF NOT EXISTS spent (
    day TEXT, key TEXT, usd REAL NOT NULL, tokens INTEGER NOT NULL, calls INTEGER NOT NULL, PRIMARY KEY (day, key)
)
"""
_ADD = """
INSERT INTO spent VALUES (?, ?, ?, ?, 1)
ON CONFLICT (day, key) DO UPDATE SET usd = usd + excluded.usd, tokens = tokens + excluded.tokens, calls = calls + 1
"""


@dataclass(frozen=True)
class SpendingCaps:
    """USD a day, of all callers and of each key; None is no cap, and 0 lets no paid call through."""

    all_usd: float | None = None
    key_usd: float | None = None

    def set(self) -> bool:
        return self.all_usd is not None or self.key_usd is not None


class Spending:
    """The file is opened with the first call. One process writes it."""

    def __init__(self, file: Path, caps: SpendingCaps, now: Callable[[], float] = time.time) -> None:
        self.caps = caps
        self._file, self._now = file, now
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._day = ""
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._reserved: defaultdict[str, float] = defaultdict(float)

    async def reserve(self, key: str, usd: float) -> None:
        """Raises BudgetSpent where that would be more than a cap."""
        reserving = asyncio.ensure_future(asyncio.to_thread(self._reserve, key, usd))
        try:
            await asyncio.shield(reserving)
        except asyncio.CancelledError:  # the caller left, and nobody will settle what the thread reserves
            reserving.add_done_callback(partial(self._free, key, usd))
            raise

    async def settle(self, key: str, reserved: float, usd: float, tokens: int) -> None:
        """What was reserved is free again, and `usd` is spent."""
        await asyncio.shield(asyncio.to_thread(self._settle, key, reserved, usd, tokens))

    async def of_today(self) -> dict[str, float]:
        """USD by key."""
        return await asyncio.to_thread(self._of_today)

    def close(self) -> None:
        with self._lock:
            if self._database is not None:
                self._database.close()
            self._database, self._day = None, ""

    def _of_today(self) -> dict[str, float]:
        with self._lock:
            self._turn_day()
            return dict(self._spent)

    def _reserve(self, key: str, usd: float) -> None:
        with self._lock:
            self._turn_day()
            own = self._spent[key] + self._reserved[key] + usd
            total = sum(self._spent.values()) + sum(self._reserved.values()) + usd
            for cap, would_be, whose in (
                (self.caps.key_usd, own, "this API key"),
                (self.caps.all_usd, total, "this gateway"),
            ):
                if cap is not None and (would_be > cap or cap == 0):
                    raise BudgetSpent(
                        f"{whose} may spend {cap:g} USD a day on answers, and this one may cost {usd:.4f}; searching "
                        "goes on as before",
                        retry_after=self._until_tomorrow(),
                    )
            self._reserved[key] += usd

    def _free(self, key: str, usd: float, reserving: asyncio.Future[None]) -> None:
        if not reserving.cancelled() and reserving.exception() is None:
            with self._lock:
                self._reserved[key] -= usd

    def _settle(self, key: str, reserved: float, usd: float, tokens: int) -> None:
        with self._lock:
            self._reserved[key] -= reserved
            self._turn_day()
            self._spent[key] += usd
            assert self._database is not None
            with self._database:
                self._database.execute(_ADD, (self._day, key, usd, tokens))

    def _turn_day(self) -> None:
        """Reads what this day has cost so far, in an earlier process perhaps."""
        day = self._today().strftime("%Y-%m-%d")
        if day == self._day:
            return
        if self._database is None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._file, check_same_thread=False)
            self._database.execute(_SCHEMA)
        rows = self._database.execute("SELECT key, usd FROM spent WHERE day = ?", (day,)).fetchall()
        self._spent = defaultdict(float, {str(key): float(usd) for key, usd in rows})
        self._day = day

    def _today(self) -> datetime:
        return datetime.fromtimestamp(self._now(), timezone.utc)

    def _until_tomorrow(self) -> float:
        now = self._today()
        midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return (midnight - now).total_seconds()
