"""Searches with `rerank` of pictures of one colour each."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from tests.gateway.conftest import Stack

COLORS = ("red", "green", "blue", "red", "green", "blue", "red", "green")
BLUE = {"i2", "i5"}
QUERY = "a blue circle on a white background"


def picture(color: str, shade: int = 0) -> str:
    file = io.BytesIO()
    place = ("red", "green", "blue").index(color)
    Image.new("RGB", (32, 32), tuple(255 - shade if i == place else 0 for i in range(3))).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def search(stack: Stack, rerank: Any, **more: Any) -> dict[str, Any]:
    answer = stack.post("/v1/search", {"collection": "demo", "text": QUERY, "k": 8, "rerank": rerank, **more})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def ids(answer: dict[str, Any]) -> list[str]:
    return [hit["id"] for hit in answer["hits"]]


def plain(stack: Stack) -> list[str]:
    return ids(stack.post("/v1/search", {"collection": "demo", "text": QUERY, "k": 8}).json())
