"""HEAD wherever GET works, as crawlers, proxies and download managers ask."""

from __future__ import annotations

import httpx
import pytest

from gateway.app import build
from gateway.middleware.head_requests import HeadAsGet
from gateway.settings import GatewaySettings

FILLED = {"name": "demo", "item_id": "cat", "path": "app.js", "model": "demo", "model_id": "demo", "version": "1"}
PAGES = ["/", "/dashboard", "/docs", "/favicon.ico", "/ui/app.js", "/openapi.json", "/images/demo/sub/a%20b.png"]


def gets() -> list[str]:
    document = build(GatewaySettings()).openapi()["paths"]
    return [path for path, operations in document.items() if "get" in operations]


@pytest.fixture
def filled(stack_of, pictures):
    stack = stack_of(image_roots=f"demo={pictures}")
    stack.fill("cat")
    return stack


def test_every_get_has_its_head(filled):
    paths = [path.format_map({**FILLED, "job_id": "none"}) for path in gets()]
    assert "/v1/collections/demo/items/cat" in paths
    for path in [*PAGES, *paths, "/none", "/v1/collections/none"]:
        got, head = filled.client.get(path), filled.client.head(path)
        assert head.status_code == got.status_code, path
        assert head.content == b""
        for name in ("content-type", "content-security-policy", "cache-control"):
            assert head.headers.get(name) == got.headers.get(name), path
        if path not in (
            "/metrics",
            "/readyz",
            "/v1/stats",
            "/v1/stats/slow",
            "/v1/stats/history",
        ):  # whose bodies change
            assert head.headers["content-length"] == got.headers["content-length"], path


def test_what_has_no_get_has_no_head(filled):
    assert filled.client.head("/v1/embeddings").status_code == 405


def test_it_counts_for_its_route(filled):
    filled.client.head("/v1/collections/demo")
    wanted = 'requests_total{method="HEAD",route="/v1/collections/{name}",status="200"} 1.0'
    assert wanted in filled.client.get("/metrics").text


def test_it_needs_what_get_needs(stack_of):
    stack = stack_of(api_keys="k")
    assert stack.client.head("/v1/models").status_code == 401
    assert stack.client.head("/v1/models", headers={"X-API-Key": "k"}).status_code == 200


async def test_under_any_server():
    """Ours drops the body of an answer to HEAD by itself; nothing here relies on it."""

    async def app(scope, _, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["method"].encode()})

    transport = httpx.ASGITransport(HeadAsGet(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert [(await client.head("/")).content, (await client.get("/")).content] == [b"", b"GET"]
