"""Mistakes of callers, and odd answers: each is told, and none passes silently."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from clip_core.wire import COLLECTION_NAME
from clipserve_client import AsyncClient, Client, NewItem
from clipserve_client.errors import BadKey, BadName, ConnectionFailed
from clipserve_client.ingest import engine
from clipserve_client.ingest.engine import run
from clipserve_client.inputs import names
from tests.client.answering import answering
from tests.client.conftest import QUICK
from tests.client.test_ingest import Gateway, items


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.embed("a cat"),
        lambda client: client.rank("a cat", ["a dog"]),
        lambda client: client.rank(["a cat"], "a dog"),
        lambda client: client.classify(b"x", "cat"),
        lambda client: client.classify(b"x", ["cat"], templates="a {}"),
        lambda client: client.delete_items("demo", "abc"),
        lambda client: client.facets("demo", "kind"),
        lambda client: client.search("demo", "cat", include="vector"),
    ],
)
def test_a_text_in_place_of_a_list_is_not_taken_letter_by_letter(client: Client, call: Any) -> None:
    with pytest.raises(TypeError, match=r"a list is needed.*\['"):
        call(client)


@pytest.mark.parametrize("name", ["x/../demo", "", "..", "a b", "demo?x", "n" * 65])
@pytest.mark.parametrize(
    "call",
    [
        lambda client, name: client.collection(name),
        lambda client, name: client.create_collection(name),
        lambda client, name: client.drop_collection(name),
        lambda client, name: client.item(name, "a"),
        lambda client, name: client.delete_items(name, ["a"]),
        lambda client, name: next(iter(client.duplicates(name))),
        lambda client, name: client.set_alias(name, "demo"),
        lambda client, name: client.drop_alias(name),
    ],
)
def test_what_is_no_name_leads_to_no_other_call(client: Client, call: Any, name: str) -> None:
    with pytest.raises(BadName, match="1 to 64 of A-Z a-z 0-9 _ -"):
        call(client, name)


def test_names_are_those_that_services_take() -> None:
    assert names._NAME.pattern == COLLECTION_NAME


@pytest.mark.parametrize("key", ["cs_abc\n", "cs_\u00e4", "cs abc"])
def test_what_no_header_can_carry_is_no_key_and_is_not_shown(key: str) -> None:
    with pytest.raises(BadKey) as caught:
        Client("http://127.0.0.1:1", api_key=key)
    assert key.strip() not in str(caught.value)


def test_a_damaged_body_is_a_failed_connection() -> None:
    with (
        answering((200, "no gzip", {"Content-Encoding": "gzip"})) as server,
        Client(server.url, retries=QUICK) as client,
        pytest.raises(ConnectionFailed),
    ):
        client.collections()


@pytest.mark.parametrize("nested", [False, True])
def test_an_item_that_json_can_not_carry_spoils_no_other(client: Client, nested: bool) -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    bad = NewItem("bad", text="x", metadata={"x": deep}) if nested else NewItem("bad", vector=[10**400])
    tally = client.ingest("demo", [NewItem("a", text="cat"), bad, NewItem("b", text="dog")])
    assert (tally.added, [(each.id, each.code) for each in tally.failed]) == (2, [("bad", "unreadable")])


async def test_an_error_in_the_callback_of_an_async_ingest_is_raised(stack: Any) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("broken")

    async with AsyncClient(stack.url, retries=QUICK) as client:
        with pytest.raises(RuntimeError, match="broken"):
            await client.ingest("demo", items(3), on_result=broken)


def test_an_interrupted_ingest_keeps_no_program_from_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_GRACE_S", 0.01)
    asked, answered = threading.Event(), threading.Event()

    def hang(_: list[str]) -> dict[str, Any]:
        asked.set()
        answered.wait()
        return {}

    def interrupted() -> Any:
        yield from items(20)
        asked.wait()
        raise KeyboardInterrupt

    before = set(threading.enumerate())
    try:
        with pytest.raises(KeyboardInterrupt):
            run(Gateway(hang), "demo", interrupted())
        left = set(threading.enumerate()) - before
        assert left
        assert all(thread.daemon for thread in left)
    finally:
        answered.set()


def test_nothing_under_way_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        run(Gateway(), "demo", items(1), in_flight=0)
