"""A TorchServe that asks for tokens: the gateway reads them from its file, and again when there are new ones."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from pathlib import Path

import pytest
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse

from clip_core.errors import TorchServeUnavailable
from clip_core.serving.torchserve_tokens import KEY_FILE, bearer
from gateway.upstream.torchserve import TorchServeClient
from tests.gateway.fake_index import FakeIndex
from tests.gateway.fakes import FakeTorchServe, picture, serving

TEXT = {"input": [{"text": "a"}]}


class Asking:
    """Puts the check of pytorch/serve's TokenAuthorizationHandler before the fake; `renew` is a new start."""

    def __init__(self, folder: Path) -> None:
        self.key_file, self.starts, self.refusals = folder / KEY_FILE, 0, 0
        self.renew()

    def renew(self) -> None:
        self.starts += 1
        self.tokens = {api: f"{api[:4]}-{self.starts}=" for api in ("management", "inference")}
        told = {api: {"key": key, "expiration time": "2036-01-01T00:00:00Z"} for api, key in self.tokens.items()}
        self.key_file.write_text(json.dumps(told | {"API": {"key": "secret"}}))

    async def check(self, request, call_next):
        api = "inference" if request.url.path.startswith("/predictions/") else "management"
        if request.headers.get("authorization") == f"Bearer {self.tokens[api]}":
            return await call_next(request)
        self.refusals += 1
        said = "Token Authorization failed. Token either incorrect, expired, or not provided correctly"
        return JSONResponse({"code": 400, "type": "InvalidKeyException", "message": said}, 400)


@pytest.fixture
def asking(tmp_path):
    return Asking(tmp_path)


@contextlib.asynccontextmanager
async def client_of(asking, key_file):
    app = FakeTorchServe(FakeIndex()).app()
    app.add_middleware(BaseHTTPMiddleware, dispatch=asking.check)
    with serving(app) as url:
        client = TorchServeClient(url, url, key_file=key_file)
        try:
            yield client
        finally:
            await client.close()


def test_no_call_fails_when_tokens_change(asking):
    async def run():
        async with client_of(asking, asking.key_file) as client:
            for _ in range(2):
                for _ in range(3):
                    assert (await client.predict("clip_text", TEXT))["model"] == "demo"
                    assert await client.workers_ready("clip_text")
                asking.renew()
            assert await client.workers_ready("clip_text")
            assert (await client.predict("clip_text", TEXT))["model"] == "demo"

    asyncio.run(run())
    assert asking.refusals == 3, "a refusal for each start, whichever API says it: one file tells both tokens"


def test_a_gateway_without_the_file_says_what_it_lacks(asking):
    async def run():
        async with client_of(asking, None) as client:
            with pytest.raises(TorchServeUnavailable, match="CLIPSERVE_GATEWAY_TORCHSERVE_KEY_FILE"):
                await client.predict("clip_text", TEXT)
            assert await client.workers_ready("clip_text") is None

    asyncio.run(run())


def test_a_stream_that_is_refused_is_503_and_the_next_one_is_not(asking):
    async def streamed(client):
        async with client.captioned(
            "clip_caption", {"image": base64.b64encode(picture("cat")).decode(), "caption": {}, "stream": True}
        ) as lines:
            return [line async for line in lines][-1]["done"]

    async def run():
        async with client_of(asking, asking.key_file) as client:
            with pytest.raises(TorchServeUnavailable):
                await streamed(client)
            assert await streamed(client)

    asyncio.run(run())


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"inference": {}}', '{"inference": {"key": 7}}', '{"inference": {"key": "a\\r\\nX: y"}}'],
)
def test_a_file_without_a_token_gives_no_header(tmp_path, text):
    path = tmp_path / KEY_FILE
    assert bearer(path, "inference") == {}
    path.write_text(text)
    assert bearer(path, "inference") == {}
    assert bearer(None, "inference") == {}
