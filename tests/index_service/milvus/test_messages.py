"""Messages to Milvus stay as small as it takes them, whatever items hold, and what is remembered of them is bounded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import grpc
import orjson
import pytest

from clip_core.errors import ClipServeError, StorageFull, TooLarge, Unavailable
from index_service.metadata.filters import canonical
from index_service.milvus import expressions, terms
from index_service.milvus.reading import MilvusReader, Moment
from index_service.milvus.rows import in_messages, literal
from index_service.milvus.rpc import MilvusRefusal, MilvusRpc, NotLoaded, messages
from index_service.record.records import StoredItem

NOW = Moment("strong", 0)


def test_items_go_into_messages_by_their_bytes() -> None:
    small, large = (StoredItem("i", bytes(4), bytes(size)) for size in (2, 65_000))
    assert list(in_messages([])) == []
    assert list(in_messages([small] * 12_000)) == [slice(0, 5000), slice(5000, 10_000), slice(10_000, 12_000)]
    parts = list(in_messages([large] * 300))
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    assert (parts[0].start, parts[-1].stop) == (0, 300)
    assert all(part.stop - part.start <= 128 for part in parts)


def test_any_text_is_a_literal() -> None:
    assert literal('a\n"\\\x7f') == '"a\\u000a\\"\\\\\\u007f"'


def test_long_values_are_not_remembered() -> None:
    text = orjson.dumps({"caption": "x" * 1000, "y" * 1000: 1})
    terms.terms_of(text)
    before = terms._kept_hash.cache_info().currsize, terms._kept_key.cache_info().currsize
    for n in range(50):
        terms.terms_of(orjson.dumps({"caption": f"{n}{'x' * 1000}", f"{n}{'y' * 1000}": 1}))
    assert (terms._kept_hash.cache_info().currsize, terms._kept_key.cache_info().currsize) == before


def test_expressions_of_large_filters_are_forgotten() -> None:
    for n in range(60):
        expressions.expression_of(canonical({"x": {"$in": list(range(n, n + 5000))}}))
    assert expressions._made.bytes <= expressions._KEPT_BYTES


class Rows:
    """Stands where `MilvusRpc` stands: `count` items, of which it gives so many at most in one answer."""

    def __init__(self, count: int, most: int, metadata: bytes = b"{}") -> None:
        self.ids, self.most, self.metadata = [f"i{n:03}" for n in range(count)], most, metadata
        self.asked: list[int] = []

    def call(self, _: str, request: Any) -> Any:
        pairs = {pair.key: pair.value for pair in request.query_params}
        found = [each for each in self.ids if f'id > "{each}"' not in request.expr and self._passes(each, request.expr)]
        found = found[: int(pairs.get("limit", len(found)))]
        self.asked.append(len(found))
        if len(found) > self.most:
            raise TooLarge("so much")
        schema = messages("schema")
        ids = schema.ScalarField(string_data=schema.StringArray(data=found))
        texts = schema.ScalarField(json_data=schema.JSONArray(data=[self.metadata] * len(found)))
        columns = [
            schema.FieldData(field_name="id", scalars=ids),
            schema.FieldData(field_name="metadata", scalars=texts),
        ]
        return SimpleNamespace(fields_data=columns if found else [])

    @staticmethod
    def _passes(each: str, expression: str) -> bool:
        if expression.startswith("id in"):
            return f'"{each}"' in expression
        return each > expression.removeprefix('id > "').rstrip('"')


def reader(rows: Rows) -> MilvusReader:
    return MilvusReader(rows, "c", 4)  # type: ignore[arg-type]


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_pages_shrink_until_milvus_gives_them(most: int) -> None:
    rows = Rows(100, most)
    found = [id_ for page in reader(rows).pages("", ["id", "metadata"], NOW, most=64) for id_ in page.texts("id")]
    assert found == rows.ids
    rows = Rows(100, most)
    found = [id_ for page in reader(rows).by_ids(rows.ids, ["id", "metadata"], NOW) for id_ in page.texts("id")]
    assert found == rows.ids
    assert sum(asked > most for asked in rows.asked) <= 5


def test_a_short_page_is_not_the_end() -> None:
    """Milvus counts what was deleted just now, and leaves it out."""

    class Replacing(Rows):
        def call(self, method: str, request: Any) -> Any:
            answer = super().call(method, request)
            for column in answer.fields_data:
                held = column.scalars.string_data if column.field_name == "id" else column.scalars.json_data
                del held.data[5:6]
            return answer

    found = [
        id_
        for page in reader(Replacing(100, 1000)).pages("", ["id", "metadata"], NOW, most=64)
        for id_ in page.texts("id")
    ]
    assert len(found) == 98
    assert found[-1] == "i099"


def test_an_item_that_is_too_large_alone_is_told() -> None:
    with pytest.raises(TooLarge):
        list(reader(Rows(3, 0)).pages("", ["id", "metadata"], NOW))


def test_pages_of_large_items_have_few() -> None:
    rows = Rows(900, 1000, metadata=bytes(60_000))
    list(reader(rows).pages("", ["id", "metadata"], NOW, most=100))
    known = reader(rows)
    assert known.page_rows(["id", "metadata"]) <= 1024  # where nothing is known of them
    known.saw([bytes(60_000)])
    assert known.page_rows(["id", "metadata"]) * 60_000 <= 24 << 20
    known.saw([b"{}"])
    assert known.page_rows(["id", "metadata"]) < 2000


class Late(grpc.RpcError):
    """A call that took longer than its deadline."""

    def code(self) -> Any:
        return grpc.StatusCode.DEADLINE_EXCEEDED

    def details(self) -> str:
        return "Deadline Exceeded"


def answering(late: Callable[[], None], code: int = 0, reason: str = "not loaded") -> MilvusRpc:
    rpc = MilvusRpc("http://127.0.0.1:1")

    def asked(_: Any, request: Any, __: float) -> Any:
        if request == "slow":
            late()
            time.sleep(0.55)
            raise Late
        return SimpleNamespace(code=code, error_code=0, reason=reason)

    rpc._asked = asked  # type: ignore[method-assign]
    return rpc


def test_one_call_that_is_too_slow_is_no_outage() -> None:
    rpc = answering(lambda: rpc.call("Query", "quick"))
    with pytest.raises(Unavailable, match="did not answer within"):
        rpc.call("Query", "slow")
    rpc.call("Query", "quick")
    silent = answering(lambda: None)
    with pytest.raises(Unavailable, match="did not answer within"):
        silent.call("Query", "slow")
    with pytest.raises(Unavailable, match="asked again in a moment"):
        silent.call("Query", "quick")


class Hanging(grpc.GenericRpcHandler):
    """A server that takes any call, and answers once it is told to."""

    def __init__(self) -> None:
        self.told = threading.Event()

    def service(self, _: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda *_: self.told.wait(10) and b"")


def test_a_stop_waits_for_no_call_that_hangs() -> None:
    hanging, server = Hanging(), grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((hanging,))
    rpc = MilvusRpc(f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    server.start()
    started = time.monotonic()
    threading.Timer(0.5, rpc.close).start()
    with pytest.raises(Unavailable, match="can't be reached"):
        rpc.call("AllocTimestamp", messages().AllocTimestampRequest())
    assert 0.4 < time.monotonic() - started < 5
    hanging.told.set()
    server.stop(None)


def test_a_collection_that_is_not_loaded_is_noted_once() -> None:
    rpc = answering(lambda: None, code=101)
    with pytest.raises(NotLoaded):
        rpc.call("Query", "quick")
    assert (rpc.met_unloaded(), rpc.met_unloaded()) == (True, False)


@pytest.mark.parametrize(
    "reason",
    [
        "query results exceed the maxOutputSize Limit 104857600",
        "failed to search/query delegator 1: rpc error: code = ResourceExhausted desc = grpc: trying to send message "
        "larger than max (108000000 vs. 67108864)",
    ],
)
def test_what_milvus_does_not_give_at_once_is_too_large(reason: str) -> None:
    with pytest.raises(TooLarge):
        answering(lambda: None, code=65535, reason=reason).call("Query", "quick")


@pytest.mark.parametrize(("uri", "host"), [("http://[::1]:19530", "[::1]:19530"), ("http://milvus", "milvus:19530")])
def test_addresses(uri: str, host: str) -> None:
    assert MilvusRpc(uri)._host == host


def test_a_call_that_begins_as_the_connection_closes_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    rpc = MilvusRpc("http://127.0.0.1:1")
    made = rpc._connected()
    monkeypatch.setattr(rpc, "_connected", lambda: made)
    rpc.close()
    for call in (
        lambda: rpc.call("AllocTimestamp", messages().AllocTimestampRequest()),
        lambda: rpc.write("Upsert", b""),
    ):
        with pytest.raises(Unavailable, match="is stopping"):
            call()


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        (3, "memory limit exceeded[predict=9, limit=8]", StorageFull),
        (7, "disk limit exceeded", StorageFull),
        (9, "force deny[op=write]: deny to write, reason: disk quota exhausted", StorageFull),
        (9, "quota exceeded[reason=memory quota exceeded, please allocate more resources]", StorageFull),
        (65535, "write /data/rdb/000012.log: no space left on device", StorageFull),
        (9, "force deny[op=write]: deny to write, reason: time tick long delay", MilvusRefusal),
        (9, "quota exceeded[reason=access has been disabled by the administrator]", MilvusRefusal),
        (8, "rate limit exceeded[rate=100]", MilvusRefusal),
        (10, "service unimplemented", MilvusRefusal),
    ],
)
def test_what_milvus_has_no_room_for_is_told_from_what_it_refuses(
    code: int, reason: str, error: type[ClipServeError]
) -> None:
    with pytest.raises(error):
        answering(lambda: None, code=code, reason=reason).call("Upsert", "quick")
