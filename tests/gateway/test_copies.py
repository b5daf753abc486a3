"""Copies between collections, and duplicates, through the gateway."""

from __future__ import annotations

from gateway.keys.key_store import KeyStore

COPY = "/v1/collections/to/items/copy"


def test_items_are_copied_without_encoding(stack):
    stack.fill("cat", "dog")
    assert stack.client.put("/v1/collections/to", json={}).status_code == 201
    stack.torchserve.calls.clear()
    answer = stack.post(COPY, {"from": "demo", "ids": ["cat", "none"]}).json()
    assert [one["status"] for one in answer["results"]] == [200, 404]
    assert stack.post(COPY, {"from": "demo", "filter": {"word": "dog"}}).json() == {"copied": 1, "next": None}
    assert set(stack.index.collections["to"]["items"]) == {"cat", "dog"}
    assert not stack.torchserve.calls


def test_neither_ids_nor_a_filter(stack):
    stack.fill("cat")
    answer = stack.post("/v1/collections/demo/items/copy", {"from": "demo", "ids": None, "filter": None})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "ids")


def test_a_key_must_be_allowed_to_read_the_source(stack_of, tmp_path):
    store = KeyStore(tmp_path / "keys.sqlite3")
    secrets = {
        "root": store.create("root", ("admin",))[0],
        "writes": store.create("writes", ("write",))[0],
        "other": store.create("other", ("search", "write"), collections=("to",))[0],
        "both": store.create("both", ("search", "write"), collections=("to", "from"))[0],
    }
    stack = stack_of(keys_file=store.path)
    for name in ("from", "to"):
        stack.client.put(f"/v1/collections/{name}", json={}, headers={"X-API-Key": secrets["root"]})
    body = {"from": "from", "ids": ["a"]}
    answers = {name: stack.post(COPY, body, headers={"X-API-Key": secret}) for name, secret in secrets.items()}
    statuses = {name: answer.status_code for name, answer in answers.items()}
    assert statuses == {"root": 200, "writes": 403, "other": 403, "both": 200}


def test_duplicates(stack):
    stack.client.put("/v1/collections/demo", json={})
    digests = {"a": "1" * 64, "b": "2" * 64, "c": "1" * 64}
    items = [{"id": name, "text": name, "metadata": {"digest": digest}} for name, digest in digests.items()]
    assert stack.post("/v1/collections/demo/items", {"items": items}).status_code == 200
    answer = stack.client.get("/v1/collections/demo/duplicates")
    assert answer.json() == {"groups": [{"digest": "1" * 64, "count": 2, "ids": ["a", "c"]}], "next": None}
    assert stack.client.get("/v1/collections/demo/duplicates?limit=0").status_code == 400
