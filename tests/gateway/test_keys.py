"""Keys: kept as digests, with scopes and collections, expired, revoked, and noticed by a running gateway."""

from __future__ import annotations

import sqlite3
import stat
import time
from functools import partial
from pathlib import Path

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from clip_core.errors import InvalidRequest, NotFound, Unauthorized
from gateway import app
from gateway.app import build
from gateway.keys import key_lookup
from gateway.keys.api_key import ANONYMOUS, KeyLimits
from gateway.keys.key_lookup import KeyLookup
from gateway.keys.key_store import KeyStore
from gateway.keys.scopes import is_listed, scope_of
from gateway.middleware.auth import OPEN_PATHS, OPEN_PREFIX
from gateway.settings import GatewaySettings
from tests.clock import Clock
from tests.gateway.conftest import NOWHERE


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "deep" / "keys.db")


def test_only_a_digest_is_kept(store):
    secret, key = store.create("shop", ("embed",))
    assert secret.startswith(f"cs_{key.id}_")
    content = store.path.read_bytes()
    assert secret.encode() not in content
    assert secret.removeprefix(f"cs_{key.id}_").encode() not in content
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_what_was_said_of_a_key_is_kept(store):
    limits = KeyLimits(requests_per_minute=5)
    _, key = store.create("shop", ("embed", "search"), collections=("a", "b"), expires=time.time() + 60, limits=limits)
    ((kept, _),) = store.all()
    assert kept == key
    assert kept.state() == "active"
    assert limits.over(KeyLimits(1, 2, 3, 4)) == KeyLimits(5, 2, 3, 4)


def test_scopes_that_there_are_not(store):
    for scopes in (("root",), ()):
        with pytest.raises(InvalidRequest):
            store.create("shop", scopes)
    assert not store.path.exists()


def test_no_file_no_keys(store):
    assert store.all() == []
    assert store.version() is None
    assert not KeyLookup((), store)
    assert KeyLookup((), store, enforced=True)


def test_a_key_is_itself_and_nothing_like_it(store):
    secret, key = store.create("shop", ("embed",))
    ring = KeyLookup(("from-environment",), store)
    assert ring.identify(secret) == key
    assert ring.identify("from-environment").scopes == ("embed", "search", "write", "admin")
    for other in (
        secret[:-1],
        secret + "x",
        secret.upper(),
        f"cs_{key.id}_",
        key.id,
        "",
        "cs_",
        "\xff",
        bytes(32).hex(),
    ):
        with pytest.raises(Unauthorized):
            ring.identify(other)


async def test_a_key_is_found_again_by_its_id(store):
    _, key = store.create("shop", ("embed",))
    _, old = store.create("old", ("embed",), expires=time.time() - 1)
    ring = KeyLookup(("from-environment",), store)
    assert await ring.find(key.id) == key
    assert await ring.find("environment-0") == ring.identify("from-environment")
    assert await ring.find(None) is ANONYMOUS
    for gone, words in ((old.id, "is expired"), ("environment-1", "not accepted any more"), ("nobody", "not accepted")):
        with pytest.raises(Unauthorized, match=words):
            await ring.find(gone)


def test_expired_and_revoked(store):
    expired, _ = store.create("old", ("embed",), expires=time.time() - 1)
    revoked, key = store.create("bad", ("embed",))
    store.revoke(key.id)
    ring = KeyLookup((), store)
    assert ring
    with pytest.raises(Unauthorized, match="expired"):
        ring.identify(expired)
    with pytest.raises(Unauthorized, match="revoked"):
        ring.identify(revoked)
    with pytest.raises(NotFound):
        store.revoke("nobody")


async def test_a_running_gateway_notices(store):
    clock = Clock()
    ring = KeyLookup((), store, clock=clock)
    assert not ring
    secret, key = store.create("new", ("embed",))
    clock.now += 1
    await ring.refresh()
    assert ring.identify(secret) == key
    store.revoke(key.id)
    clock.now += 1
    await ring.refresh()
    with pytest.raises(Unauthorized, match="revoked"):
        ring.identify(secret)


