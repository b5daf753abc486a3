"""Images by URL through the whole gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.gateway.hostile import HostileServer


@pytest.fixture
async def server() -> AsyncIterator[HostileServer]:
    async with HostileServer().running() as running:
        yield running


@pytest.fixture
async def client(stack_of, server) -> AsyncIterator[httpx.AsyncClient]:
    allowed = {"fetch_networks": "127.0.0.1/32", "fetch_ports": str(server.port)}
    stack = stack_of(fetch_urls=True, fetch_timeout_s=0.5, pictures_min_free_bytes=0, **allowed)
    async with httpx.AsyncClient(base_url=stack.url, timeout=10) as client:
        yield client


async def test_an_image_by_url_is_the_image_itself(client, server):
    url = f"http://127.0.0.1:{server.port}/good"
    for body in ({"modality": "image", "input": [url]}, {"input": [{"image": url}]}):
        answer = await client.post("/v1/embeddings", json=body)
        assert answer.status_code == 200, answer.text
    assert len(server.seen) == 2


async def test_what_is_fetched_counts_as_bytes_that_the_gateway_holds(stack_of, server):
    allowed = {"fetch_networks": "127.0.0.1/32", "fetch_ports": str(server.port)}
    stack = stack_of(fetch_urls=True, max_body_bytes=200, max_buffered_bytes=400, **allowed)
    stack.torchserve.delay_s = 0.5
    body = {"input": [{"image": f"http://127.0.0.1:{server.port}/good?{n}"} for n in range(2)]}
    async with httpx.AsyncClient(base_url=stack.url, timeout=10) as client:
        first = asyncio.create_task(client.post("/v1/embeddings", json=body))
        while not stack.torchserve.calls:
            await asyncio.sleep(0.01)
        second = await client.post("/v1/embeddings", json=body)
        assert (second.status_code, second.json()["error"]["code"]) == (429, "overloaded")
        assert (await first).status_code == 200
        assert (await client.post("/v1/embeddings", json=body)).status_code == 200


async def test_every_dialect_fetches(client, server):
    url = f"http://127.0.0.1:{server.port}/good"
    part = {"content": [{"type": "image_url", "image_url": url}]}
    calls = {
        "/v2/embed": {"inputs": [{"content": [{"type": "image_url", "image_url": {"url": url}}]}]},
        "/v1/multimodalembeddings": {"inputs": [part]},
        "/v1/rank": {"queries": ["a"], "candidates": [{"image": url}]},
        "/v1/classify": {"image": url, "labels": ["a"]},
    }
    for path, body in calls.items():
        answer = await client.post(path, json=body)
        assert answer.status_code == 200, (path, answer.text)
    assert len(server.seen) == len(calls)


async def completed(client, server, *paths):
    """The job that fetched these."""
    assert (await client.put("/v1/collections/demo", json={})).status_code == 201
    urls = [f"http://127.0.0.1:{server.port}/{path}" for path in paths]
    begun = await client.post("/v1/jobs", json={"collection": "demo", "source": {"urls": urls}})
    assert begun.status_code == 202, begun.text
    for _ in range(200):
        job = (await client.get(f"/v1/jobs/{begun.json()['id']}")).json()
        if job["state"] == "completed":
            break
        await asyncio.sleep(0.05)
    return job


async def test_a_job_fetches(client, server):
    job = await completed(client, server, "good", "missing")
    assert (job["progress"]["total"], job["progress"]["added"], job["progress"]["failed"]) == (2, 1, 1)


async def test_a_job_lets_go_of_urls_that_are_all_in(client, server):
    job = await completed(client, server, "good")
    answer = await client.post(f"/v1/jobs/{job['id']}/retry")
    assert answer.status_code == 409
    assert "begin a new job" in answer.json()["error"]["message"]


async def test_an_item_by_url_has_thumbnails(client, server):
    """Of what was fetched: the address may give something else tomorrow."""
    assert (await client.put("/v1/collections/demo", json={})).status_code == 201
    item = {"id": "a", "image": f"http://127.0.0.1:{server.port}/good"}
    added = await client.post("/v1/collections/demo/items", json={"items": [item]})
    assert added.json()["results"] == [{"id": "a", "status": 200}]
    thumbnail = await client.get("/v1/collections/demo/items/a/thumbnail")
    assert thumbnail.headers["content-type"] == "image/webp"
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("page", 400, "invalid_image"), ("drip", 400, "fetch_failed"), ("ten_gigabytes", 413, "image_too_large")],
)
async def test_a_url_that_gives_no_image(client, server, path, status, code):
    body = {"input": [{"text": "a"}, {"image": f"http://127.0.0.1:{server.port}/{path}"}]}
    answer = await client.post("/v1/embeddings", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"]["param"] == "input[1]"


async def test_a_url_that_leads_inside(client, server):
    urls = ["http://127.0.0.2:{port}/good", "http://169.254.169.254:{port}/", "http://127.0.0.1:22/"]
    for url in urls:
        body = {"collection": "demo", "query": [{"image": url.format(port=server.port)}, {"text": "a"}]}
        answer = await client.post("/v1/search", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "fetch_refused")
    assert not server.seen
