"""Key files that are gone, damaged, emptied or unreadable: never an open door, never a 500."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from clip_core.errors import Unauthorized
from gateway.app import build
from gateway.keys import key_lookup
from gateway.keys.key_lookup import KeyLookup
from gateway.keys.key_store import KeyStore
from gateway.settings import GatewaySettings
from tests.clock import Clock


class TickingClock(Clock):
    """A second later at every look."""

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys.db")


def run(path: Path, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(statement, values)


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def to_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


ACCIDENTS: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "truncated": lambda path: path.write_bytes(b""),
    "cut short": lambda path: os.truncate(path, 1000),
    "overwritten": lambda path: path.write_bytes(b"x" * 5000),
    "a folder": to_folder,
    "a loop of links": to_loop,
    "its parent is a file": lambda path: (path.unlink(), path.with_name("keys.db.required").write_text("x")),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a device": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
    "rows gone": lambda path: run(path, "DELETE FROM keys"),
    "table gone": lambda path: run(path, "DROP TABLE keys"),
    "another table": lambda path: (run(path, "DROP TABLE keys"), run(path, "CREATE TABLE keys (id)")),
}


@pytest.mark.parametrize("accident", ACCIDENTS)
async def test_an_accident_opens_no_door(store, accident, caplog, monkeypatch):
    """To a running gateway, and to one that is started after it."""
    monkeypatch.setattr(key_lookup, "_PATIENCE_S", 30)
    store.create("shop", ("admin",))
    running = KeyLookup((), store, clock=TickingClock())
    assert running
    ACCIDENTS[accident](store.path)
    for ring in (running, KeyLookup((), store, clock=TickingClock())):
        for _ in range(3):
            await ring.refresh()
            assert ring
            with pytest.raises(Unauthorized):
                ring.identify("cs_1_x")
    assert [record.levelname for record in caplog.records if record.name == "gateway.keys.api_key"] == [
        "ERROR",
        "ERROR",
    ]


@pytest.mark.parametrize("accident", ["removed", "table gone"])
def test_nobody_gets_in_over_http(stack_of, store, accident):
    secret, _ = store.create("shop", ("admin",))
    ACCIDENTS[accident](store.path)
    stack = stack_of(keys_file=store.path)
    assert stack.client.get("/v1/collections").status_code == 401
    assert stack.client.get("/v1/collections", headers={"X-API-Key": secret}).status_code == 401
    assert stack.client.get("/healthz").status_code == 200


def test_a_file_of_an_earlier_version_is_remembered(store):
    """One that was made before there was a mark beside it: the gateway that reads it leaves one."""
    store.create("shop", ("admin",))
    marker = store.path.with_name("keys.db.required")
    marker.unlink()
    assert KeyLookup((), store)
    store.path.unlink()
    assert KeyLookup((), store)
    marker.unlink()
    assert not KeyLookup((), store)


def test_a_folder_that_may_only_be_read(store, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    secret, key = store.create("shop", ("admin",))
    monkeypatch.setattr(KeyStore, "require", refuse)
    assert KeyLookup((), store).identify(secret) == key


class Stuck(KeyStore):
    """A file on a folder that does not answer, once `stuck` is set."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.looks = 0
        self.goes_on = threading.Event()
        self.goes_on.set()

    def version(self) -> tuple[int, int, int] | None:
        self.looks += 1
        self.goes_on.wait()
        return super().version()


async def test_a_file_that_blocks_holds_nobody_up(tmp_path, caplog, monkeypatch):
    """The keys read before stay in force, and what was changed counts once it can be read."""
    monkeypatch.setattr(key_lookup, "_PATIENCE_S", 0)
    store, clock = Stuck(tmp_path / "keys.db"), TickingClock()
    secret, key = store.create("shop", ("admin",))
    ring = KeyLookup((), store, clock=clock)
    assert ring.identify(secret) == key
    store.goes_on.clear()
    for _ in range(30):
        await ring.refresh()
        assert ring.identify(secret) == key
    assert [record.cause for record in caplog.records] == ["reading it does not end"]
    store.revoke(key.id)
    store.goes_on.set()
    while not refused(ring, secret):
        await ring.refresh()
        await asyncio.sleep(0)


