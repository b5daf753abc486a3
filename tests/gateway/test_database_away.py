"""A PostgreSQL that is away: the first call waits for it, the next ones hardly do."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clip_core.errors import DatabaseUnavailable
from gateway.assistant.describing.kept_captions import KeptCaptions
from gateway.assistant.provider.spending import Spending, SpendingCaps
from gateway.away import AwayMemory
from gateway.database.postgres import Postgres

PATIENCE_S = 0.8


@pytest.fixture
def database() -> Iterator[Postgres]:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    database = Postgres(f"postgresql://clipserve@127.0.0.1:{port}/none", patience_s=PATIENCE_S)
    yield database
    database.close()


def test_what_is_away_is_so_for_a_while() -> None:
    now = [0.0]
    away = AwayMemory(5.0, lambda: now[0])
    assert not away
    away.note()
    now[0] = 4.9
    assert away
    now[0] = 5.0
    assert not away
    away.note()
    away.forget()
    assert not away


async def test_a_caption_that_asks_three_times_waits_once(database: Postgres, tmp_path: Path) -> None:
    kept, spending = (
        KeptCaptions(tmp_path / "captions.db", database),
        Spending(tmp_path / "a.db", SpendingCaps(), database),
    )
    started = time.monotonic()
    assert await kept.get("digest") is None
    waited = time.monotonic() - started
    reserved = await spending.reserve("key", 0.1)
    with pytest.raises(DatabaseUnavailable):
        await spending.settle(reserved, 0.1, 100)
    await kept.put("digest", "a red circle", "model")
    assert waited > PATIENCE_S * 0.9
    assert time.monotonic() - started < waited + PATIENCE_S / 2 + 0.2
    kept.close()
