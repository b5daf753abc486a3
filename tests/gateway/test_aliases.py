"""Aliases at the gateway: made, listed, switched, dropped, searched by, and bounded by a key's collections."""

from __future__ import annotations

import pytest

from gateway.keys.key_store import KeyStore


def test_an_alias_is_set_shown_switched_and_dropped(stack):
    stack.fill("cat", collection="first")
    stack.fill("dog", collection="second")
    made = stack.client.put("/v1/aliases/animals", json={"collection": "first"})
    assert (made.status_code, made.json()) == (200, {"name": "animals", "collection": "first"})
    assert stack.client.get("/v1/aliases").json() == {"aliases": [{"name": "animals", "collection": "first"}]}
    assert nearest(stack) == "cat"
    stack.client.put("/v1/aliases/animals", json={"collection": "second"})
    assert stack.client.get("/v1/aliases/animals").json()["collection"] == "second"
    assert nearest(stack) == "dog"
    assert stack.client.delete("/v1/aliases/animals").json() == {"deleted": True}
    assert stack.client.get("/v1/collections/second").status_code == 200
    for method in ("GET", "DELETE"):
        gone = stack.client.request(method, "/v1/aliases/animals")
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "not_found")
    assert stack.post("/v1/search", {"collection": "animals", "text": "cat"}).status_code == 404


def nearest(stack) -> str:
    return stack.post("/v1/search", {"collection": "animals", "text": "cat", "k": 1}).json()["hits"][0]["id"]


@pytest.mark.parametrize(
    ("name", "body", "status", "code"),
    [
        ("animals", {"collection": "none"}, 404, "collection_not_found"),
        ("animals", {}, 400, "invalid_request"),
        ("animals", {"collection": 1}, 400, "invalid_request"),
        ("animals", {"collection": "demo", "more": 1}, 400, "invalid_request"),
        ("-bad", {"collection": "demo"}, 400, "invalid_request"),
        ("demo", {"collection": "demo"}, 409, "conflict"),
    ],
)
def test_bad_aliases(stack, name, body, status, code):
    stack.fill("cat")
    answer = stack.client.put(f"/v1/aliases/{name}", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert stack.client.get("/v1/aliases").json() == {"aliases": []}


def test_a_key_with_collections_points_its_own_names_to_its_own_collections(stack_of, tmp_path):
    store = KeyStore(tmp_path / "keys.db")
    root, _ = store.create("root", ("admin",))
    mine, _ = store.create("mine", ("search", "write"), collections=("mine", "mine-v2"))
    reader, _ = store.create("reader", ("search",), collections=("mine",))
    stack = stack_of(keys_file=store.path)
    root, mine, reader = ({"X-API-Key": secret} for secret in (root, mine, reader))
    for name in ("mine-v2", "other"):
        assert stack.client.put(f"/v1/collections/{name}", json={}, headers=root).status_code == 201
    assert stack.client.put("/v1/aliases/theirs", json={"collection": "other"}, headers=root).status_code == 200

    def put(name: str, collection: str, headers: dict[str, str]) -> int:
        return stack.client.put(f"/v1/aliases/{name}", json={"collection": collection}, headers=headers).status_code

    assert put("mine", "mine-v2", mine) == 200
    assert put("mine", "other", mine) == 403  # not a way to what its list leaves out
    assert put("theirs", "mine-v2", mine) == 403
    assert put("mine", "mine-v2", reader) == 403
    assert stack.client.delete("/v1/aliases/theirs", headers=mine).status_code == 403
    listed = stack.client.get("/v1/aliases", headers=mine).json()["aliases"]
    assert listed == [{"name": "mine", "collection": "mine-v2"}]
    search = {"collection": "mine", "text": "a"}
    assert stack.post("/v1/search", search, headers=reader).status_code == 200  # by the name that its list has
    assert stack.post("/v1/search", search | {"collection": "mine-v2"}, headers=reader).status_code == 403
    assert stack.post("/v1/search", search | {"collection": "theirs"}, headers=mine).status_code == 403
