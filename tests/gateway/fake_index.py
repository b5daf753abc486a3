"""An index service that speaks the contract, deterministically; its collections are in a dictionary."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from clip_core.errors import (
    BadInput,
    BadVector,
    ClipServeError,
    Conflict,
    FingerprintMismatch,
    InvalidRequest,
    NotFound,
    UnknownItem,
    from_dict,
)
from clip_core.wire import decode_vector, encode_vector, no_collection
from index_service.collection.bodies import metadata_json
from index_service.collection.patches import patched
from index_service.collection.vectors import as_kept

DIM = 16


def fits(metadata: dict[str, Any], wanted: dict[str, Any] | None) -> bool:
    """Under a filter of values and of `$in`."""
    choices = {name: want["$in"] if isinstance(want, dict) else [want] for name, want in (wanted or {}).items()}
    return all(metadata.get(name) in choice for name, choice in choices.items())


def fixed(request: Request) -> list[str]:
    return request.query_params["fixed"].split(",")


def answer(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


@contextmanager
def _refusing_nonsense() -> Iterator[None]:
    """What the stand-in stumbles over is the request's fault, as for the index service."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InvalidRequest(f"this is no request that the index knows: {error!r}") from error


@dataclass
class FakeIndex:
    """Collections in a dict; `down` makes it answer 503 like a dead proxy."""

    collections: dict[str, dict[str, Any]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    request_ids: list[str | None] = field(default_factory=list)
    down: bool = False
    metrics: str = ""
    answers_upserts: int | None = None  # how many more are answered; later ones are stored, and nobody hears of it

    def app(self) -> Starlette:
        item = "/collections/{name}/items/{item_id:path}"
        return Starlette(
            routes=[
                Route("/readyz", self._guard(self._ready)),
                Route("/metrics", lambda _: Response(self.metrics, media_type="text/plain")),
                Route("/collections", self._guard(self._list)),
                Route("/collections/{name}", self._guard(self._collection), methods=["GET", "PUT", "DELETE"]),
                Route("/collections/{name}/items", self._guard(self._items), methods=["GET", "POST", "PATCH"]),
                Route("/collections/{name}/items/delete", self._guard(self._delete), methods=["POST"]),
                Route("/collections/{name}/facets", self._guard(self._facets), methods=["POST"]),
                Route("/collections/{name}/duplicates", self._guard(self._duplicates)),
                Route("/collections/{name}/items/copy", self._guard(self._copy), methods=["POST"]),
                Route(item, self._guard(self._item), methods=["GET", "DELETE", "PATCH"]),
                Route("/aliases", self._guard(self._list_aliases)),
                Route("/aliases/{name}", self._guard(self._alias), methods=["PUT", "DELETE"]),
                Route("/search", self._guard(self._search), methods=["POST"]),
            ]
        )

    def _guard(self, handler: Any) -> Any:
        async def run(request: Request) -> Response:
            content = await request.body()
            body = orjson.loads(content) if content else None
            self.calls.append((request.method, request.url.path, body))
            self.request_ids.append(request.headers.get("x-request-id"))
            if self.down:
                return Response("bad gateway", 503)
            try:
                done = handler(request, body)
            except ClipServeError as error:
                return answer(error.to_dict(), error.status)
            if request.method == "POST" and request.url.path.endswith("/items"):
                await self._hold_upserts()
            return done

        return run

    async def _hold_upserts(self) -> None:
        while self.answers_upserts == 0:
            await asyncio.sleep(0.005)
        if self.answers_upserts is not None:
            self.answers_upserts -= 1

    def _ready(self, _: Request, __: Any) -> Response:
        return answer({"status": "ok"})

    def _list(self, _: Request, __: Any) -> Response:
        return answer({"collections": [self._describe(name) for name in self.collections]})

    def _describe(self, name: str) -> dict[str, Any]:
        kept, name = self._get(name), self.aliases.get(name, name)
        return {**kept["spec"], "name": name, "count": len(kept["items"]), "segment": {"engine": "exact"}}

    def _facets(self, request: Request, body: Any) -> Response:
        """Of fields with strings only."""
        kept = self._get(request.path_params["name"])["items"].values()
        items = [item for item in kept if fits(item["metadata"], body.get("filter"))]
        found = []
        for field_name in body.get("fields") or sorted({name for item in items for name in item["metadata"]}):
            values = [item["metadata"].get(field_name) for item in items]
            words = Counter(value for value in values if isinstance(value, str))
            counts = [{"value": value, "count": n} for value, n in words.most_common(body["values"])]
            facet = {"field": field_name, "distinct": len(words), "missing": len(items) - words.total()}
            found.append(facet | {"values": counts})
        return answer({"facets": found})

    def _list_aliases(self, _: Request, __: Any) -> Response:
        return answer({"aliases": [{"name": name, "collection": to} for name, to in sorted(self.aliases.items())]})

    def _alias(self, request: Request, body: Any) -> Response:
        name = request.path_params["name"]
        if request.method == "DELETE":
            if self.aliases.pop(name, None) is None:
                raise NotFound(f"there is no alias {name!r}", param="name")
            return answer({"deleted": True})
        if name in self.collections:
            raise Conflict(f"{name} is the name of a collection", param="name")
        self._get(body["collection"])
        self.aliases[name] = body["collection"]
        return answer({"name": name, "collection": body["collection"]})

    def _get(self, name: str) -> dict[str, Any]:
        name = self.aliases.get(name, name)
        if name not in self.collections:
            raise no_collection(name)
        return self.collections[name]

    def _collection(self, request: Request, body: Any) -> Response:
        name = request.path_params["name"]
        if request.method == "PUT":
            return self._create(name, body)
        described = self._describe(name)
        if request.method == "DELETE":
            self._drop(described["name"])
            return answer({"deleted": True})
        return answer(described)

    def _drop(self, name: str) -> None:
        held = [alias for alias, target in self.aliases.items() if target == name]
        if held:
            raise Conflict(f"the alias {held[0]} leads to {name}: switch or delete it first")
        del self.collections[name]

    def _create(self, name: str, body: Any) -> Response:
        if name in self.collections:
            if self.collections[name]["spec"]["fingerprint"] != body["fingerprint"]:
                raise FingerprintMismatch("made with another model")
            return answer(self._describe(name))
        spec = {"metric": "cosine", "engine": "auto", "recall_target": 1.0, "created": "2025-01-01T00:00:00Z", **body}
        self.collections[name] = {"spec": spec, "items": {}}
        return answer(self._describe(name), 201)

    def _items(self, request: Request, body: Any) -> Response:
        kept = self._get(request.path_params["name"])
        if request.method == "GET":
            limit, after = int(request.query_params["limit"]), request.query_params.get("after", "")
            with _refusing_nonsense():
                where = orjson.loads(request.query_params.get("filter", "{}"))
                fitting = [i for i, item in kept["items"].items() if i > after and fits(item["metadata"], where)]
            ids = sorted(fitting)[:limit]
            listed = [{"id": i, "metadata": kept["items"][i]["metadata"]} for i in ids]
            return answer({"items": listed, "next": ids[-1] if len(ids) == limit else None})
        if request.method == "PATCH":
            with _refusing_nonsense():
                return answer(self._patched(kept["items"], body, fixed(request)))
        if body["fingerprint"] not in (None, kept["spec"]["fingerprint"]):
            raise FingerprintMismatch("another fingerprint")
        return answer({"results": [self._upsert(kept, item) for item in body["items"]]})

    def _patched(self, items: Any, body: Any, fixed: list[str]) -> dict[str, Any]:
        if "filter" in body:
            ids = [item_id for item_id, item in items.items() if fits(item["metadata"], body["filter"])]
            results = [self._patch(items, item_id, body["metadata"], fixed) for item_id in ids]
            failed = [each for each in results if each["status"] >= 400]
            return {"updated": len(results) - len(failed), "failed": failed, "next": None}
        patches = body.get("items") or [{"id": item_id, "metadata": body["metadata"]} for item_id in body["ids"]]
        return {"results": [self._patch(items, patch["id"], patch["metadata"], fixed) for patch in patches]}

    def _patch(self, items: Any, item_id: str, metadata: dict[str, Any], fixed: list[str]) -> dict[str, Any]:
        if item_id not in items:
            error = UnknownItem(f"there is no item {item_id!r}", param="id")
            return {"id": item_id, "status": 404, **error.to_dict()}
        if not isinstance(metadata, dict | None):
            raise InvalidRequest("`metadata` is an object or null", param="metadata")
        try:
            items[item_id]["metadata"] = orjson.loads(patched(items[item_id]["metadata"], metadata, 65536, fixed))
        except ClipServeError as error:
            return {"id": item_id, "status": error.status, **error.to_dict()}
        return {"id": item_id, "status": 200}

    def _upsert(self, kept: Any, item: Any) -> dict[str, Any]:
        try:
            metadata_json(item.get("metadata"), 65536)
            vector = as_kept(decode_vector(item["vector"], DIM), kept["spec"]["metric"])
        except BadInput as error:
            return {"id": item["id"], "status": error.status, **error.to_dict()}
        kept["items"][item["id"]] = {"vector": vector, "metadata": item.get("metadata", {})}
        return {"id": item["id"], "status": 200}

    def _item(self, request: Request, body: Any) -> Response:
        items, item_id = self._get(request.path_params["name"])["items"], request.path_params["item_id"]
        if item_id not in items:
            raise UnknownItem(f"there is no item {item_id!r}")
        if request.method == "PATCH":
            with _refusing_nonsense():
                result = self._patch(items, item_id, body["metadata"], fixed(request))
            if result["status"] >= 400:
                raise from_dict(result, result["status"])
        found = {"id": item_id, "metadata": items[item_id]["metadata"]}
        if request.query_params.get("include") == "vector":
            found["vector"] = encode_vector(items[item_id]["vector"])
        if request.method == "DELETE":
            del items[item_id]
            return answer({"deleted": True})
        return answer(found)

    def _duplicates(self, request: Request, _: Any) -> Response:
        ids: dict[str, list[str]] = {}
        for item_id, item in self._get(request.path_params["name"])["items"].items():
            if "digest" in item["metadata"]:
                ids.setdefault(item["metadata"]["digest"], []).append(item_id)
        after = request.query_params.get("after", "")
        names = sorted(digest for digest, found in ids.items() if len(found) > 1 and digest > after)
        page = names[: int(request.query_params["limit"])]
        groups = [{"digest": digest, "count": len(ids[digest]), "ids": sorted(ids[digest])} for digest in page]
        return answer({"groups": groups, "next": page[-1] if len(names) > len(page) else None})

    def _copy(self, request: Request, body: Any) -> Response:
        source, target = self._get(body["from"])["items"], self._get(request.path_params["name"])["items"]
        if (body.get("ids") is None) == (body.get("filter") is None):
            raise BadInput("give `ids` or `filter`", param="ids")
        if body.get("ids") is None:
            found = {item_id: item for item_id, item in source.items() if fits(item["metadata"], body["filter"])}
            target.update(found)
            return answer({"copied": len(found), "next": None})
        target.update({item_id: source[item_id] for item_id in body["ids"] if item_id in source})
        missing = UnknownItem("there is no such item", param="id").to_dict()
        results = [
            {"id": i, "status": 200} if i in source else {"id": i, "status": 404, **missing} for i in body["ids"]
        ]
        return answer({"results": results})

    def _delete(self, request: Request, body: Any) -> Response:
        items = self._get(request.path_params["name"])["items"]
        gone = [item for item in body.get("ids", []) if items.pop(item, None)]
        return answer({"deleted": len(gone)})

    def _search(self, _: Request, body: Any) -> Response:
        allowed: dict[str, Any] = {}
        results = [
            self.search_one(search, body["fingerprint"], decode_vector(search["vector"]), allowed)
            for search in body["searches"]
        ]
        return answer({"results": results, "timing": {"search_ms": 0.25}})

    def search_one(
        self, search: Any, fingerprint: str | None, vector: np.ndarray, allowed: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """`allowed`: what searches of one call found out for each other."""
        try:
            return self._hits(search, fingerprint, vector, {} if allowed is None else allowed)
        except ClipServeError as error:
            return {"status": error.status, **error.to_dict()}

    def _hits(
        self, search: Any, fingerprint: str | None, vector: np.ndarray, allowed: dict[str, Any]
    ) -> dict[str, Any]:
        kept = self._get(search["collection"])
        spec = kept["spec"]
        if fingerprint not in (None, spec["fingerprint"]):
            raise FingerprintMismatch("another fingerprint")
        if vector.size != spec["dim"]:
            raise BadVector(f"the vector has {vector.size} dimensions, expected {spec['dim']}", param="vector")
        vector = as_kept(vector, spec["metric"])
        key = f"{search['collection']} {search.get('filter')!r}"
        if key not in allowed:
            allowed[key] = _rows(kept["items"], search.get("filter"))
        rows, matrix = allowed[key]
        best = np.argsort(-(matrix @ vector), kind="stable")[: search["k"]] if rows else []
        hits = [{**rows[at], "score": float(matrix[at] @ vector)} for at in best]
        return {"status": 200, "hits": hits, "fingerprint": spec["fingerprint"], "dim": spec["dim"]}


def _rows(items: dict[str, Any], condition: Any) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Those that fit, and their vectors, (N, D)."""
    fitting = [(item_id, item) for item_id, item in items.items() if fits(item["metadata"], condition)]
    rows = [{"id": item_id, "score": 0.0, "metadata": item["metadata"]} for item_id, item in fitting]
    return rows, np.array([item["vector"] for _, item in fitting])
