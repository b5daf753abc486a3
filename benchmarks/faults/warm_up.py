"""Ordinary requests over every path, so that what a part loads once is loaded before memory is looked at."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

from PIL import Image

from benchmarks.attacks.base import Target, numbered
from scripts.public_api import PublicApi
from scripts.stack.live_stack import LiveStack
from scripts.tune.load import together

NAME, ROWS = "warm-up", 6000
SIZE, SIGMA = (4000, 3000), 18.0  # of a photograph


def warm_up(stack: LiveStack, target: Target) -> None:
    """Raises ClipServeError when one of them is refused."""
    api, path = PublicApi(stack.gateway), f"/v1/collections/{NAME}"
    texts = list(target.texts)
    together(f"{stack.gateway}/v1/search", [{"collection": "demo", "text": text} for text in texts], 16, 2.0)
    together(f"{stack.gateway}/v1/embeddings", [{"input": text} for text in texts], 32, 2.0)
    picture = _picture()
    mixed = {"collection": "demo", "query": [{"text": "a star"}, {"image": picture, "weight": 0.5}]}
    for _ in range(4):
        _embed(api.call, texts, picture)
        api.call("POST", "/v1/search", mixed)
    api.call("PUT", path, {})
    for first in range(0, ROWS, 1000):
        api.call("POST", f"{path}/items", {"items": numbered(target.dim, 1000, first)})
    _read(api.call, path)
    PublicApi(stack.index).call("POST", f"/collections/{NAME}/snapshots", {})
    api.call("DELETE", path)


def _embed(call: Callable[..., Any], texts: list[str], picture: str) -> None:
    call("POST", "/v1/embeddings", {"input": texts[:256]})
    call("POST", "/v1/embeddings", {"input": [picture] * 4, "modality": "image"})
    call("POST", "/v1/classify", {"image": picture, "labels": ["a star", "a circle"]})
    searches = [{"collection": "demo", "text": text, "k": 20} for text in texts[:64]]
    call("POST", "/v1/search/batch", {"searches": searches})
    call("POST", "/v1/search", {"collection": "demo", "image": picture})


def _read(call: Callable[..., Any], path: str) -> None:
    call("GET", f"{path}/items?limit=1000")
    call("GET", f"{path}/items/i1?include=vector")
    call("GET", f"{path}/facets?field=n")
    call("POST", "/v1/search", {"collection": NAME, "text": "a star", "k": 100, "filter": {"n": {"$lt": 3000}}})
    call("POST", f"{path}/items/delete", {"filter": {"n": {"$gte": 5000}}})
    call("GET", "/v1/jobs")


def _picture() -> str:
    """As large as a phone's: about 4 MB."""
    buffer = io.BytesIO()
    Image.effect_noise(SIZE, SIGMA).convert("RGB").save(buffer, "JPEG", quality=85)
    return base64.b64encode(buffer.getvalue()).decode()