async def test_a_damaged_file_leaves_what_was_read_in_force(store):
    clock = Clock()
    secret, key = store.create("shop", ("embed",))
    ring = KeyLookup((), store, clock=clock)
    assert ring.identify(secret) == key
    store.path.write_bytes(b"not a database, but long enough to be looked at")
    clock.now += 1
    await ring.refresh()
    assert ring.identify(secret) == key
    with pytest.raises(sqlite3.Error):
        store.all()


def test_an_idle_gateway_follows_with_its_first_answer(stack_of, store, monkeypatch):
    """A key that was revoked since is refused at once, and a new one is taken."""
    clock = Clock()
    monkeypatch.setattr(app, "KeyLookup", partial(KeyLookup, clock=clock))
    monkeypatch.setattr(key_lookup, "_PATIENCE_S", 30)
    secret, key = store.create("old", ("search",))
    client = stack_of(keys_file=store.path).client
    assert client.get("/v1/collections", headers={"X-API-Key": secret}).status_code == 200
    store.revoke(key.id)
    clock.now += 20
    assert client.get("/v1/collections", headers={"X-API-Key": secret}).status_code == 401
    fresh, _ = store.create("new", ("search",))
    clock.now += 20
    assert client.get("/v1/collections", headers={"X-API-Key": fresh}).status_code == 200


def test_a_file_of_keys_is_enough_for_other_hosts(store):
    with pytest.raises(ValidationError, match="clipserve keys create"):
        GatewaySettings(host="0.0.0.0", keys_file=store.path)
    store.create("shop", ("embed",))
    assert GatewaySettings(host="0.0.0.0", keys_file=store.path).keys_file == store.path


def test_every_route_has_a_scope_of_its_own():
    paths = [*build(GatewaySettings()).openapi()["paths"], "/images/demo/a.png"]
    assert "/v1/search" in paths
    closed = [path for path in paths if path not in OPEN_PATHS and not path.startswith(OPEN_PREFIX)]
    assert [path for path in closed if not is_listed(path)] == []
    assert scope_of("GET", "/never/heard/of") == "admin"


CALLS = [
    ("POST", "/v1/embeddings", {"input": "a"}, "embed"),
    ("POST", "/v1/classify", {"image": "iVBORw0KGgo=", "labels": ["a"]}, "embed"),
    ("POST", "/v1/search", {"collection": "demo", "text": "a"}, "search"),
    ("POST", "/v1/search/batch", {"searches": [{"collection": "demo", "text": "a"}]}, "search"),
    ("GET", "/v1/collections", None, "search"),
    ("GET", "/v1/collections/demo", None, "search"),
    ("GET", "/v1/collections/demo/items", None, "search"),
    ("GET", "/v1/collections/demo/facets", None, "search"),
    ("PUT", "/v1/collections/demo", {}, "write"),
    ("POST", "/v1/collections/demo/items", {"items": [{"id": "a", "text": "a"}]}, "write"),
    ("POST", "/v1/collections/demo/items/delete", {"ids": ["a"]}, "write"),
    ("GET", "/v1/collections/demo/duplicates", None, "search"),
    ("GET", "/v1/collections/demo/score_guidance", None, "search"),
    ("PATCH", "/v1/collections/demo/items", {"ids": ["a"], "metadata": {}}, "write"),
    ("PATCH", "/v1/collections/demo/items/a", {"metadata": {}}, "write"),
    ("DELETE", "/v1/collections/demo/items/a", None, "write"),
    ("POST", "/v1/rank", {"queries": ["a"], "candidates": ["b"]}, "embed"),
    ("POST", "/v2/embed", {"texts": ["a"]}, "embed"),
    ("POST", "/v1/multimodalembeddings", {"inputs": [{"content": "a"}]}, "embed"),
    ("GET", "/v1/jobs", None, "write"),
    ("GET", "/v1/aliases", None, "search"),
    ("PUT", "/v1/aliases/second", {"collection": "demo"}, "write"),
    ("DELETE", "/v1/aliases/second", None, "write"),
    ("GET", "/metrics", None, "admin"),
]


