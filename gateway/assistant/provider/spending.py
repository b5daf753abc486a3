"""What was spent on answers, by key and day (UTC), and the caps on it.

Money is reserved by an estimate before a call and settled by what the provider counted after it. A call whose count
never came costs its estimate. Gateways that share a database keep the caps together.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from clip_core.errors import BudgetSpent
from gateway.database.postgres import Postgres
from gateway.database.record import FAULTS, Record, Transaction
from gateway.database.tables import one_table

_TABLE = """
CREATE TABLE IF NOT EXISTS spent (
    day TEXT, key TEXT, usd DOUBLE PRECISION NOT NULL, tokens BIGINT NOT NULL, calls BIGINT NOT NULL,
    PRIMARY KEY (day, key)
)
"""
_ADD = """
INSERT INTO spent VALUES (?, ?, ?, ?, ?) ON CONFLICT (day, key) DO UPDATE SET
    usd = spent.usd + excluded.usd, tokens = spent.tokens + excluded.tokens, calls = spent.calls + excluded.calls
"""
_TURN = ""  # no key's id: the row that reservations lock, one after the other
_log = logging.getLogger("gateway.assistant")


@dataclass(frozen=True)
class SpendingCaps:
    """USD a day, of all callers and of each key; None is no cap, and 0 lets no paid call through."""

    all_usd: float | None = None
    key_usd: float | None = None

    def set(self) -> bool:
        return self.all_usd is not None or self.key_usd is not None


@dataclass(frozen=True)
class Reservation:
    """What a call may cost; it counts as spent on that day until it is settled."""

    day: str
    key: str
    usd: float


class Spending:
    """In the database that gateways share, else in a file, which appears with the first call.

    Every method may raise one of `record.FAULTS`.
    """

    def __init__(
        self, file: Path, caps: SpendingCaps, database: Postgres | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self.caps = caps
        self._record: Record = one_table(database, file, "spending", _TABLE)
        self._all = "this gateway" if database is None else "these gateways together"
        self._now = now
        self._freeing: set[asyncio.Task[None]] = set()

    async def reserve(self, key: str, usd: float) -> Reservation:
        """Raises BudgetSpent where that would be more than a cap. Without a cap nothing is reserved."""
        reserving = asyncio.ensure_future(asyncio.to_thread(self._reserve, key, usd))
        try:
            return await asyncio.shield(reserving)
        except asyncio.CancelledError:  # the caller left, and nobody will settle what the thread reserves
            freeing = asyncio.ensure_future(self._free(reserving))
            self._freeing.add(freeing)
            freeing.add_done_callback(self._freeing.discard)
            raise

    async def settle(self, reserved: Reservation, usd: float, tokens: int) -> None:
        """What was reserved is free again, and `usd` is spent."""
        await asyncio.shield(asyncio.to_thread(self._add, reserved, usd, tokens, 1))

    async def of_today(self) -> dict[str, float]:
        """USD by key, with what is reserved."""
        return await asyncio.to_thread(self._of_today)

    def close(self) -> None:
        self._record.close()

    def _of_today(self) -> dict[str, float]:
        rows = self._record.rows("SELECT key, usd FROM spent WHERE day = ? AND key <> ?", self._day(), _TURN)
        return {str(key): float(usd) for key, usd in rows}

    def _reserve(self, key: str, usd: float) -> Reservation:
        if not self.caps.set():
            return Reservation(self._day(), key, 0.0)
        made = Reservation(self._day(), key, usd)
        with self._record.transaction() as db:
            db.execute(_ADD, (made.day, _TURN, 0.0, 0, 0))  # another gateway's waits here until this one is written
            db.execute(_ADD, (made.day, key, usd, 0, 0))
            self._check(db, made)
        return made

    def _check(self, db: Transaction, made: Reservation) -> None:
        """Raises BudgetSpent, which takes the reservation back."""
        rows = db.execute("SELECT key, usd FROM spent WHERE day = ?", (made.day,)).fetchall()
        own = sum(usd for key, usd in rows if key == made.key)
        total = sum(usd for _, usd in rows)
        for cap, would_be, whose in ((self.caps.key_usd, own, "this API key"), (self.caps.all_usd, total, self._all)):
            if cap is not None and (would_be > cap or cap == 0):
                raise BudgetSpent(
                    f"{whose} may spend {cap:g} USD a day on answers, and this one may cost {made.usd:.4f}; searching "
                    "goes on as before",
                    retry_after=self._until_tomorrow(),
                )

    async def _free(self, reserving: asyncio.Future[Reservation]) -> None:
        with suppress(BudgetSpent, *FAULTS):  # nothing was reserved then
            made = await reserving
            try:
                await asyncio.to_thread(self._add, made, 0.0, 0, 0)
            except FAULTS as error:
                _log.warning("what a caller that left had reserved counts as spent: %s", error)

    def _add(self, reserved: Reservation, usd: float, tokens: int, calls: int) -> None:
        with self._record.transaction() as db:
            db.execute(_ADD, (reserved.day, reserved.key, usd - reserved.usd, tokens, calls))

    def _day(self) -> str:
        return self._today().strftime("%Y-%m-%d")

    def _today(self) -> datetime:
        return datetime.fromtimestamp(self._now(), timezone.utc)

    def _until_tomorrow(self) -> float:
        now = self._today()
        midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return (midnight - now).total_seconds()