async def test_a_slow_file_holds_up_its_callers_and_not_the_loop(tmp_path, monkeypatch):
    """All of them wait for the same look, and are answered by what it saw."""
    monkeypatch.setattr(key_lookup, "_PATIENCE_S", 30)
    store, clock = Stuck(tmp_path / "keys.db"), Clock()
    secret, key = store.create("shop", ("admin",))
    ring = KeyLookup((), store, clock=clock)
    assert ring.identify(secret) == key
    store.revoke(key.id)
    store.goes_on.clear()
    clock.now += 1
    waiting = [asyncio.create_task(ring.refresh()) for _ in range(20)]
    while store.looks < 2:
        await asyncio.sleep(0)
    assert not any(each.done() for each in waiting)
    store.goes_on.set()
    await asyncio.gather(*waiting)
    assert refused(ring, secret)
    assert store.looks == 2


def test_a_file_that_blocks_from_the_start_admits_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(key_lookup, "_FIRST_S", 0.05)
    store = Stuck(tmp_path / "keys.db")
    store.goes_on.clear()
    ring = KeyLookup(("given",), store)
    assert ring
    assert ring.identify("given")
    assert refused(ring, "another")
    store.goes_on.set()


def refused(ring: KeyLookup, secret: str) -> bool:
    try:
        ring.identify(secret)
    except Unauthorized:
        return True
    return False


def test_an_empty_list_of_keys_is_a_mistake():
    for value in (",", " ", " , ,"):
        with pytest.raises(ValidationError, match="holds no key"):
            GatewaySettings(api_keys=value)
    assert GatewaySettings(api_keys="").keys == ()


DAMAGE = [
    ("digest", None),
    ("digest", "text"),
    ("digest", b"short"),
    ("scopes", "not json"),
    ("scopes", '"admin"'),
    ("scopes", "null"),
    ("scopes", "[1]"),
    ("scopes", "[" * 100_000),
    ("collections", "not json"),
    ("collections", '"demo"'),
    ("collections", "null"),
    ("collections", "[null]"),
    ("limits", "not json"),
    ("limits", "[]"),
    ("limits", "null"),
    ("limits", '{"requests_per_minute": "many"}'),
    ("limits", '{"requests_per_minute": -1}'),
    ("limits", '{"concurrency": [1]}'),
    ("expires", "tomorrow"),
    ("revoked", b"\xff"),
    ("created", "once"),
    ("created", float("inf")),
    ("expires", float("inf")),
    ("expires", 1e18),
    ("revoked", -1.0),
]


@pytest.mark.parametrize(("column", "value"), DAMAGE, ids=lambda value: str(value)[:20])
def test_a_damaged_row_is_left_out(store, column, value, caplog):
    good, _ = store.create("good", ("search",))
    bad, key = store.create("bad", ("search",), collections=("demo",))
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.executescript("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '') WHERE name = 'keys'")
    run(store.path, f"UPDATE keys SET {column} = ? WHERE id = ?", value, key.id)
    ring = KeyLookup((), store)
    assert ring.identify(good).name == "good"
    with pytest.raises(Unauthorized):
        ring.identify(bad)
    assert [record.key for record in caplog.records if "damaged row" in record.message] == [key.id]


@pytest.fixture(scope="module")
def two_keys(tmp_path_factory) -> tuple[KeyStore, Path, str, str]:
    """Their file, a copy of it, and the secrets of `good` and `bad`."""
    store = KeyStore(tmp_path_factory.mktemp("keys") / "keys.db")
    secrets = [store.create(name, ("search",), collections=("demo",))[0] for name in ("good", "bad")]
    copy = store.path.with_suffix(".copy")
    copy.write_bytes(store.path.read_bytes())
    return store, copy, *secrets


@settings(max_examples=60, deadline=None)
@given(
    column=st.sampled_from(["name", "digest", "scopes", "collections", "created", "expires", "revoked", "limits"]),
    value=st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.binary(),
)
def test_whatever_a_row_holds(two_keys, column, value):
    """The other key works, and the damaged one is refused or as it was; nothing else is raised."""
    store, copy, good, bad = two_keys
    store.path.write_bytes(copy.read_bytes())
    try:
        run(store.path, f"UPDATE keys SET {column} = ? WHERE name = 'bad'", value)
    except (sqlite3.IntegrityError, UnicodeEncodeError):
        return
    ring = KeyLookup((), store)
    assert ring.identify(good).name == "good"
    try:
        found = ring.identify(bad)
    except Unauthorized:
        return
    assert found.scopes == ("search",)
    is_null = value is None or value != value  # SQLite stores NaN as NULL
    assert found.collections == ("demo",) or (column == "collections" and is_null)


def test_the_gateway_starts_with_a_damaged_file(store):
    store.path.write_bytes(b"x" * 100)
    assert build(GatewaySettings(keys_file=store.path)).openapi()["security"]