def test_scopes(stack_of, store):
    keys = {scope: store.create(scope, (scope,))[0] for scope in ("embed", "search", "write", "admin")}
    client = stack_of(keys_file=store.path).client
    assert client.put("/v1/collections/demo", json={}, headers={"X-API-Key": keys["admin"]}).status_code == 201
    for method, path, body, needed in CALLS:
        for scope, secret in keys.items():
            answer = client.request(method, path, json=body, headers={"Authorization": f"Bearer {secret}"})
            if scope in (needed, "admin"):
                assert answer.status_code not in (401, 403), (scope, path, answer.text)
            else:
                assert answer.status_code == 403, (scope, path)
                assert answer.json()["error"]["code"] == "scope_missing"
    for path in ("/v1/models", "/v1/stats"):
        assert client.get(path, headers={"X-API-Key": keys["embed"]}).status_code == 200
    for path in ("/v1/stats/slow", "/v1/stats/history"):
        statuses = {scope: client.get(path, headers={"X-API-Key": key}).status_code for scope, key in keys.items()}
        assert statuses == {"embed": 403, "search": 403, "write": 403, "admin": 200}


def test_collections_of_a_key(stack_of, store):
    admin, _ = store.create("admin", ("admin",))
    mine, _ = store.create("mine", ("admin",), collections=("mine",))
    stack = stack_of(keys_file=store.path)
    root, own = {"X-API-Key": admin}, {"X-API-Key": mine}
    for name in ("mine", "other"):
        assert stack.client.put(f"/v1/collections/{name}", json={}, headers=root).status_code == 201
    listed = stack.client.get("/v1/collections", headers=own).json()["collections"]
    assert [each["name"] for each in listed] == ["mine"]
    assert stack.client.get("/v1/collections/mine", headers=own).status_code == 200
    for path in ("/v1/collections/other", "/v1/collections/none", "/v1/collections/other/items", "/images/other/a.png"):
        answer = stack.client.get(path, headers=own)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "collection_forbidden")
    answer = stack.post("/v1/search", {"collection": "other", "text": "a"}, headers=own)
    assert answer.status_code == 403
    searches = [{"collection": "other", "text": "a"}, {"collection": "mine", "text": "a"}]
    results = stack.post("/v1/search/batch", {"searches": searches}, headers=own).json()["results"]
    assert [result["status"] for result in results] == [403, 200]


def test_jobs_of_a_key(stack_of, store, tmp_path):
    """It sees, begins and ends those on its own collections only."""
    root, _ = store.create("root", ("admin",))
    mine, _ = store.create("mine", ("write",), collections=("mine",))
    stack = stack_of(keys_file=store.path, ingest_roots=f"photos={tmp_path}")
    jobs = {}
    for name in ("mine", "other"):
        assert stack.client.put(f"/v1/collections/{name}", json={}, headers={"X-API-Key": root}).status_code == 201
        wanted = {"collection": name, "source": {"folder": "photos"}}
        jobs[name] = stack.post("/v1/jobs", wanted, headers={"X-API-Key": root}).json()["id"]
        answer = stack.post("/v1/jobs", wanted, headers={"X-API-Key": mine})
        assert answer.status_code == (202 if name == "mine" else 403)
    client, own = stack.client, {"X-API-Key": mine}
    listed = client.get("/v1/jobs", headers=own).json()["jobs"]
    assert [job["collection"] for job in listed] == ["mine", "mine"]
    assert client.get(f"/v1/jobs/{jobs['mine']}", headers=own).status_code == 200
    for method, path in (("GET", ""), ("GET", "/failures"), ("DELETE", ""), ("POST", "/retry")):
        assert client.request(method, f"/v1/jobs/{jobs['other']}{path}", headers=own).status_code == 404


def test_revoking_the_last_key_opens_nothing(store):
    _, key = store.create("only", ("embed",))
    store.revoke(key.id)
    with TestClient(build(GatewaySettings(**NOWHERE, keys_file=store.path))) as client:
        assert client.get("/v1/collections").status_code == 401
