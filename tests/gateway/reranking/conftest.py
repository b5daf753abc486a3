"""A gateway with a collection to rerank."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.gateway.conftest import Stack
from tests.gateway.reranking.searches import COLORS, picture


@pytest.fixture
def filled_with(stack_of: Any) -> Callable[..., Stack]:
    """`filled_with(**settings)` starts a gateway with the pictures in `demo`."""

    def start(**settings: Any) -> Stack:
        stack: Stack = stack_of(**settings)
        assert stack.client.put("/v1/collections/demo", json={}).status_code == 201
        items = [{"id": f"i{n}", "image": picture(color, n), "metadata": {"n": n}} for n, color in enumerate(COLORS)]
        answer = stack.post("/v1/collections/demo/items", {"items": items})
        assert [each["status"] for each in answer.json()["results"]] == [200] * len(items)
        return stack

    return start


@pytest.fixture
def filled(filled_with: Callable[..., Stack]) -> Stack:
    return filled_with()
