"""A gateway with drawn scenes in it, and a server that speaks OpenAI's API."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image, ImageDraw

from benchmarks.assistant.hidden_orders import SCENES
from benchmarks.assistant.openai_server import OpenAiServer
from tests.gateway.conftest import Stack
from tests.gateway.fakes import serving


@pytest.fixture(scope="session")
def provider() -> Iterator[tuple[OpenAiServer, str]]:
    server = OpenAiServer()
    with serving(server.app()) as url:
        yield server, f"{url}/v1"


@pytest.fixture
def openai_server(provider: tuple[OpenAiServer, str]) -> OpenAiServer:
    """As new."""
    provider[0].__init__()  # type: ignore[misc]
    return provider[0]


@pytest.fixture
def asking(stack_of: Any, provider: tuple[OpenAiServer, str]) -> Any:
    """`asking(**settings)` starts a gateway that asks the server, with the scenes in `demo`."""

    def start(**settings: Any) -> Stack:
        own = {"llm_url": provider[1], "llm_model": "gpt-4o", "llm_api_key": "sk-own"}
        stack: Stack = stack_of(**{**own, **settings})
        fill(stack)
        return stack

    return start


@pytest.fixture
def offline(stack_of: Any) -> Stack:
    stack: Stack = stack_of()
    fill(stack)
    return stack


def fill(stack: Stack) -> None:
    assert stack.client.put("/v1/collections/demo", json={}).is_success
    items = [{"id": name, "image": drawn(name), "metadata": {"caption": text}} for name, text in SCENES.items()]
    added = stack.post("/v1/collections/demo/items", {"items": items}).json()
    assert all(each["status"] == 200 for each in added["results"])


def drawn(name: str) -> str:
    """A picture of this name, as base64."""
    image = Image.new("RGB", (320, 200), "gray")
    ImageDraw.Draw(image).text((60, 70), name, fill="yellow", font_size=60)
    written = io.BytesIO()
    image.save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()
