"""Spoilt requests against the real gateway and index service: never a 5xx, never a hang, never a dead worker."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clip_core.errors import BadInput, ClipServeError
from gateway.app import build
from gateway.connections.protocol import guarded
from gateway.settings import GatewaySettings
from index_service.collection.registry import Registry
from index_service.http.app import create_app
from index_service.record.store import Store
from index_service.settings import IndexSettings
from tests.gateway.fake_index import FakeIndex
from tests.gateway.fakes import FakeTorchServe, encode_vector, serving
from tests.gateway.mutations import VALID, Call, mutated

FAST, MANY = 400, 10_000
JSON = {"Content-Type": "application/json"}


class OverRealIndex(FakeTorchServe):
    """TorchServe's part, with searches asked of the real index service as the handlers do."""

    index_url = ""

    def search_one(self, search: Any, fingerprint: str | None, vector: Any) -> dict[str, Any]:
        body = {"fingerprint": fingerprint, "searches": [{**search, "vector": encode_vector(vector)}]}
        answer = httpx.post(f"{self.index_url}/search", content=orjson.dumps(body), headers=JSON, timeout=10)
        result: dict[str, Any] = answer.json()
        return result["results"][0] if answer.status_code == 200 else {"status": answer.status_code, **result}

    def _entry(self, item: Any, endpoint: str, search: Any) -> dict[str, Any]:
        """The encoder answers bad input as an item's error, whatever it is that is wrong with it."""
        try:
            return super()._entry(item, endpoint, search)
        except (ClipServeError, ValueError, TypeError, AttributeError, KeyError) as error:
            return {"status": 400, **BadInput(f"the fake cannot encode this: {error}").to_dict()}


class RealIndex(FakeIndex):
    """Hands the fake's searches to the real one."""

    def __init__(self) -> None:
        super().__init__()
        self.real: OverRealIndex | None = None

    def search_one(self, search: Any, fingerprint: str | None, vector: Any) -> dict[str, Any]:
        assert self.real is not None
        return self.real.search_one(search, fingerprint, vector)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("index")
    where = IndexSettings(data_dir=folder)
    registry = Registry(Store(folder / "index.sqlite3"), where)
    fake_index = RealIndex()
    torchserve = fake_index.real = OverRealIndex(fake_index)
    with serving(create_app(where, registry), lifespan="on") as index_url, serving(torchserve.app()) as torchserve_url:
        torchserve.index_url = index_url
        named = {"index_url": index_url, "torchserve_url": torchserve_url, "management_url": torchserve_url}
        with serving(build(GatewaySettings(**named)), lifespan="on", http=guarded(10, 64)) as url:
            assert httpx.put(f"{url}/v1/collections/demo", json={}).status_code == 201
            items = {"items": [{"id": "a", "text": "a"}]}
            assert httpx.post(f"{url}/v1/collections/demo/items", json=items).status_code == 200
            yield url


def send(url: str, call: Call) -> tuple[int, bytes]:
    """Over a socket of its own, so that nothing of the request is put right on its way. Fails when it hangs."""
    host, _, port = url.removeprefix("http://").partition(":")
    content = call.bytes()
    lines = [
        f"{call.method} {call.path} HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        f"Content-Length: {len(content)}",
    ]
    lines += [f"{name}: {value}" for name, value in call.headers.items()]
    answer = b""
    with socket.create_connection((host, int(port)), timeout=15) as connection:
        connection.sendall("\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + content)
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def check(url: str, call: Call) -> int:
    status, body = send(url, call)
    assert status < 500, (status, call, body[:500])
    if status >= 400 and call.method != "HEAD":
        error = orjson.loads(body)["error"]
        assert set(error) == {"message", "type", "param", "code"}, (call, body[:500])
    return status


@pytest.mark.parametrize("call", VALID, ids=lambda call: f"{call.method} {call.path}")
def test_the_valid_ones_are_valid(gateway, call):
    assert check(gateway, call) in ((404,) if call.path.startswith("/images") else (200, 201))


@settings(max_examples=FAST, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
@given(seed=st.integers(0, 2**48))
def test_some_spoilt_requests(gateway, seed):
    check(gateway, mutated(seed))


@pytest.mark.full
def test_ten_thousand_spoilt_requests(gateway):
    statuses = Counter(check(gateway, mutated(seed)) for seed in range(MANY))
    assert sum(statuses.values()) == MANY
    assert statuses[200] > MANY / 50  # not everything is refused at the door
    assert statuses[400] > MANY / 5
    assert check(gateway, VALID[0]) == 200


@pytest.fixture
def numbers(gateway: str) -> str:
    """The gateway, with a collection that no spoilt request drops."""
    httpx.put(f"{gateway}/v1/collections/numbers", json={}).raise_for_status()
    return gateway


@pytest.mark.parametrize("number", ["18446744073709551616", "-9223372036854775809", "1e400", "9" * 400])
def test_a_number_that_would_change_is_refused(numbers: str, number: str) -> None:
    def post(path: str, body: str) -> httpx.Response:
        return httpx.post(f"{numbers}/v1/{path}", content=body, headers=JSON)

    bad = f'{{"id": "b", "text": "b", "metadata": {{"n": [null, {number}]}}}}'
    results = post("collections/numbers/items", f'{{"items": [{bad}, {{"id": "a", "text": "a"}}]}}').json()["results"]
    assert [result["status"] for result in results] == [400, 200]
    assert "string" in results[0]["error"]["message"]
    refused = [
        post("search", f'{{"collection": "numbers", "text": "a", "filter": {{"n": {{"$in": [{number}]}}}}}}'),
        post("collections/numbers/items/delete", f'{{"filter": {{"n": {{"$lt": {number}}}}}}}'),
        post("search", f'{{"collection": "numbers", "text": "a", "k": {number}}}'),
        post("search", f'{{"collection": "numbers", "text": "a", "min_score": {number}}}'),
        post("search", f'{{"collection": "numbers", "query": [{{"text": "a", "weight": {number}}}]}}'),
    ]
    assert [answer.status_code for answer in refused[:3]] == [400] * 3
    assert {answer.status_code for answer in refused[3:]} <= {200, 400}
    assert post("collections/numbers/items", f'{{"items": [{{"id": {number}, "text": "a"}}]}}').status_code == 200


@pytest.mark.parametrize("number", [2**53 + 1, 2**63 - 1, 2**64 - 1, -(2**63), -0.0, 1.0, 1e300])
def test_a_number_of_64_bits_comes_back(numbers: str, number: float) -> None:
    item = {"id": "n", "text": "n", "metadata": {"n": number, "in": [{"n": number}], "nul": "\0"}}
    httpx.post(f"{numbers}/v1/collections/numbers/items", json={"items": [item]}).raise_for_status()
    found = httpx.get(f"{numbers}/v1/collections/numbers/items/n").json()["metadata"]
    assert repr(found) == repr(item["metadata"])
    search = {"collection": "numbers", "text": "n", "filter": {"n": number}}
    hits = httpx.post(f"{numbers}/v1/search", json=search).json()["hits"]
    assert [hit["id"] for hit in hits] == ["n"]
